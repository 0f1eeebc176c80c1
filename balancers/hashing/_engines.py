"""Finds the engine with the fewest tokens left to compute."""

from collections.abc import Collection, Sequence
from math import inf
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing._caches import Caches
from balancers.hashing._unread import Unread

__all__ = ["Engines", "Tie", "cheapest", "has_load", "next_idlest"]

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
            self.unread[backend] = Unread(number)
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
        del self.members[number]
        self.changed.pop(self.unread.pop(backend), None)
        self._free.append(number)
        self._loads[number] = inf
        self.open &= ~(1 << number)
        return number

    def loads(self) -> NDArray[np.float64]:
        """Return the loads of all engines; O(engines that have changed since the last call)."""
        loads = self._loads
        while self.changed:
            unread, _ = self.changed.popitem()
            weight = unread.weight
            tokens: float = unread.tokens
            if weight != 1:
                if not weight:
                    continue  # it stays infinite
                tokens = round(min(min(tokens, _HIGHEST) / weight, _HIGHEST), _PLACES)
            loads[unread.number] = tokens if tokens < _HIGHEST else _HIGHEST  # noqa: FURB136 - a call of min() is slower
        return loads

    def without(self, avoid: Collection[B]) -> tuple[int, NDArray[np.float64]]:
        """Return the open engines that are not avoided, and the loads of all; O(n + avoided)."""
        rest, loads = self.open, self.loads().copy()
        for backend in avoid:
            number = self.numbers.get(backend)
            if number is not None:
                rest &= ~(1 << number)
                loads[number] = inf
        return rest, loads


def cheapest(
    blocks: Sequence[int], caches: Caches, among: int, loads: NDArray[np.float64], size: int
) -> tuple[float, list[Tie], int]:
    """Return the least cost, the engines with this cost, and the length of the longest match.

    The cost is the load plus ``size`` for each block that the engine does not have.  ``among`` is
    not empty, and the load of all other engines is infinite.
    """
    total = len(blocks)
    idlest = int(loads.argmin())
    lowest = loads.item(idlest)
    length, best = caches.deepest(blocks, among)
    longest, seen, least = length, 0, inf
    ties: list[Tie] = []
    while True:
        own = (total - length) * size
        tie = _lowest(loads, best & ~seen, idlest)
        cost = tie[0] + own
        if cost < least:
            least, ties = cost, [tie]
        elif cost == least:
            ties.append(tie)
        if best >> idlest & 1 or lowest + own + size > least:  # a shorter match is worse
            break
        seen = best
        length, best = caches.wider(blocks, length, best, among)
    return least, ties, longest


def has_load(number: int, ties: Sequence[Tie], loads: NDArray[np.float64]) -> bool:
    """Return whether an engine is in one of the sets, and has the load of this set."""
    return any(among >> number & 1 and loads.item(number) == load for load, among in ties)


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
