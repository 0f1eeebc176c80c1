"""Defines what outlier ejection stores about a backend."""

from typing import Generic, NamedTuple

from balancers._internal.types import B

__all__ = ["Ejection", "EjectionState"]


class Ejection(NamedTuple, Generic[B]):
    """Describes one ejection of a backend by a rule.

    The ejection starts at the time ``at`` and ends at the time ``until``, in seconds.
    """

    backend: B
    rule: str
    at: float
    until: float


class EjectionState:
    """Stores the results and the earlier ejections of one backend.

    ``failures`` and ``requests`` count the results of the current interval.
    The next ejection lasts (1 + ``earlier_ejections``) times the base time.
    ``changed_at`` is when the backend joined, or was last ejected or restored, in seconds.
    """

    __slots__ = ("changed_at", "earlier_ejections", "failures", "failures_in_row", "requests")

    def __init__(self, now: float) -> None:
        self.failures_in_row: int = 0
        self.failures: int = 0
        self.requests: int = 0
        self.earlier_ejections: int = 0
        self.changed_at: float = now
