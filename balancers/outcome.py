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
    no response, for example because the connection broke.

    >>> Outcome(ok=False, retry_after=2.0, status=429)
    Outcome(ok=False, elapsed=None, retry_after=2.0, status=429)

    Raises InvalidSetting for a duration that is negative, NaN or infinite, for a ``status`` that is
    not an int, and for an ``ok`` that is not True, False or None.  The numbers 1 and 0 count as
    True and False, and so do the bools of numpy.
    """

    ok: bool | None = True
    elapsed: float | None = None
    retry_after: float | None = None
    status: int | None = None

    def __post_init__(self) -> None:
        elapsed, ok = self.elapsed, self.ok
        plain = self.retry_after is None and self.status is None
        timed = type(elapsed) is float and 0 <= elapsed <= LATEST
        if plain and timed and (ok is True or ok is False):
            return  # the usual values need no further checks
        if self.ok is not None:
            try:
                object.__setattr__(self, "ok", checked_ok(self.ok))
            except TypeError:
                raise InvalidSetting(
                    f"ok must be True, False or None, not {shown(self.ok)}"
                ) from None
        for name in ("elapsed", "retry_after"):
            value: Any = getattr(self, name)
            known = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (known and 0 <= value <= LATEST):
                raise InvalidSetting(
                    f"{name} must be finite seconds, 0 or more, not {shown(value)}"
                )
        status: Any = self.status
        if status is not None and (not isinstance(status, int) or isinstance(status, bool)):
            raise InvalidSetting(f"status must be an int, not {shown(self.status)}")


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
