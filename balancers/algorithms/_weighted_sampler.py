"""Draws by weight: one backend, or several different ones, from a generator that is passed in.

A sum tree gives one draw, and takes a new weight, in O(log n).  After some quiet draws whole blocks
come from a table, vectorised, so that a pick costs a step along a list.
"""

from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from balancers.algorithms._alias_table import AliasTable

__all__ = ["Draws"]

T = TypeVar("T")

_FIRST_BLOCK, _LAST_BLOCK = 32, 4096
_QUIET_SHARE = 4
"""A table is made after one quiet draw for so many members."""


class SumTree:
    """Weights in a row and the sums over them, each the sum of two: no rounding is accumulated."""

    def __init__(self) -> None:
        self._size = 1
        self._sums: list[float] = [0, 0]

    @property
    def total(self) -> float:
        """The sum of all weights; O(1)."""
        return self._sums[1]

    def __getitem__(self, place: int) -> float:
        return self._sums[self._size + place]

    def __setitem__(self, place: int, weight: float) -> None:
        """Set a weight; O(log n), and O(n) each time the row doubles."""
        while place >= self._size:
            leaves = self._sums[self._size :]
            self._size *= 2
            self._sums = [0.0] * self._size + leaves + [0.0] * len(leaves)
            for node in range(self._size - 1, 0, -1):
                self._sums[node] = self._sums[2 * node] + self._sums[2 * node + 1]
        sums = self._sums
        node = self._size + place
        sums[node] = weight
        while node > 1:
            node >>= 1
            sums[node] = sums[2 * node] + sums[2 * node + 1]

    def find(self, share: float) -> int:
        """Give the place where the running sum passes ``share`` of the total; never a weight 0."""
        sums, size = self._sums, self._size
        left, node = share * sums[1], 1
        while node < size:
            node *= 2
            if left >= sums[node] and sums[node + 1]:
                left -= sums[node]
                node += 1
            elif not sums[node]:
                node += 1
        return node - size


class Draws(Generic[T]):
    """Items by weight, drawn at random."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._items: dict[int, T] = {}
        self._vacant: list[int] = []
        self._tree = SumTree()
        self._table: AliasTable[T] | None = None
        self._block = 1
        self._quiet = 0
        self.open = 0
        """How many items have a positive weight."""

    def insert(self, item: T) -> int:
        """Take in an item of weight 0 and give its place; O(1) amortised."""
        place = self._vacant.pop() if self._vacant else len(self._items)
        self._items[place] = item
        self._tree[place] = 0
        return place

    def remove(self, place: int) -> None:
        """Let go of an item of weight 0."""
        del self._items[place]
        self._vacant.append(place)

    def weigh(self, place: int, weight: float) -> None:
        """Set a weight; O(log n)."""
        self.open += (weight > 0) - (self._tree[place] > 0)
        self._tree[place] = weight

    def disturb(self) -> None:
        """Forget what was prepared for quiet times: weights have changed since."""
        self._table = None
        self._block = 1
        self._quiet = 0

    def group(self, size: int, shut: Iterable[int] = ()) -> list[T]:
        """Draw different items, each by weight among the rest, none of the places shut.

        Fewer when there are fewer.  O(size · log n).
        """
        tree, out = self._tree, {place: self._tree[place] for place in shut}
        for place in out:
            tree[place] = 0
        drawn: list[T] = []
        while len(drawn) < size and tree.total > 0:
            place = tree.find(self._rng.random())
            drawn.append(self._items[place])
            if len(drawn) < size:
                out[place] = tree[place]
                tree[place] = 0
        for place, weight in out.items():
            tree[place] = weight
        return drawn

    def groups(self, size: int) -> list[T]:
        """Draw the next block of groups, one behind the other; O(1) a draw, amortised."""
        count, self._block = self._block, min(2 * self._block, _LAST_BLOCK)
        self._quiet += count
        size = min(size, self.open)
        if count >= _FIRST_BLOCK and size in {1, 2} and self._quiet * _QUIET_SHARE >= self.open:
            table = self._table
            if table is None:
                table = self._table = self._tabulate()
            if table.even:
                return (
                    table.singles(self._rng, count) if size == 1 else table.pairs(self._rng, count)
                )
        return [item for _ in range(count) for item in self.group(size)]

    def _tabulate(self) -> "AliasTable[T]":
        from balancers.algorithms._alias_table import AliasTable  # noqa: PLC0415 - loads numpy

        row = [(item, self._tree[place]) for place, item in self._items.items()]
        return AliasTable([(item, weight) for item, weight in row if weight > 0])
