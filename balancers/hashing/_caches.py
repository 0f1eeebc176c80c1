"""Remembers which blocks of prompts are in the caches of engines."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from copy import copy
from typing import Any, Self

__all__ = ["Caches"]

_Blocks = Sequence[int]


class Caches:
    """A model of several caches, each with the ``capacity`` blocks that were used most recently.

    A cache has a number, and a set of caches is an int in which the bits of these numbers are 1.  A
    block is an int that stands for a whole prefix: it always has the same predecessor.

    A cache that has a block has all blocks before it.  So the length of a match is found by
    bisection.  To keep this true, a cache treats the last block of a prompt as the one that was
    used first: then ends are evicted before their beginnings.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._cached: dict[int, OrderedDict[int, None]] = {}
        self._holders: dict[int, int] = {}
        """The caches that have a block.  A block that no cache has is not stored."""
        self._before: dict[int, int] = {}
        """The predecessors of the stored blocks."""

    def add(self, number: int) -> None:
        """Add an empty cache; O(1)."""
        self._cached[number] = OrderedDict()

    def discard(self, number: int) -> None:
        """Remove a cache; O(its blocks)."""
        for block in self._cached.pop(number):
            self._drop(block, number)

    def clear(self, number: int) -> None:
        """Empty a cache; O(its blocks)."""
        self.discard(number)
        self.add(number)

    def content(self, number: int) -> list[int]:
        """Return the blocks of a cache, from the first to be evicted to the last; O(blocks)."""
        return list(self._cached[number])

    def deepest(self, blocks: _Blocks, among: int) -> tuple[int, int]:
        """Return how many of the blocks the best caches have, and the set of these caches.

        Only the caches in the set ``among`` count; O(log blocks).
        """
        holders = self._holders
        low, high, best = 0, len(blocks), among
        while low < high:
            middle = (low + high + 1) >> 1
            found = holders.get(blocks[middle - 1], 0) & among
            if found:
                low, best = middle, found
            else:
                high = middle - 1
        return low, best

    def wider(self, blocks: _Blocks, length: int, best: int, among: int) -> tuple[int, int]:
        """Return the greatest lower length of a match, and the caches that have as many blocks.

        ``best`` is the set of the caches that have the first ``length`` blocks.  It must not be
        equal to ``among``; O(log blocks).
        """
        holders = self._holders
        low, high, more = 0, length - 1, among
        while low < high:
            middle = (low + high + 1) >> 1
            found = holders.get(blocks[middle - 1], 0) & among
            if found != best:
                low, more = middle, found
            else:
                high = middle - 1
        return low, more

    def common(self, blocks: _Blocks, among: int) -> int:
        """Return how many of the blocks more than half of the caches have; O(log blocks)."""
        holders, half = self._holders, among.bit_count() >> 1
        low, high = 0, len(blocks)
        while low < high:
            middle = (low + high + 1) >> 1
            if (holders.get(blocks[middle - 1], 0) & among).bit_count() > half:
                low = middle
            else:
                high = middle - 1
        return low

    def match(self, number: int, blocks: _Blocks) -> int:
        """Return how many of the blocks a cache has; O(log blocks)."""
        cached = self._cached[number]
        if blocks and blocks[-1] in cached:
            return len(blocks)
        low, high = 0, len(blocks) - 1
        while low < high:
            middle = (low + high + 1) >> 1
            if blocks[middle - 1] in cached:
                low = middle
            else:
                high = middle - 1
        return low

    def use(self, number: int, blocks: _Blocks) -> int:
        """Put the blocks of a prompt into a cache, and evict blocks beyond its capacity.

        Return how many of the blocks the cache had; O(blocks), and O(1) per evicted block.
        """
        cached = self._cached[number]
        found = self.match(number, blocks)
        kept = blocks[: self.capacity]
        try:
            if found < len(kept):
                self._insert(number, cached, kept, found)
            deque(map(cached.move_to_end, reversed(kept[:found])), 0)
        except KeyError:  # a digest that stands for several prefixes
            self._insert(number, cached, kept, 0)
            deque(map(cached.move_to_end, reversed(kept)), 0)
        while len(cached) > self.capacity:
            self._drop(cached.popitem(last=False)[0], number)
        return found

    def _insert(
        self, number: int, cached: OrderedDict[int, None], blocks: _Blocks, found: int
    ) -> None:
        """Insert the blocks after the first ``found`` ones, the last block first."""
        holders, bit = self._holders, 1 << number
        new = blocks[found:]
        for block in reversed(new):
            cached[block] = None
            holders[block] = holders.get(block, 0) | bit
        self._before.update(zip(blocks[found + 1 :], new, strict=False))
        if found:
            self._before[new[0]] = blocks[found - 1]

    def prefix(self, number: int, block: int) -> list[int]:
        """Return the blocks up to ``block``, or no blocks if the cache does not have it; O(blocks).

        Only the stored predecessors are known.
        """
        cached = self._cached[number]
        found: dict[int, None] = {}
        while block in cached and block not in found:
            found[block] = None
            block = self._before.get(block, -1)
        return [*found][::-1]

    def forget(self, number: int, blocks: _Blocks) -> None:
        """Remove blocks from a cache, and all blocks that come after them.

        The cost is O(1) for each block that would have been evicted until then.
        """
        cached, before = self._cached[number], self._before
        gone = {block for block in blocks if block in cached}
        missing = len(gone)
        older: list[int] = []
        for block in cached if gone else ():
            older.append(block)
            missing -= block in gone
            if not missing:
                break
        for block in reversed(older):  # a block is older than its predecessor
            if before.get(block) in gone:
                gone.add(block)
        for block in gone:
            del cached[block]
            self._drop(block, number)

    def _drop(self, block: int, number: int) -> None:
        holders = self._holders
        rest = holders.get(block, 0) & ~(1 << number)
        if rest:
            holders[block] = rest
        else:
            holders.pop(block, None)
            self._before.pop(block, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        clone = copy(self)
        clone.__dict__.update(
            _cached={number: cached.copy() for number, cached in self._cached.items()},
            _holders=self._holders.copy(),
            _before=self._before.copy(),
        )
        return clone
