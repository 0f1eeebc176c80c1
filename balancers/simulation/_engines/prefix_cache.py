"""Keeps the blocks of prompts that were used last."""

from collections import OrderedDict
from collections.abc import Sequence

__all__ = ["PrefixCache"]


class PrefixCache:
    """A cache of blocks.  The least recently used one is evicted first.

    Of one prompt, the last block is evicted first, because it is of no use without those before it.

    >>> cache = PrefixCache(capacity=3)
    >>> cache.insert([1, 2, 3])
    >>> cache.insert([1, 9])
    >>> cache.match([1, 2, 3]), cache.match([1, 9])
    (2, 2)
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def match(self, blocks: Sequence[int]) -> int:
        """Return how many of the first blocks are in the cache without a gap; O(blocks)."""
        known = self._blocks
        for count, block in enumerate(blocks):
            if block not in known:
                return count
        return len(blocks)

    def insert(self, blocks: Sequence[int]) -> None:
        """Make these blocks the most recently used ones; O(blocks)."""
        known = self._blocks
        for block in reversed(blocks):
            known[block] = None
            known.move_to_end(block)
        while len(known) > self._capacity:
            known.popitem(last=False)

    def clear(self) -> None:
        """Forget all blocks."""
        self._blocks.clear()
