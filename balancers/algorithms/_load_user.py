"""Defines a base class for balancers that compare the values of a load."""

from numbers import Rational, Real
from typing import Any, Generic, cast

from balancers._internal.checks import shown
from balancers._internal.exact import exact
from balancers._internal.taken import take
from balancers._internal.types import B
from balancers.algorithms._candidate import Candidate
from balancers.errors import UnknownBackend
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LoadUser"]


class LoadUser(Generic[B]):
    """Counts the requests in flight of each candidate, and forwards reports to the load.

    A subclass sets ``_load`` and ``_candidates``, and calls ``take`` for the load.
    """

    _load: Any  # a Load[B], or None
    _candidates: dict[B, Candidate[B]]

    @property
    def timed(self) -> bool:
        """Whether a pool measures durations, because the load asks for it."""
        return bool(getattr(self._load, "timed", False))

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Add one to the backend's number of requests in flight.

        If a ``load`` object was passed, its ``started`` is called too.  Nothing happens if the
        backend is not a member.
        """
        candidate = self._candidates.get(backend)
        if candidate is not None:
            candidate.busy_steps += candidate.step
            if self._load is not None:
                self._load.started(backend, now)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Subtract one from the backend's number of requests in flight.

        If a ``load`` object was passed, its ``finished`` is called too.  Nothing happens if the
        backend is not a member or has no request in flight.
        """
        candidate = self._candidates.get(backend)
        if candidate is not None and candidate.busy_steps:
            candidate.busy_steps -= candidate.step
            if self._load is not None:
                self._load.finished(backend, outcome, now)

    def charged(self, backend: B, change: int, now: float = 0.0) -> None:
        """Call ``charged`` of the load, if it has this method and the backend is a member."""
        charged = getattr(self._load, "charged", None)
        if charged is not None and backend in self._candidates:
            charged(backend, change, now)

    def progressed(self, backend: B, elapsed: float, now: float = 0.0) -> None:
        """Call ``progressed`` of the load, if it has this method and the backend is a member."""
        progressed = getattr(self._load, "progressed", None)
        if progressed is not None and backend in self._candidates:
            progressed(backend, elapsed, now)

    def load_of(self, backend: B, now: float = 0.0) -> float:
        """Return the load of a member, before it is divided by the weight; O(1).

        It is the value of ``load``, or the number of requests in flight.  Raises UnknownBackend.
        """
        candidate = self._candidates.get(backend)
        if candidate is None:
            raise UnknownBackend(backend)
        if self._load is not None:
            load: float = self._load.value(backend, now)
            return load
        return candidate.busy_steps // candidate.step

    def _checked(self, value: Any) -> Any:
        """Return a value of the load as an int, a float or a Fraction."""
        if type(value) is int or type(value) is float:
            return value
        if isinstance(value, Rational):
            return exact(cast("float", value))
        if isinstance(value, Real):
            return float(value)
        raise TypeError(
            f"the value of {shown(self._load)} must be an int, a float or a Fraction, "
            f"not {shown(value)}"
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._load is not None:
            take(self._load)
