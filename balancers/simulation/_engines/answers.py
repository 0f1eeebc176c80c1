"""Makes outcomes with a duration, without validating the values again."""

from collections.abc import Callable
from typing import Any

from balancers.outcome import Outcome

__all__ = ["outcome_of"]

_new: Callable[[type[Outcome]], Outcome] = object.__new__
_members: Any = vars(Outcome)
_set_ok: Callable[[Outcome, bool], None] = _members["ok"].__set__
_set_elapsed: Callable[[Outcome, float], None] = _members["elapsed"].__set__
_set_retry_after: Callable[[Outcome, None], None] = _members["retry_after"].__set__
_set_status: Callable[[Outcome, None], None] = _members["status"].__set__
_set_first: Callable[[Outcome, None], None] = _members["first"].__set__


def outcome_of(ok: bool, elapsed: float) -> Outcome:
    """Return ``Outcome(ok, elapsed)`` in a quarter of the time.

    >>> outcome_of(True, 0.5) == Outcome(ok=True, elapsed=0.5)
    True
    """
    outcome = _new(Outcome)
    _set_ok(outcome, ok)
    _set_elapsed(outcome, elapsed)
    _set_retry_after(outcome, None)
    _set_status(outcome, None)
    _set_first(outcome, None)
    return outcome
