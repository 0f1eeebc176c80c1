"""Implements least loaded: picks the backend with the lowest value of a load."""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Any

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.loads import checked_load
from balancers._internal.taken import take
from balancers._internal.types import B
from balancers.algorithms._candidate import BELOW, Candidate
from balancers.algorithms._load_user import LoadUser
from balancers.balancer import Key
from balancers.load import Load
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastLoaded"]


class LeastLoaded(LoadUser[B], Membership[B]):
    """Picks the backend with the lowest load / weight of all.

    ``load`` measures how busy each backend is.  Backends with the same load / weight are picked in
    turn: a backend moves to the end of the list when it is picked, and when it starts or finishes a
    request.  A backend that closes and opens again keeps its place, and so does a backend that is
    avoided.  A new backend gets the last place.

    A float weight has the value of its decimal text.  Values of ``load`` that are ints or Fractions
    are compared exactly.  If one of them is a float, two values per weight that differ by less than
    one part in 10 ** 12 are a tie: such a difference can be a rounding error.  ``pick`` raises
    TypeError for any other value, for example a Decimal.

    >>> from balancers.loads import PeakEwma
    >>> lb = LeastLoaded(["a", "b"], load=PeakEwma())
    >>> for backend, seconds in (("a", 0.1), ("b", 0.3)):
    ...     lb.started(backend, now=0.0)
    ...     lb.finished(backend, Outcome(elapsed=seconds), now=seconds)
    >>> picks = ""
    >>> for _ in range(6):
    ...     picks += (backend := lb.pick(now=1.0))
    ...     lb.started(backend, now=1.0)
    >>> picks
    'aababa'

    ``LeastLoaded(backends, load=InFlight())`` picks the same backends as
    :class:`~balancers.LeastConnections`, if all weights are equal, and takes longer.  If the values
    are out of date, all requests go to the backend that seems to be the least busy:
    :class:`~balancers.PowerOfTwoChoices` avoids this.

    Cost: ``pick`` is O(n); the value of each open backend is read.  All other methods are O(1).
    Raises TypeError for a ``load`` that is not a load.  Raises AlreadyInUse for a ``load`` of
    another balancer.
    """

    keyed = False
    fractional = True

    def __init__(
        self, backends: Iterable[B] | Mapping[B, float] | None = None, *, load: Load[B]
    ) -> None:
        self._load = checked_load(load)
        self._order: dict[B, Candidate[B]] = {}
        """All members, in the order of the turns of those with equal loads."""
        self._candidates = self._order
        self._numbers: dict[float, int] = {}
        """The number of open members of each weight."""
        self._alike = False
        """Whether all members are open and have the same weight."""
        super().__init__(backends)
        take(load)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the backend with the lowest load / weight; O(n).

        Raises NoBackendAvailable.  Raises TypeError if a value of ``load`` is not an int, a float
        or a Fraction.
        """
        if avoid is NO_BACKENDS and self._alike:
            value_of, least, best = self._load.value, inf, None
            try:
                for backend in self._order:
                    value = value_of(backend, now)
                    if value < least:
                        best = backend
                        if type(value) is int:
                            least = value
                        elif type(value) is float and type(least) is float:
                            least = value * BELOW
                        else:
                            best = None
                            break
            except TypeError:  # the comparison below names the value
                best = None
            if best is not None:
                self._order[best] = self._order.pop(best)
                return best
        chosen = self._least(now, checked_avoid(avoid))
        if chosen is None:
            raise self.refusal()
        backend = chosen.backend
        self._order[backend] = self._order.pop(backend)
        return backend

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the ``n`` backends with the lowest load / weight, in the order of picks.

        This takes one turn, that of the first backend.  If fewer backends can be picked, all of
        them are returned.  The value of each open backend is read once or twice; O(n · members).
        Raises what :meth:`pick` raises, and InvalidSetting unless ``n`` is an int of 1 or more.

        >>> from balancers.loads import InFlight
        >>> lb = LeastLoaded(["a", "b", "c"], load=InFlight())
        >>> lb.started("b")
        >>> lb.plan(3), lb.plan(2)
        (['a', 'c', 'b'], ['c', 'a'])
        """
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        left = [
            (candidate, self._checked(self._load.value(candidate.backend, now)))
            for candidate in self._order.values()
            if candidate.units and candidate.backend not in avoid
        ]
        ranked: list[B] = []
        while left and len(ranked) < n:
            place = self._place_of_least(left)
            ranked.append(left.pop(place)[0].backend)
        self.pick(key, now, avoid)
        return ranked

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count a request in flight, and call ``started`` of the load; O(1).

        Nothing happens if the backend is not a member.
        """
        order = self._order
        candidate = order.pop(backend, None)
        if candidate is None:
            return
        candidate.busy_steps += candidate.step
        order[candidate.backend] = candidate
        self._load.started(backend, now)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Subtract a request in flight, and call ``finished`` of the load; O(1).

        Nothing happens if the backend is not a member or has no request in flight.
        """
        order = self._order
        candidate = order.get(backend)
        if candidate is not None and candidate.busy_steps:
            candidate.busy_steps -= candidate.step
            del order[backend]
            order[candidate.backend] = candidate
            self._load.finished(backend, outcome, now)

    def _least(self, now: float, avoid: Collection[B]) -> Candidate[B] | None:
        """Return the first open candidate with the lowest load per weight; O(n)."""
        value_of = self._load.value
        equal = len(self._numbers) == 1
        best: Candidate[B] | None = None
        least: float = 0
        for candidate in self._order.values():
            if not candidate.units or (avoid and candidate.backend in avoid):
                continue
            value = value_of(candidate.backend, now)
            if best is None:
                is_less = True
                value = self._checked(value)
            elif equal and type(value) is int and type(least) is int:
                is_less = value < least
            elif equal and type(value) is float and type(least) is float:
                is_less = value < least * BELOW
            else:
                value = self._checked(value)
                is_less = candidate.is_less_loaded(value, best, least)
            if is_less:
                best, least = candidate, value
        return best

    def _place_of_least(self, left: list[tuple[Candidate[B], Any]]) -> int:
        """Return the place of the first candidate with the lowest load per weight; O(n)."""
        equal = len(self._numbers) == 1
        found, (best, least) = 0, left[0]
        for place, (candidate, value) in enumerate(left):
            if equal and type(value) is float and type(least) is float:
                is_less = value < least * BELOW
            else:
                is_less = candidate.is_less_loaded(value, best, least)
            if is_less:
                found, best, least = place, candidate, value
        return found

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        numbers = self._numbers
        if new:
            numbers[new] = numbers.get(new, 0) + 1
        if old:
            numbers[old] -= 1
            if not numbers[old]:
                del numbers[old]
        if old is None:
            self._order[backend] = Candidate(backend)
        if new is None:
            del self._order[backend]
            self._load.removed(backend)
        else:
            self._order[backend].set_weight(new)
        self._alike = list(numbers.values()) == [len(self._order)]
