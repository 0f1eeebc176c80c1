"""Divides all addresses of one version of IP into ranges, each with the longest prefix over it."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["Space", "overlaid", "ranges"]

_MOST_BITS = 32  # of an address that is stored in an array


class Space:
    """The sorted ranges of all addresses of ``bits`` bits, and the owner of each range.

    ``value_of`` returns the value of an owner.  Neighbours with equal values form a run.  Each
    range stores the numbers just before and just after its run.
    """

    __slots__ = ("above", "below", "bits", "owners", "starts")

    def __init__(
        self,
        bits: int,
        starts: list[int],
        owners: list[int],
        value_of: Callable[[int], Any],
    ) -> None:
        end = 1 << bits  # it differs from every address in its highest bit
        values = map(value_of, owners)
        changes = [
            start
            for start, (one, other) in zip(starts[1:], pairwise(values), strict=True)
            if one is not other and not equal(one, other)
        ]
        changes.append(end)
        below: list[int] = []
        above: list[int] = []
        run = 0
        before, after = end, changes[0]
        for start in starts:
            if start == after:
                run += 1
                before, after = start - 1, changes[run]
            below.append(before)
            above.append(after)
        self.bits = bits
        self.starts = compact(bits, starts)
        self.owners = compact(bits, owners)
        self.below = compact(bits, below)
        self.above = compact(bits, above)

    @property
    def uniform(self) -> bool:
        """Whether all addresses have the same value."""
        return self.above[0] == 1 << self.bits

    def owner(self, number: int) -> int:
        """Return the owner of an address; O(log n)."""
        return self.owners[bisect_right(self.starts, number) - 1]

    def find(self, number: int) -> tuple[int, int]:
        """Return the owner of an address, and the length of the prefix of its scope; O(log n)."""
        at = bisect_right(self.starts, number) - 1
        below = (number ^ self.below[at]).bit_length()
        above = (number ^ self.above[at]).bit_length()
        shorter = below if below < above else above  # noqa: FURB136 - a call of min() is slower
        return self.owners[at], self.bits + 1 - shorter


def compact(bits: int, numbers: list[int]) -> Sequence[int]:
    """Return the numbers next to each other in memory if they fit, which makes a lookup faster."""
    return array("q", numbers) if bits <= _MOST_BITS else numbers


def equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal.  Arrays and other values without an answer are not."""
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        return False


def ranges(bits: int, networks: Iterable[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    """Return the starts and the owners of all ranges; O(n) for sorted networks.

    Each network is the triple of its first address, the length of its prefix and its owner.  They
    are sorted, and no two are equal.  Addresses in no network have the owner 0.

    >>> ranges(3, [(4, 1, 1), (4, 2, 2)])  # 1xx and 10x
    ([0, 4, 6], [0, 2, 1])
    """
    starts, owners = [0], [0]
    ends, around = [1 << bits], [0]  # of the networks around the present address
    for first, length, owner in [*networks, (1 << bits, bits, 0)]:
        while (end := ends[-1]) <= first and len(ends) > 1:
            del ends[-1], around[-1]
            if starts[-1] == end:
                owners[-1] = around[-1]
            else:
                starts.append(end)
                owners.append(around[-1])
        if starts[-1] == first:
            owners[-1] = owner
        else:
            starts.append(first)
            owners.append(owner)
        ends.append(first + (1 << bits - length))
        around.append(owner)
    del starts[-1], owners[-1]  # those after the last address
    return starts, owners


def overlaid(
    spaces: Sequence[Space], owner_of: Callable[[tuple[int, ...]], int]
) -> tuple[list[int], list[int]]:
    """Return the starts and the owners of all ranges of several spaces together; O(n log n).

    ``owner_of`` returns the owner of a range for its owners in the spaces.
    """
    starts = sorted({start for space in spaces for start in space.starts})
    columns: list[list[int]] = []
    for space in spaces:
        at = 0
        column: list[int] = []
        following = [*space.starts[1:], 1 << space.bits]
        for start in starts:
            at += start == following[at]
            column.append(space.owners[at])
        columns.append(column)
    return starts, [owner_of(owners) for owners in zip(*columns, strict=True)]
