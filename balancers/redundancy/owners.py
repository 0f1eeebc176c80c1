"""Decides which of several load balancers owns which virtual address, or which share."""

from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heapreplace
from itertools import chain
from typing import Any, Generic

from balancers._internal.checks import as_weights, shown
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B, T
from balancers.errors import DuplicateBackend, UnknownBackend
from balancers.keys import Hasher, Identity, Murmur3, key_bytes, name_of

__all__ = ["Owners"]

_BALANCED = 4
"""How many places of each order of preference are balanced: the owner and three replacements."""
_LEAST = 1e-300
"""The least weight relative to the largest one.  Because of it, loads per weight are finite."""


class Owners(SharesBackends, Generic[T, B]):
    """Assigns each address to one of the balancers that are alive.

    ``addresses`` are virtual addresses or the numbers of shares, and ``balancers`` are the load
    balancers that may own them: an iterable, or a mapping to weights.  A balancer with the weight 0
    owns nothing.

    Each address has a fixed order of preference of all balancers, and belongs to the first one that
    is alive.  So when a balancer dies, only its own addresses move.  When it returns, exactly these
    addresses return to it.  The owners depend only on the configuration and on which balancers are
    alive, and not on what happened before.  So balancers with the same configuration and the same
    view agree without a coordinator.

    The orders are balanced.  While all balancers are alive, the largest number of addresses per
    weight is the least possible: with equal weights and k balancers, each owns at most ⌈m/k⌉ of m
    addresses.  With one dead balancer, it is the least that is possible if only its addresses move:
    with equal weights, again at most ⌈m/k⌉ for the k balancers that remain.  For two or three dead
    balancers the replacements are chosen in the same way, but what has moved for some of them
    stays, so a balancer may own more.  From four dead balancers on, the replacements follow the
    scores alone.

    Among equally good choices, an address prefers the balancer with the highest score (the hash of
    both names), as in rendezvous hashing.

    >>> owners = Owners(["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["lb1", "lb2", "lb3"])
    >>> owners.assign(["lb1", "lb2", "lb3"])
    {'192.0.2.1': 'lb2', '192.0.2.2': 'lb1', '192.0.2.3': 'lb3'}
    >>> owners.assign(["lb1", "lb2"])
    {'192.0.2.1': 'lb2', '192.0.2.2': 'lb1', '192.0.2.3': 'lb1'}
    >>> owners.preferences("192.0.2.3")
    ('lb3', 'lb1', 'lb2')

    ``identity`` returns the name of an address or a balancer; by default these are a str, bytes, an
    int or a pair (host, port).  An object does not change.  For another configuration, create
    another one.

    Cost: creating is O(1) per name.  Each place of the orders is computed when it is needed first,
    in O(m² + m · n log m) time and O(m · n) memory for m addresses and n balancers.

    Raises DuplicateBackend for an address that is given twice and for equal names, InvalidWeight,
    InvalidKey, and TypeError for names that are not supported.
    """

    def __init__(
        self,
        addresses: Iterable[T],
        balancers: Iterable[B] | Mapping[B, float],
        *,
        identity: Identity[Any] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        weights = as_weights(balancers)
        names = _names("balancer", weights, identity)
        if isinstance(addresses, str | bytes):
            raise TypeError(f"addresses must be an iterable of addresses, not {shown(addresses)}")
        self._names: dict[T, bytes] = _names("address", addresses, identity)
        self._hasher: Hasher = Murmur3() if hasher is None else hasher
        self._weights: dict[B, float] = weights
        self._open: dict[B, bytes] = dict(
            sorted(((b, name) for b, name in names.items() if weights[b]), key=lambda pair: pair[1])
        )
        in_order = sorted(self._names, key=self._names.__getitem__)
        self._orders: dict[T, list[B]] = {address: [] for address in in_order}
        self._depth = 0

    @property
    def addresses(self) -> tuple[T, ...]:
        """The addresses in the order in which they were given."""
        return tuple(self._names)

    @property
    def balancers(self) -> dict[B, float]:
        """The balancers and their weights, in the order in which they were given."""
        return dict(self._weights)

    def assign(self, alive: Collection[B]) -> dict[T, B | None]:
        """Return the owner of each address, in the order of the addresses.

        It is None if no balancer with a weight is alive.  O(addresses · dead balancers).  Raises
        UnknownBackend for an unknown balancer, and TypeError for a str.
        """
        living = self._checked(alive)
        return {address: self._first(address, living) for address in self._names}

    def owner(self, address: T, alive: Collection[B]) -> B | None:
        """Return the owner of one address, as :meth:`assign` does.

        Raises UnknownBackend for an unknown address or balancer.
        """
        living = self._checked(alive)
        if address not in self._names:
            raise UnknownBackend(address)
        return self._first(address, living)

    def preferences(self, address: T) -> tuple[B, ...]:
        """Return all balancers with a weight, in the order in which they own the address.

        Each one owns it while all before it are dead.  Raises UnknownBackend for an unknown
        address.
        """
        if address not in self._names:
            raise UnknownBackend(address)
        while self._depth < len(self._open):
            self._deepen()
        return tuple(self._orders[address])

    def _checked(self, alive: Collection[B]) -> set[B]:
        if isinstance(alive, str | bytes):
            raise TypeError(f"alive must be a collection of balancers, not {shown(alive)}")
        living = set(alive)
        for balancer in living:
            if balancer not in self._weights:
                raise UnknownBackend(balancer)
        living.intersection_update(self._open)
        return living

    def _first(self, address: T, living: set[B]) -> B | None:
        """Return the first balancer of the order that is alive."""
        if not living:
            return None
        order = self._orders[address]
        place = 0
        while True:
            if place == self._depth:
                self._deepen()
            if order[place] in living:
                return order[place]
            place += 1

    def _deepen(self) -> None:
        """Append the next place to the order of every address.  If a hasher raises, do nothing."""
        found: dict[T, list[B]] = {}
        if self._depth >= _BALANCED:
            for address, order in self._orders.items():
                scores = {b: self._score(address, b) for b in self._open if b not in order}
                found[address] = sorted(scores, key=scores.__getitem__, reverse=True)
            self._append(found, len(self._open))
            return
        groups: dict[frozenset[B], list[T]] = {}
        for address, order in self._orders.items():
            groups.setdefault(frozenset(order), []).append(address)
        chosen = dict.fromkeys(self._open, 0)
        for dead, group in groups.items():
            found.update(self._chosen(dead, group, chosen))
        self._append(found, self._depth + 1)

    def _append(self, found: dict[T, list[B]], depth: int) -> None:
        for address, balancers in found.items():
            self._orders[address].extend(balancers)
        self._depth = depth

    def _chosen(self, dead: frozenset[B], group: list[T], chosen: dict[B, int]) -> dict[T, list[B]]:
        """Return the next place of the addresses that lose their owner when ``dead`` is complete.

        All other addresses keep the owners that they have then.  The addresses of the group fill
        up the balancers with the fewest addresses per weight.  ``chosen`` counts how often each
        balancer was appended at this depth; it decides between equal ones.
        """
        loads = {balancer: 0 for balancer in self._open if balancer not in dead}
        if dead:
            members = set(group)
            for address, order in self._orders.items():
                if address not in members:
                    loads[next(b for b in order if b not in dead)] += 1
        largest = max(self._weights[balancer] for balancer in loads)
        weights = {b: max(_LEAST, self._weights[b] / largest) for b in loads}
        heap = [
            ((load + 1) / weights[b], chosen[b] / weights[b], rank, b)
            for rank, (b, load) in enumerate(loads.items())
        ]
        heapify(heap)
        places = dict.fromkeys(loads, 0)
        for _ in group:
            _, _, rank, balancer = heap[0]
            places[balancer] += 1
            chosen[balancer] += 1
            weight = weights[balancer]
            load = loads[balancer] + places[balancer] + 1
            heapreplace(heap, (load / weight, chosen[balancer] / weight, rank, balancer))
        scores = [
            (self._score(address, balancer), address, balancer)
            for address in group
            for balancer, free in places.items()
            if free
        ]
        scores.sort(key=lambda triple: triple[0], reverse=True)
        found: dict[T, list[B]] = {}
        for _, address, balancer in scores:
            if places[balancer] and address not in found:
                places[balancer] -= 1
                found[address] = [balancer]
        return found

    def _score(self, address: T, balancer: B) -> int:
        name = self._names[address]
        return self._hasher(len(name).to_bytes(8, "big") + name + self._open[balancer])

    def _known_backends(self) -> Iterable[object]:
        return chain(self._weights, self._names)

    def __repr__(self) -> str:
        return f"<Owners: {len(self._names)} addresses, {len(self._weights)} balancers>"


def _names(kind: str, members: Iterable[T], identity: Identity[Any]) -> dict[T, bytes]:
    """Return the name of each member as bytes.  Raise DuplicateBackend for equal names."""
    names: dict[T, bytes] = {}
    for member in members:
        if member in names:
            raise DuplicateBackend(f"{kind} {shown(member)} is given twice")
        names[member] = key_bytes(identity(member))
    if len(set(names.values())) < len(names):
        raise DuplicateBackend(
            f"two of the {kind} names are equal: {shown(sorted(names.values()))}"
        )
    return names
