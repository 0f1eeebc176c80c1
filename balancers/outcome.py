"""Defines outcomes.  An outcome describes how a request ended."""

from dataclasses import dataclass
from math import inf
from typing import Any

from balancers.errors import InvalidSetting

__all__ = ["FAILURE", "SUCCESS", "UNKNOWN", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Describes how a request ended.

    ``ok`` is True for a success and False for a failure.  It is None if the result is unknown, for
    example after a cancellation.  An unknown result is not counted.  ``elapsed`` is the duration of
    the request in seconds, or None if it was not measured.  ``retry_after`` is in seconds, or None
    if the backend sent none.

    >>> Outcome(ok=False, retry_after=2.0)
    Outcome(ok=False, elapsed=None, retry_after=2.0)

    Raises InvalidSetting for a duration that is negative, NaN or infinite.
    """

    ok: bool | None = True
    elapsed: float | None = None
    retry_after: float | None = None

    def __post_init__(self) -> None:
        for name in ("elapsed", "retry_after"):
            value: Any = getattr(self, name)
            known = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (known and 0 <= value < inf):
                raise InvalidSetting(f"{name} must be finite seconds, 0 or more, not {value!r}")


SUCCESS = Outcome(ok=True)
FAILURE = Outcome(ok=False)
UNKNOWN = Outcome(ok=None)
