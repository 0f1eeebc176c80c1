"""Defines outcomes.  An outcome describes how a request ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from balancers._internal.checks import LATEST, checked_ok, shown
from balancers.errors import InvalidSetting

__all__ = ["FAILURE", "SUCCESS", "UNKNOWN", "Outcome", "Verdict", "count_capacity_as_unknown"]


class _Fields:
    """Holds the fields of an outcome while they are set, because those of an outcome are frozen."""

    __slots__ = ("elapsed", "first", "ok", "retry_after", "status")

    ok: bool | None
    elapsed: float | None
    retry_after: float | None
    status: int | None
    first: float | None


@final
@dataclass(frozen=True, slots=True, init=False)
class Outcome(_Fields):
    """Describes how a request ended.

    ``ok`` is True for a success and False for a failure.  It is None if the result is unknown, for
    example after a cancellation.  An unknown result is not counted.  ``elapsed`` is the duration of
    the request in seconds, or None if it was not measured.  ``retry_after`` is in seconds, or None
    if the backend sent none.  ``status`` is the status code of the response, or None if there was
    no response, for example because the connection broke.  ``first`` is the time in seconds from
    the start of the request to the first byte or token of the response, or None if it was not
    measured.

    >>> Outcome(ok=False, retry_after=2.0, status=429)
    Outcome(ok=False, elapsed=None, retry_after=2.0, status=429, first=None)

    Raises InvalidSetting for a duration that is negative, NaN or infinite, for a ``status`` that is
    not an int, and for an ``ok`` that is not True, False or None.  The numbers 1 and 0 count as
    True and False, and so do the bools of numpy.  The class has no subclasses.
    """

    ok: bool | None = True
    elapsed: float | None = None
    retry_after: float | None = None
    status: int | None = None
    first: float | None = None

    def __new__(
        cls,
        ok: bool | None = True,
        elapsed: float | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        first: float | None = None,
    ) -> "Outcome":
        """Return an outcome with these fields; twice as fast as a frozen dataclass."""
        fields: Any = _Fields()
        given: Any = ok
        if not (given is True or given is False or given is None):
            ok = _checked_result(given)
        if elapsed is not None and not (type(elapsed) is float and 0.0 <= elapsed <= LATEST):
            _check_seconds("elapsed", elapsed)
        if retry_after is not None and not (
            type(retry_after) is float and 0.0 <= retry_after <= LATEST
        ):
            _check_seconds("retry_after", retry_after)
        if not (status is None or type(status) is int):
            _check_status(status)
        if first is not None and not (type(first) is float and 0.0 <= first <= LATEST):
            _check_seconds("first", first)
        fields.ok = ok
        fields.elapsed = elapsed
        fields.retry_after = retry_after
        fields.status = status
        fields.first = first
        fields.__class__ = cls  # from here on, the fields are frozen
        outcome: Outcome = fields
        return outcome

    def __init_subclass__(cls) -> None:
        raise TypeError("Outcome has no subclasses")


def _checked_result(ok: Any) -> bool:
    try:
        return checked_ok(ok)
    except TypeError:
        raise InvalidSetting(f"ok must be True, False or None, not {shown(ok)}") from None


def _check_status(status: Any) -> None:
    if not isinstance(status, int) or isinstance(status, bool):
        raise InvalidSetting(f"status must be an int, not {shown(status)}")


def _check_seconds(name: str, value: Any) -> None:
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
