"""Remembers which blocks of prompts are in the caches of engines."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
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

    Blocks that were always used together are a *run*, so that it takes one step to use all of them.
    A run is divided when a prompt uses its beginning only.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._cached: dict[int, dict[int, _Run]] = {}
        """For each cache, the run of each block."""
        self._order: dict[int, OrderedDict[_Run, None]] = {}
        """For each cache, its runs, from the first to be evicted to the last."""
        self._holders: dict[int, int] = {}
        """The caches that have a block.  A block that no cache has is not stored."""
        self._before: dict[int, int] = {}
        """The predecessors of the stored blocks."""

    def add(self, number: int) -> None:
        """Add an empty cache; O(1)."""
        self._cached[number], self._order[number] = {}, OrderedDict()

    def discard(self, number: int) -> None:
        """Remove a cache; O(its blocks)."""
        del self._order[number]
        for block in self._cached.pop(number):
            self._drop(block, number)

    def clear(self, number: int) -> None:
        """Empty a cache; O(its blocks)."""
        self.discard(number)
        self.add(number)

    def content(self, number: int) -> list[int]:
        """Return the blocks of a cache, from the first to be evicted to the last; O(blocks)."""
        return [block for run in self._order[number] for block in reversed(run.blocks)]

    def only_holder(self, block: int, among: int) -> int:
        """Return the number of the only cache that has a block, or -1; O(1)."""
        found = self._holders.get(block, 0) & among
        return -1 if found & (found - 1) else found.bit_length() - 1

    def deepest(self, blocks: _Blocks, among: int) -> tuple[int, int]:
        """Return how many of the blocks the best caches have, and the set of these caches.

        Only the caches in the set ``among`` count; O(log blocks).
        """
        holders = self._holders
        if not blocks:
            return 0, among
        found = holders.get(blocks[-1], 0) & among
        if found:  # the usual case of a session
            return len(blocks), found
        low, high, best = 0, len(blocks) - 1, among
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

        Return how many of the blocks the cache had; O(runs + new blocks), and O(1) per evicted one.
        """
        cached, order = self._cached[number], self._order[number]
        runs: list[_Run] = []
        place = 0
        if blocks and blocks[-1] in cached:
            found = kept = len(blocks)
            fits = True
        else:
            found = self.match(number, blocks)
            kept = min(len(blocks), self.capacity)
            fits = self._is_new(cached, blocks[found:kept])
        while place < found or not fits:
            run = cached.get(blocks[place]) if fits else None
            if run is None or run.blocks[0] != blocks[place]:
                self._replace(number, dict.fromkeys(blocks[:kept]))
                break
            runs.append(run)
            place += len(run.blocks)
        else:
            if place > found:
                runs[-1] = self._divide(number, runs[-1], found - place)
            if found < kept:
                self._insert(number, blocks, found, kept)
            for run in reversed(runs):
                order.move_to_end(run)
        while len(cached) > self.capacity:
            run = next(iter(order))
            block = run.blocks.pop()
            if not run.blocks:
                del order[run]
            del cached[block]
            self._drop(block, number)
        return found

    @staticmethod
    def _is_new(cached: "dict[int, _Run]", blocks: _Blocks) -> bool:
        return cached.keys().isdisjoint(blocks) and len({*blocks}) == len(blocks)

    def _divide(self, number: int, run: "_Run", place: int) -> "_Run":
        """Make a run of its own of the blocks up to a place, and return it.

        The rest stays where it is in the order.
        """
        first = _Run(run.blocks[:place])
        run.blocks = run.blocks[place:]
        self._cached[number].update(dict.fromkeys(first.blocks, first))
        self._order[number][first] = None
        return first

    def _insert(self, number: int, blocks: _Blocks, start: int, end: int) -> None:
        """Insert a run of the blocks from ``start`` to ``end``, as the last one in the order."""
        holders, bit = self._holders, 1 << number
        run = _Run(list(blocks[start:end]))
        for block in run.blocks:
            holders[block] = holders.get(block, 0) | bit
        self._cached[number].update(dict.fromkeys(run.blocks, run))
        self._order[number][run] = None
        self._before.update(zip(run.blocks[1:], run.blocks, strict=False))
        if start:
            self._before[run.blocks[0]] = blocks[start - 1]

    def _replace(self, number: int, blocks: Iterable[int]) -> None:
        """Insert blocks of which some stand for several prefixes, so the runs do not fit."""
        blocks = list(blocks)
        self._remove(number, {block for block in blocks if block in self._cached[number]})
        self._insert(number, blocks, 0, len(blocks))

    def _remove(self, number: int, gone: set[int]) -> None:
        """Remove blocks that the cache has; O(blocks of their runs)."""
        cached, order = self._cached[number], self._order[number]
        for run in {cached[block] for block in gone}:
            run.blocks = [block for block in run.blocks if block not in gone]
            if not run.blocks:
                del order[run]
        for block in gone:
            del cached[block]
            self._drop(block, number)

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

        O(blocks of the cache), and O(1) if it has none of them.
        """
        cached, before = self._cached[number], self._before
        gone = {block for block in blocks if block in cached}
        missing = len(gone)
        older: list[int] = []
        for block in self.content(number) if gone else ():
            older.append(block)
            missing -= block in gone
            if not missing:
                break
        for block in reversed(older):  # a block is older than its predecessor
            if before.get(block) in gone:
                gone.add(block)
        self._remove(number, gone)

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
        order = {
            number: {run: _Run(run.blocks.copy()) for run in runs}
            for number, runs in self._order.items()
        }
        clone.__dict__.update(
            _cached={
                number: {block: order[number][run] for block, run in cached.items()}
                for number, cached in self._cached.items()
            },
            _order={n: OrderedDict.fromkeys(runs.values()) for n, runs in order.items()},
            _holders=self._holders.copy(),
            _before=self._before.copy(),
        )
        return clone


class _Run:
    """Blocks that follow each other in prompts, and were always used together."""

    __slots__ = ("blocks",)

    def __init__(self, blocks: list[int]) -> None:
        self.blocks = blocks
