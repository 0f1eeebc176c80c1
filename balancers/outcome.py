"""Defines outcomes.  An outcome describes how a request ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from balancers._internal.checks import LATEST, checked_ok, shown
from balancers.errors import InvalidSetting

__all__ = ["FAILURE", "SUCCESS", "UNKNOWN", "Outcome", "Verdict", "count_capacity_as_unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Describes how a request ended.

    ``ok`` is True for a success and False for a failure.  It is None if the result is unknown, for
    example after a cancellation.  An unknown result is not counted.  ``elapsed`` is the duration of
    the request in seconds, or None if it was not measured.  ``retry_after`` is in seconds, or None
    if the backend sent none.  ``status`` is the status code of the response, or None if there was
    no response, for example because the connection broke.  ``first`` is the time in seconds from the
    start of the request to the first byte or token of the response, or None if it was not measured.

    >>> Outcome(ok=False, retry_after=2.0, status=429)
    Outcome(ok=False, elapsed=None, retry_after=2.0, status=429, first=None)

    Raises InvalidSetting for a duration that is negative, NaN or infinite, for a ``status`` that is
    not an int, and for an ``ok`` that is not True, False or None.  The numbers 1 and 0 count as
    True and False, and so do the bools of numpy.
    """

    ok: bool | None = True
    elapsed: float | None = None
    retry_after: float | None = None
    status: int | None = None
    first: float | None = None

    def __post_init__(self) -> None:
        given: Any = self.ok
        if given is not True and given is not False and given is not None:
            try:
                object.__setattr__(self, "ok", checked_ok(given))
            except TypeError:
                raise InvalidSetting(
                    f"ok must be True, False or None, not {shown(given)}"
                ) from None
        if self.elapsed is not None:
            _check_seconds("elapsed", self.elapsed)
        if self.retry_after is not None:
            _check_seconds("retry_after", self.retry_after)
        status: Any = self.status
        if status is not None and (not isinstance(status, int) or isinstance(status, bool)):
            raise InvalidSetting(f"status must be an int, not {shown(self.status)}")
        if self.first is not None:
            _check_seconds("first", self.first)


def _check_seconds(name: str, value: Any) -> None:
    if type(value) is float and 0 <= value <= LATEST:  # the usual case, faster than isinstance
        return
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not (known and 0 <= value <= LATEST):
        raise InvalidSetting(f"{name} must be finite seconds, 0 or more, not {shown(value)}")


Verdict = Callable[[Outcome], bool | None]
"""A function that returns what an outcome says about the health of a backend: True for a success,
False for a failure, None if it must not be counted."""


def count_capacity_as_unknown(outcome: Outcome) -> bool | None:
    """Return ``outcome.ok``, but None for an outcome with ``retry_after``.

    A backend that sends ``retry_after`` lacks capacity (HTTP 429 and 503).  This says nothing about
    its health.

    >>> count_capacity_as_unknown(Outcome(ok=False, retry_after=2.0)) is None
    True
    """
    return None if outcome.retry_after is not None else outcome.ok


SUCCESS = Outcome(ok=True)
FAILURE = Outcome(ok=False)
UNKNOWN = Outcome(ok=None)
