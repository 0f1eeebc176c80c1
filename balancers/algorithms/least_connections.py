"""Implements least connections: picks the backend with the fewest requests in flight."""

from collections.abc import Collection, Iterable, Mapping
from heapq import heappush
from typing import Any

from balancers._internal.checks import NO_BACKENDS, as_weights, at_least, checked_avoid, shown
from balancers._internal.plans import first_different
from balancers._internal.taken import take, wrapping
from balancers._internal.types import B
from balancers.algorithms._counted_membership import CountedMembership, Tie
from balancers.algorithms._key_order import KeyOrder
from balancers.balancer import Key
from balancers.errors import InvalidPick, InvalidSetting, UnknownBackend
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastConnections"]


class LeastConnections(CountedMembership[B]):
    """Picks the backend with the fewest requests in flight.

    The balancer counts the requests that are reported with ``started`` and ``finished``.  Backends
    with the same count are picked in turn: a backend moves to the end of the list of its count when
    it is picked, and when it starts or finishes a request.  So the backends of an idle pool are
    picked in turn, even if ``started`` is never called.  A backend that closes and opens again
    keeps its place in the list, and so does a backend that is avoided.  A new backend gets the last
    place.  All positive weights have the same effect.

    >>> lb = LeastConnections(["a", "b", "c"])
    >>> "".join(lb.pick() for _ in range(4))
    'abca'
    >>> lb.started("b")
    >>> "".join(lb.pick() for _ in range(4))
    'caca'

    ``ties`` is a balancer of :mod:`balancers.hashing`.  With it, a request that has a key goes to
    the first backend, in the key's order of preference, among those with the fewest requests in
    flight.  So at low load, the requests of a key usually meet again.  A request without a key is
    picked in turn.  ``ties`` gets the same members and weights, and belongs to this balancer.

    >>> from balancers import HashRing
    >>> lb = LeastConnections(["a", "b", "c"], ties=HashRing())
    >>> [lb.pick("user:42") for _ in range(3)], HashRing(["a", "b", "c"]).replicas("user:42", 2)
    (['b', 'b', 'b'], ['b', 'a'])
    >>> lb.started("b")
    >>> lb.pick("user:42")
    'a'

    Cost: ``pick``, ``started``, ``finished`` and a change of weight are O(1) amortised.  They are
    O(log n) if no other backend has the new count, and for a backend that opens again after it was
    closed when it was first in its list.  With ``avoid``, ``pick`` is O(avoided · log n).
    With ``ties`` and a key, ``pick`` also hashes the key, and walks its order of preference to the
    first backend with the fewest requests: n / m backends on average, if m of n have the fewest.

    Raises InvalidSetting if ``ties`` is not a balancer of :mod:`balancers.hashing`, and
    AlreadyInUse if it belongs to a pool or another balancer.
    """

    keyed = False
    fractional = False

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        ties: KeyOrder[B] | None = None,
    ) -> None:
        self._by_key = ties
        if ties is None:
            super().__init__(backends)
            return
        if isinstance(ties, type) or not callable(getattr(ties, "succession", None)):
            raise InvalidSetting(f"ties must be a balancer of balancers.hashing, not {shown(ties)}")
        given = as_weights(() if backends is None else backends)
        with wrapping(ties):
            super().__init__({**ties.weights, **given})

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a backend with the fewest requests in flight; O(1) amortised.

        Raises NoBackendAvailable.  With ``ties``, raises InvalidKey for an invalid key.
        """
        if key is not None and self._by_key is not None:
            return self._pick_by_key(self._by_key, key, avoid)
        if avoid is not NO_BACKENDS:
            return self._pick_avoiding(checked_avoid(avoid))
        lowest = self._lowest
        for backend in lowest:
            if backend not in self._closed_in_ties:
                lowest.move_to_end(backend)
                return backend
            break
        return self._search(frozenset())

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the ``n`` backends with the fewest requests in flight, in the order of picks.

        This takes one turn, that of the first backend.  If fewer backends can be picked, all of
        them are returned.  The cost is O(n) if enough backends have the lowest count, and
        otherwise O(members + c log c) for c different counts.  With ``ties`` and a key, it is
        O(members · log members).
        Raises InvalidSetting unless ``n`` is an int of 1 or more, NoBackendAvailable.

        >>> lb = LeastConnections(["a", "b", "c"])
        >>> lb.started("b")
        >>> lb.plan(3), lb.plan(2)
        (['a', 'c', 'b'], ['c', 'a'])
        """
        if type(n) is not int or n < 1:
            at_least(1, n=n)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        ranked: list[B] = []
        if key is not None and self._by_key is not None:
            ranked = self._ranked_by_key(self._by_key, key, avoid)[:n]
        else:
            for backend in self._lowest:
                if backend not in self._closed_in_ties and backend not in avoid:
                    ranked.append(backend)
                    if len(ranked) == n:
                        break
            else:
                ranked = first_different(self._in_order(), n, avoid)
        self.pick(key, now, avoid)
        return ranked

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Add one to the count of the backend; O(1) amortised.

        The call is ignored if the backend is not a member.
        """
        places = self._places
        try:
            tie = places[backend]
            higher = tie.higher
            del tie[backend]
        except (KeyError, AttributeError):
            self._move(backend, 1)
        else:
            higher[backend] = None
            places[backend] = higher

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Subtract one from the count of the backend; O(1) amortised.

        The call is ignored if the backend is not a member or has no request in flight.
        """
        places = self._places
        try:
            tie = places[backend]
            lower = tie.lower
            del tie[backend]
        except (KeyError, AttributeError):
            self._move(backend, -1)
        else:
            lower[backend] = None
            places[backend] = lower
            if tie is self._lowest:
                self._lowest = lower

    def load_of(self, backend: B, now: float = 0.0) -> float:
        """Return the number of requests in flight on a member; O(1).  Raises UnknownBackend."""
        if backend not in self._places:
            raise UnknownBackend(backend)
        return self._places[backend].count

    def _pick_by_key(self, ties: KeyOrder[B], key: Key, avoid: Collection[B]) -> B:
        """Return the first of the backends with the fewest requests, in the order of the key."""
        digest, weights, places = ties.hash_key(key), self._weights, self._places
        avoided = {backend for backend in checked_avoid(avoid) if weights.get(backend)}
        least = self._least(avoided)
        for backend in ties.succession(digest):
            tie = places.get(backend)
            is_least = tie is not None and tie.count == least
            if is_least and weights[backend] and backend not in avoided:
                self._leave(backend)
                self._enter(backend, least)
                return backend
        raise InvalidPick(f"{shown(ties)} has other members or weights than {shown(self)}")

    def _ranked_by_key(self, ties: KeyOrder[B], key: Key, avoid: Collection[B]) -> list[B]:
        """Return the open members by their requests, and then in the order of the key."""
        places = self._places
        order = ties.succession(ties.hash_key(key))
        known = [each for each in order if each in places and each not in avoid]
        return sorted(known, key=lambda backend: places[backend].count)

    def _pick_avoiding(self, avoid: Collection[B]) -> B:
        weights = self._weights
        avoided = {backend for backend in avoid if weights.get(backend)}
        return self._search(avoided) if avoided else self.pick()

    def _search(self, avoided: Collection[B]) -> B:
        """Return the next backend that is not avoided.  All avoided backends are open members."""
        if len(avoided) == self._open:
            raise self.refusal()
        if not avoided and not self._first:
            tie = self._lowest = self._ties[self._lowest_level()]
            for backend in tie:
                if backend not in self._closed_in_ties:
                    tie.move_to_end(backend)
                    return backend
                break
        skipped: list[tuple[int, int, B]] = []
        while (entry := self._take_first())[2] in avoided:
            skipped.append(entry)
        count, _, backend = entry
        tie = self._enter(backend, count)
        for entry in skipped:
            self._reopened[entry[2]] = entry[1]
            heappush(self._first, entry)
        is_first = not self._first or self._first[0][0] > count
        self._lowest = tie if is_first else Tie(-1)
        return backend

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if self._by_key is not None:
            if new is None:
                self._by_key.discard(backend)
            else:
                self._by_key.put(backend, new)
        super().update_index(backend, old, new)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._by_key is not None:
            take(self._by_key)
