"""Reads the lines of a log.  Nothing in a line is trusted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from random import Random
from typing import Any, NoReturn, cast

from balancers._internal.checks import shown
from balancers.errors import BalancersError
from balancers.testing._values import Codec
from balancers.testing.recorder import FORMAT

__all__ = ["Header", "InvalidLog", "decoded", "parsed", "read_header"]

_LONGEST_LINE = 1 << 26
"""The highest number of characters of a line.  The first line of a pool with a million members has
about half as many."""


class InvalidLog(BalancersError, ValueError):
    """Raised for a log that a recorder did not write so: damaged, cut off, edited, or too new.

    ``line`` is the number of the line.  The first line has the number 1.
    """

    line: int

    def __init__(self, line: int, why: str) -> None:
        super().__init__(line, why)
        self.line = line
        self.why = why

    def __str__(self) -> str:
        return f"line {self.line} of the log: {self.why}"


@dataclass(frozen=True)
class Header:
    """What the first line of a log says about the pool that was recorded.

    The function ``make`` of :func:`replay` gets it, and constructs an equal pool.  ``settings`` is
    the mapping that the recorder got.

    >>> from balancers import Pool, RandomChoice
    >>> def make(header):
    ...     return Pool(RandomChoice(header.members, rng=header.rngs[0]), now=header.now)
    """

    version: str
    """The version of this package that wrote the log."""
    now: float
    """The latest time of the pool when the recording began, in seconds."""
    members: Mapping[Any, float]
    """The members when the recording began, with their weights, in the order of joining."""
    gates: Sequence[str]
    """The names of the classes of the gates, in their order."""
    settings: Mapping[str, Any]
    rngs: Sequence[Random]
    """A new generator for each one that the recorder got, with its state when the recording began.
    """


def parsed(number: int, line: str) -> dict[str, Any]:
    """Return the object of a line.  Raises InvalidLog."""
    if not isinstance(cast("Any", line), str):
        raise TypeError(f"a line of a log must be a str, not {shown(line)}")
    if len(line) > _LONGEST_LINE:
        raise InvalidLog(number, f"it has {len(line)} characters, and {_LONGEST_LINE} are allowed")
    try:
        plain = json.loads(line, parse_constant=_refused, parse_float=_finite)
    except RecursionError:
        raise InvalidLog(number, "it is nested too deeply") from None
    except ValueError as error:
        raise InvalidLog(number, f"it is no JSON: {error}") from None
    if not isinstance(plain, dict) or not plain:
        raise InvalidLog(number, "it is no JSON object")
    return cast("dict[str, Any]", plain)


def decoded(number: int, codec: Codec, plain: Any) -> Any:
    """Return the value that was logged.  Raises InvalidLog."""
    try:
        return codec.value(plain)
    except ValueError as error:
        raise InvalidLog(number, str(error)) from error


def read_header(line: str, codec: Codec) -> Header:
    """Return what the first line says.  Raises InvalidLog."""
    fields = parsed(1, line)
    if "log" not in fields:
        raise InvalidLog(1, "it is not the first line of a log")
    if fields["log"] != FORMAT:
        raise InvalidLog(1, f"the format must be {FORMAT}, not {shown(fields['log'])}")
    try:
        states = decoded(1, codec, fields["rng"])
        return Header(
            version=str(fields["balancers"]),
            now=decoded(1, codec, fields["now"]),
            members={decoded(1, codec, b): decoded(1, codec, w) for b, w in fields["members"]},
            gates=tuple(map(str, fields["gates"])),
            settings=dict(decoded(1, codec, fields["settings"])),
            rngs=tuple(map(_generator, states)),
        )
    except InvalidLog:
        raise
    except Exception as error:
        raise InvalidLog(1, f"it does not describe a pool: {type(error).__name__}") from error


def _generator(state: Any) -> Random:
    rng = Random(0)
    rng.setstate(state)
    return rng


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not allowed")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"a number is too large: {digits[:20]}")
    return number
