"""Samples single items, or groups of different items, at random by weight.

The caller passes the random generator.  A sum tree samples one item, or changes a weight, in
O(log n).  After enough samples without a change of weights, an alias table samples complete blocks
with vector operations.  A pick then only takes the next item of a list.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from balancers.algorithms._alias_table import AliasTable

__all__ = ["WeightedSampler"]

T = TypeVar("T")

_MIN_TABLE_BLOCK, _MAX_BLOCK = 32, 4096
"""The smallest block for which a table is used, and the largest block.  Both are numbers of
groups."""
_MAX_ITEMS = 2 * _MAX_BLOCK
"""The largest number of items in a block of several groups."""
_MEMBERS_PER_SAMPLE = 4
"""A table is built when the number of samples since the last change of weights is at least the
number of open members divided by this number."""


class SumTree:
    """Stores a row of weights, and a binary tree of their sums.

    Each sum is computed from two other sums.  Therefore rounding errors do not accumulate when
    weights change.
    """

    def __init__(self) -> None:
        self._size = 1
        self._sums: list[float] = [0, 0]

    @property
    def total(self) -> float:
        """The sum of all weights; O(1)."""
        return self._sums[1]

    def __getitem__(self, index: int) -> float:
        return self._sums[self._size + index]

    def __setitem__(self, index: int, weight: float) -> None:
        """Set a weight; O(log n).  If the row doubles its size, the cost is O(n)."""
        while index >= self._size:
            leaves = self._sums[self._size :]
            self._size *= 2
            self._sums = [0.0] * self._size + leaves + [0.0] * len(leaves)
            for node in range(self._size - 1, 0, -1):
                self._sums[node] = self._sums[2 * node] + self._sums[2 * node + 1]
        sums = self._sums
        node = self._size + index
        sums[node] = weight
        while node > 1:
            node >>= 1
            sums[node] = sums[2 * node] + sums[2 * node + 1]

    def find(self, share: float) -> int:
        """Return the first index at which the running sum exceeds a part of the total; O(log n).

        ``share`` is this part, from 0 to below 1.  The weight at the returned index is never 0.
        """
        sums, size = self._sums, self._size
        target, node = share * sums[1], 1
        while node < size:
            node *= 2
            if target >= sums[node] and sums[node + 1]:
                target -= sums[node]
                node += 1
            elif not sums[node]:
                node += 1
        return node - size

    def __repr__(self) -> str:
        return f"<SumTree: total weight {self.total:g}>"


class WeightedSampler(Generic[T]):
    """Samples items at random by weight.  An item is addressed by its index."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._items: dict[int, T] = {}
        self._free_indices: list[int] = []
        self._tree = SumTree()
        self._table: AliasTable | None = None
        self._array: Any = None  # the items by index, as an array of objects; only with a table
        self._block_size = 1
        self._undisturbed = 0  # the groups sampled since the weights changed
        self.open = 0
        """The number of items that have a positive weight."""

    @property
    def find(self) -> Callable[[float], int]:
        """The function that returns the index to which a part of the total weight belongs."""
        return self._tree.find

    def insert(self, item: T) -> int:
        """Add an item with weight 0, and return its index; O(1) amortised."""
        index = self._free_indices.pop() if self._free_indices else len(self._items)
        self._items[index] = item
        self._tree[index] = 0
        return index

    def remove(self, index: int) -> None:
        """Remove an item.  Its weight must be 0; O(1)."""
        del self._items[index]
        self._free_indices.append(index)

    def set_weight(self, index: int, weight: float) -> None:
        """Set a weight; O(log n)."""
        self.open += (weight > 0) - (self._tree[index] > 0)
        self._tree[index] = weight

    def weights_changed(self) -> None:
        """Discard the alias table.  The next block is small again."""
        self._table = self._array = None
        self._block_size = 1
        self._undisturbed = 0

    def sample(self, size: int, excluded: Iterable[int] = ()) -> list[T]:
        """Return a group of ``size`` different items; O(size · log n).

        Each item is sampled by weight from the items that are not yet in the group.  The items
        whose indices are in ``excluded`` are not sampled.  If there are not enough items, the group
        is smaller.
        """
        return self.items_of(self._sample_indices(size, excluded))

    def _sample_indices(self, size: int, excluded: Iterable[int] = ()) -> list[int]:
        return self.sample_indices_with(self._rng.random, size, excluded)

    def sample_indices_with(
        self, random: Callable[[], float], size: int, excluded: Iterable[int]
    ) -> list[int]:
        """Return the indices of a group, as :meth:`sample` does, by numbers of another source."""
        tree, removed = self._tree, {index: self._tree[index] for index in excluded}
        for index in removed:
            tree[index] = 0
        sampled: list[int] = []
        while len(sampled) < size and tree.total > 0:
            index = tree.find(random())
            sampled.append(index)
            if len(sampled) < size:
                removed[index] = tree[index]
                tree[index] = 0
        for index, weight in removed.items():
            tree[index] = weight
        return sampled

    @contextmanager
    def without(self, excluded: Iterable[int]) -> Generator[Callable[[int], None]]:
        """Leave items out of all samples until the end of the block; O(excluded · log n).

        The value of the context manager is a function that leaves out one more item.
        """
        tree, removed = self._tree, dict[int, float]()

        def leave_out(index: int) -> None:
            removed[index] = tree[index]
            tree[index] = 0

        try:
            for index in excluded:
                leave_out(index)
            yield leave_out
        finally:
            for index, weight in removed.items():
                tree[index] = weight

    def items_of(self, indices: list[int]) -> list[T]:
        """Return the items at these indices."""
        return [self._items[index] for index in indices]

    def sample_block(self, size: int) -> list[T]:
        """Return the next block of groups, as a flat list; O(1) amortised for each item."""
        return self.items_at(self.sample_indices(size))

    def sample_indices(self, size: int) -> "list[int] | NDArray[np.intp]":
        """Return the indices of the items of the next block of groups, as a flat list or array."""
        size = min(size, self.open)
        count = self._block_size
        if count < _MAX_BLOCK and 2 * count * size <= _MAX_ITEMS:
            self._block_size = 2 * count
        self._undisturbed += count
        steady = self._undisturbed * _MEMBERS_PER_SAMPLE >= self.open
        if count >= _MIN_TABLE_BLOCK and steady:
            table = self._table or self._build_table()
            if table.precise:
                return table.sample(self._rng, count, size)
        if count == 1:
            return self._sample_indices(size)
        return [index for _ in range(count) for index in self._sample_indices(size)]

    def items_at(self, indices: "list[int] | NDArray[np.intp]") -> list[T]:
        """Return the items at the indices that :meth:`sample_indices` has just returned."""
        if isinstance(indices, list):
            stored = self._items
            return [stored[index] for index in indices]
        items: list[T] = self._array[indices].tolist()
        return items

    def _build_table(self) -> "AliasTable":
        from balancers.algorithms._alias_table import (  # noqa: PLC0415 - loads numpy
            AliasTable,
            array_of,
        )

        row = [(index, self._tree[index]) for index in self._items]
        self._array = array_of(self._items)
        self._table = AliasTable([(index, weight) for index, weight in row if weight > 0])
        return self._table

    def __repr__(self) -> str:
        return f"<WeightedSampler: {self.open} of {len(self._items)} open>"
