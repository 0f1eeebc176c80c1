"""Defines the functions and classes that the programs of broken laws import.

A :class:`~balancers.testing.LawBroken` error has a program that shows the breach.  It is written
with the names of this module, so that it stays short.
"""

from collections.abc import Callable
from sys import gettrace, settrace
from types import FrameType
from typing import Any

__all__ = ["SaltedName", "TooManyLines", "executed_lines", "raised"]


def raised(call: Callable[[], object]) -> Exception | None:
    """Return the exception that the call raises, or None if it raises none.

    >>> raised(lambda: 1 // 0)
    ZeroDivisionError('integer division or modulo by zero')
    """
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the caller looks at it
        return error
    return None


class SaltedName(str):
    """A name that is equal to a text, but has a hash value of its own.

    Sets of such names have another order for every salt, as sets of texts have in every process.

    >>> {SaltedName("a", 1), SaltedName("a", 1)}
    {SaltedName('a', 1)}
    >>> SaltedName("a", 1) == "a", hash(SaltedName("a", 1)) == hash("a")
    (True, False)
    """

    __slots__ = ("salt",)
    salt: int

    def __new__(cls, text: str, salt: int) -> "SaltedName":
        """Create a name with a text and a salt."""
        name = super().__new__(cls, text)
        name.salt = salt
        return name

    def __hash__(self) -> int:
        return hash((self.salt, str(self)))

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return (type(self), (str(self), self.salt))

    def __repr__(self) -> str:
        return f"SaltedName({str(self)!r}, {self.salt})"


class TooManyLines(BaseException):
    """Raised in a call that executes too many lines of Python."""


def executed_lines(call: Callable[[], object], limit: int) -> int:
    """Return the number of lines of Python that the call executes; exceptions are ignored.

    The call is ended after ``limit`` lines, and ``limit`` + 1 is returned.

    >>> executed_lines(lambda: sorted([2, 1]), limit=10)
    1
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count > limit:
                raise TooManyLines
        return trace

    before = gettrace()
    settrace(trace)
    try:
        call()
    except (Exception, TooManyLines):  # noqa: BLE001, S110 - only the lines are counted
        pass
    finally:
        settrace(before)
    return count
