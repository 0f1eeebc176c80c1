"""Delays what a balancer knows about loads, as a board that is renewed from time to time does."""

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from math import floor, inf, nextafter
from typing import Any, cast

from balancers._internal.checks import duration, shown, valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.forwarding import inform
from balancers._internal.plans import plan_of
from balancers._internal.taken import take
from balancers._internal.types import B
from balancers.balancer import Balancer, Condition, Key
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Stale"]

_EXACT = 2.0**53
"""From here on, not every int is a float: renewals follow each other too fast for a float."""
_Report = tuple[B, str, tuple[Any, ...]]
"""The backend, the method of the balancer that is called, and its further arguments."""


class Stale(SharesBackends, Balancer[B]):
    """Reports starts and ends to a balancer only when a board is renewed, every ``every`` seconds.

    Between two renewals, ``balancer`` picks by the loads of the last one.  The board is renewed at
    0, ``every``, 2 · ``every`` and so on: the first call at such a time or later reports all starts
    and ends before it, in their order and with their times.  Costs and progress are delayed in the
    same way.  Changes of members and of their conditions are not delayed.

    With old loads, a balancer that compares all backends sends every request to the few that seemed
    idle (the herd effect).  Source: M. Mitzenmacher, "How useful is old information?", IEEE TPDS
    2000.

    >>> from balancers import LeastConnections
    >>> lb = Stale(LeastConnections(["a", "b"]), every=10.0)
    >>> lb.pick(now=1.0), lb.started("a", now=1.0), lb.load_of("a", now=9.0)
    ('a', None, 0)
    >>> lb.load_of("a", now=10.0)
    1

    The members of ``balancer`` become the members of this balancer, and it belongs to it from then
    on.  A method costs as much as that of ``balancer``, plus the reports that are due.  Memory
    grows with the starts and ends between two renewals.  A time that is earlier than the latest one
    counts as the latest one.

    Raises InvalidSetting unless ``balancer`` is a balancer object, and unless ``every`` is positive
    and finite.  Raises AlreadyInUse if ``balancer`` is in use.
    """

    def __init__(self, balancer: Balancer[B], every: float) -> None:
        given: Any = balancer
        if isinstance(given, type) or not callable(getattr(given, "pick", None)):
            raise InvalidSetting(f"balancer must be a balancer object, not {shown(given)}")
        self._every = float(duration("every", every))
        take(balancer)
        self.keyed: bool = balancer.keyed
        self.fractional: bool = balancer.fractional
        self.timed: bool = bool(getattr(balancer, "timed", False))
        self._balancer = balancer
        self._now = -inf
        self._due = -inf
        self._reports: list[_Report[B]] = []

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member, as a read-only view."""
        return self._balancer.weights

    @property
    def latest(self) -> float:
        """The latest time of a call in seconds, or minus infinity before the first call."""
        return self._now

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight.  Raises what ``balancer.put`` raises."""
        self._balancer.put(backend, weight)

    def discard(self, backend: B) -> None:
        """Remove the backend, and forget what is not yet reported about it; O(reports)."""
        self._balancer.discard(backend)
        if self._reports:
            kept = [report for report in self._reports if report[0] != backend]
            self._reports = kept

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the pick of the balancer by the loads of the board.

        Raises what ``balancer.pick`` raises, and InvalidTime.
        """
        self._renew(now)
        return self._balancer.pick(key, now, avoid)

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the plan of the balancer by the loads of the board.

        Raises what ``balancer.plan`` raises, InvalidTime, and NotPlannable if it has no ``plan``.
        """
        plan = plan_of(self._balancer)
        self._renew(now)
        return plan(n, key, now, avoid)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.  The balancer is informed at the next renewal."""
        self._renew(now)
        if backend in self._balancer.weights:
            self._reports.append((backend, "started", (self._now, bound)))

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.  The balancer is informed at the next renewal."""
        self._renew(now)
        if backend in self._balancer.weights:
            self._reports.append((backend, "finished", (outcome, self._now)))

    def charged(self, backend: B, change: int, now: float = 0.0) -> None:
        """Called when the cost in flight of a backend changes.  Reported at the next renewal."""
        self._renew(now)
        if backend in self._balancer.weights:
            self._reports.append((backend, "charged", (change, self._now)))

    def progressed(self, backend: B, elapsed: float, now: float = 0.0) -> None:
        """Called at the first progress of a request.  Reported at the next renewal."""
        self._renew(now)
        if backend in self._balancer.weights:
            self._reports.append((backend, "progressed", (elapsed, self._now)))

    def condition_changed(self, backend: B, condition: Condition) -> None:
        """Called when the condition of a member changes.  The balancer is informed at once."""
        inform(self._balancer, "condition_changed", backend, condition)

    def load_of(self, backend: B, now: float = 0.0) -> float | None:
        """Return the load of a member on the board, or None if the balancer compares no loads.

        If a renewal is due, it is made on a copy of the balancer, so the call costs O(n) then.
        Raises UnknownBackend, InvalidTime.
        """
        if backend not in self._balancer.weights:
            raise UnknownBackend(backend)
        now = valid_now(now, self._now)
        balancer = self._balancer
        if not callable(getattr(balancer, "load_of", None)):
            return None
        if now >= self._due and self._reports:
            balancer = deepcopy(balancer)
            _report(balancer, self._reports)
        load_of: Any = getattr(balancer, "load_of", None)
        return cast("float | None", load_of(backend, now))

    def _renew(self, now: float) -> None:
        """Report all starts and ends so far, if the time of a renewal has come."""
        self._now = now = valid_now(now, self._now)
        if now < self._due:
            return
        turns = now / self._every
        exact = abs(turns) < _EXACT
        self._due = (floor(turns) + 1) * self._every if exact else nextafter(now, inf)
        if self._due <= now:  # by rounding
            self._due = nextafter(now, inf)
        reports, self._reports = self._reports, []
        _report(self._balancer, reports)

    def _known_backends(self) -> Iterable[object]:
        return self._balancer.weights

    def __repr__(self) -> str:
        return f"<Stale: every {self._every} s, {self._balancer!r}>"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        take(self._balancer)


def _report(balancer: Balancer[B], reports: list[_Report[B]]) -> None:
    """Report starts, ends, costs and progress to the balancer, with their times."""
    for backend, method, arguments in reports:
        inform(balancer, method, backend, *arguments)
