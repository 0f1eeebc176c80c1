"""Finds the engine with the fewest tokens left to compute."""

from collections.abc import Collection, Iterable, Sequence
from math import inf
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing._matches import WIDTH, Match
from balancers.hashing._unread import Unread

__all__ = ["Engines", "Tie", "cheapest", "first_of", "next_idlest", "only_one"]

_FEW = 8
"""Up to this many engines are compared one by one, and more of them with numpy."""
_HIGHEST = 1e300
_PLACES = 6

Tie = tuple[float, int]
"""A load, and a set of engines.  Those of them that have this load have equal costs."""


class Engines(Generic[B]):
    """The engines by number, and the load of each.  Sets of engines are ints, one bit for each.

    A load is the number of tokens left to compute in flight, divided by the weight.  It is ``inf``
    for an engine that is not open.  It is computed when it is read, because a request changes the
    tokens several times.
    """

    def __init__(self) -> None:
        self.numbers: dict[B, int] = {}
        self.members: dict[int, B] = {}
        self.unread: dict[B, Unread] = {}
        self.by_number: dict[int, Unread] = {}
        self.changed: dict[Unread, None] = {}
        """The engines whose tokens have changed since the loads were read."""
        self.open = 0
        self._loads = np.full(8, inf)
        self._free: list[int] = []

    def put(self, backend: B, weight: float) -> int:
        """Insert an engine or change its weight, and return its number; O(1) amortised."""
        number = self.numbers.get(backend)
        if number is None:
            number = self._free.pop() if self._free else len(self.numbers)
            if number == len(self._loads):
                self._loads = np.concatenate([self._loads, np.full(number, inf)])
            self.numbers[backend] = number
            self.members[number] = backend
            self.unread[backend] = self.by_number[number] = Unread(number)
        unread = self.unread[backend]
        unread.weight = weight
        bit = 1 << number
        self.open = self.open | bit if weight else self.open & ~bit
        self._loads[number] = inf
        self.changed[unread] = None
        return number

    def discard(self, backend: B) -> int:
        """Remove an engine, and return the number that it had; O(1)."""
        number = self.numbers.pop(backend)
        del self.members[number], self.by_number[number]
        self.changed.pop(self.unread.pop(backend), None)
        self._free.append(number)
        self._loads[number] = inf
        self.open &= ~(1 << number)
        return number

    def loads(self, avoid: Collection[B] = ()) -> NDArray[np.float64]:
        """Return the loads of all engines, infinite for those to avoid.

        O(engines that have changed since the last call), and O(n) if there are engines to avoid.
        """
        loads = self._loads
        while self.changed:
            unread, _ = self.changed.popitem()
            if unread.weight:  # otherwise it stays infinite
                loads[unread.number] = _load(unread)
        if not avoid:
            return loads
        rest = loads.copy()
        for backend in avoid:
            if backend in self.numbers:
                rest[self.numbers[backend]] = inf
        return rest

    def is_idle(self, number: int, tokens: int) -> bool:
        """Return whether the load of an open engine is less than a number of tokens; O(1)."""
        unread = self.by_number[number]
        return unread.tokens < tokens * unread.weight

    def without(self, avoid: Collection[B]) -> int:
        """Return the open engines that are not avoided; O(avoided)."""
        rest = self.open
        for backend in avoid:
            number = self.numbers.get(backend)
            if number is not None:
                rest &= ~(1 << number)
        return rest


def cheapest(
    total: int, matches: Sequence[Match], loads: NDArray[np.float64], size: int
) -> tuple[float, list[Tie]]:
    """Return the least cost of a prompt of ``total`` bytes, and the engines with this cost.

    ``matches`` are those of a set of engines that is not empty.  The load of all other engines is
    infinite.  ``size`` is the cost of a block that an engine does not have.
    """
    idlest = int(loads.argmin())
    lowest = loads.item(idlest)
    seen, least = 0, inf
    ties: list[Tie] = []
    for length, caches in reversed(matches):
        own = (total - length) // WIDTH * size
        if lowest + own > least:  # a shorter match is worse
            break
        tie = _lowest(loads, caches & ~seen, idlest)
        cost = tie[0] + own
        if cost < least:
            least, ties = cost, [tie]
        elif cost == least:
            ties.append(tie)
        if caches >> idlest & 1:
            break
        seen = caches
    return least, ties


def _load(unread: Unread) -> float:
    weight, tokens = unread.weight, unread.tokens
    if weight == 1:
        return tokens if tokens < _HIGHEST else _HIGHEST  # noqa: FURB136 - a call of min() is slower
    return round(min(min(tokens, _HIGHEST) / weight, _HIGHEST), _PLACES)


def only_one(ties: Sequence[Tie]) -> int:
    """Return the only engine of the sets, or -1 if they may have several."""
    among = ties[0][1]
    return -1 if len(ties) > 1 or among & (among - 1) else among.bit_length() - 1


def first_of(order: Iterable[int], ties: Sequence[Tie], loads: NDArray[np.float64]) -> int:
    """Return the first engine that is in one of the sets and has the load of this set."""
    for number in order:
        load = loads.item(number)
        for lowest, among in ties:
            if load == lowest and among >> number & 1:
                return number
    raise AssertionError("each set has an engine with its load")


def next_idlest(loads: NDArray[np.float64], last: int) -> int:
    """Return the next number after ``last`` of the engines with the lowest load, by turns."""
    equal = np.flatnonzero(loads == loads.min())
    return int(equal[equal.searchsorted(last, side="right") % len(equal)])


def _lowest(loads: NDArray[np.float64], among: int, idlest: int) -> Tie:
    """Return the lowest load of a set of engines, and a set with all of them that have it.

    ``idlest`` is an engine with the lowest load of all.
    """
    if not among & (among - 1):
        return loads.item(among.bit_length() - 1), among
    if among.bit_count() <= _FEW:
        lowest, equal, rest = inf, 0, among
        while rest:
            bit = rest & -rest
            rest ^= bit
            load = loads.item(bit.bit_length() - 1)
            if load < lowest:
                lowest, equal = load, bit
            elif load == lowest:
                equal |= bit
        return lowest, equal
    if among >> idlest & 1:
        return loads.item(idlest), among
    flags = np.frombuffer(among.to_bytes(len(loads) // 8 + 1, "little"), dtype=np.uint8)
    return float(loads[np.flatnonzero(np.unpackbits(flags, bitorder="little"))].min()), among
