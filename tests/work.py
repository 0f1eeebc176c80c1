"""Measures work without a clock: hashes and comparisons of backends, and executed lines."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import balancers

__all__ = ["Counted", "Work", "work_of"]

_HOME = str(Path(balancers.__file__).parent)


class Work:
    """The cost of a call: hashes and comparisons of backends, and executed lines of the package."""

    def __init__(self) -> None:
        self.hashes = self.comparisons = self.lines = 0

    def __repr__(self) -> str:
        return f"{self.hashes} hashes, {self.comparisons} comparisons, {self.lines} lines"


class Counted:
    """A backend that counts each time it is hashed or compared."""

    total = Work()

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        Counted.total.hashes += 1
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        Counted.total.comparisons += 1
        return isinstance(other, Counted) and self.name == other.name

    def __repr__(self) -> str:
        return self.name


def work_of(call: Callable[[], object]) -> Work:
    """Call a function and return the work it did."""
    work = Counted.total = Work()

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            work.lines += 1
        return trace if frame.f_code.co_filename.startswith(_HOME) else None

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(outer)
        Counted.total = Work()
    return work
