"""Stores prompts as a tree: prompts that begin with the same blocks share its nodes.

All lengths in this file are numbers of bytes.
"""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Self

from balancers.hashing._matches import WIDTH, Match

__all__ = ["Node", "Path"]

_PART = itemgetter(1)
"""Of a number and how much this cache has: how much."""


class Node:
    """Blocks that follow each other, and the caches that have them.

    A set of caches is an int in which the bits of their numbers are 1.  A cache that has a node, or
    a part of it, has all nodes before it.  So the caches that have a node, or a part of it, are
    among those that have all of its parent.  At least one cache has all of a node.
    """

    __slots__ = ("children", "data", "holders", "parent", "parts", "used")

    def __init__(self, data: bytes = b"", parent: "Node | None" = None) -> None:
        self.data = data
        """The blocks."""
        self.parent = self if parent is None else parent
        """The node before it.  The root is its own parent, and has no blocks."""
        self.children: dict[bytes, Node] = {}
        """The nodes after it, by their first block."""
        self.holders = 0
        """The caches that have all of its blocks."""
        self.parts: dict[int, int] = {}
        """How much the other caches have, if they have the beginning only."""
        self.used: dict[int, int] = {}
        """The time of the last use, for each cache that has it or a part of it."""

    def append(self, data: bytes) -> Self:
        """Insert a node after this one, and return it; O(bytes)."""
        child = self.children[data[:WIDTH]] = type(self)(data, self)
        return child

    def path(self, key: bytes) -> "Path":
        """Return the nodes of a prompt after this one, each with the length up to its end.

        Only a part of the last node may be equal to the prompt.  Then its length is up to the end
        of this part, and the second value is the length of the part.  Otherwise it is 0; O(nodes),
        and O(bytes) in C.
        """
        found: list[tuple[Node, int]] = []
        place, children = 0, self.children
        while (node := children.get(key[place : place + WIDTH])) is not None:
            data = node.data
            if not key.startswith(data, place):
                equal = _common(key[place : place + len(data)], data)
                found.append((node, place + equal))
                return found, equal
            place += len(data)
            found.append((node, place))
            children = node.children
        return found, 0

    def having(self, length: int) -> int:
        """Return the caches that have the beginning of this length; O(parts)."""
        found = self.holders
        for number, part in self.parts.items():
            if part >= length:
                found |= 1 << number
        return found

    def extend(self, found: list[Match], start: int, end: int) -> None:
        """Append the lengths up to ``end``, each with those caches of the last entry that have it.

        ``start`` is the length before the node.  The caches of each entry differ; O(parts · log).
        """
        caches = self.having(0)
        for part, group in groupby(sorted(self.parts.items(), key=_PART), key=_PART):
            if start + part >= end:
                break
            _append(found, start + part, caches)
            for number, _ in group:
                caches &= ~(1 << number)
        _append(found, end, caches)

    def amount(self, number: int) -> int:
        """Return how much of the node a cache has; O(1)."""
        return len(self.data) if self.holders >> number & 1 else self.parts.get(number, 0)

    def split(self, length: int) -> "Node":
        """Make a node of its own of the beginning, and return it; O(caches that have it).

        This node becomes its only child.
        """
        head = self.parent.append(self.data[:length])
        self.data, self.parent = self.data[length:], head
        head.children[self.data[:WIDTH]] = self
        head.holders, head.used = self.having(length), self.used.copy()
        for number, part in [*self.parts.items()]:
            if part > length:
                self.parts[number] = part - length
                continue
            if part < length:
                head.parts[number] = part
            del self.parts[number], self.used[number]
        return head

    def keep(self, number: int, length: int) -> bytes:
        """Let a cache keep only the beginning.  Remove and return what no cache has; O(parts)."""
        self.holders &= ~(1 << number)
        self.parts.pop(number, None)
        if length:
            self.parts[number] = length
        if self.holders:
            return b""
        longest = max(self.parts.values(), default=0)
        self.holders = self.having(longest)
        self.parts = {n: part for n, part in self.parts.items() if part < longest}
        return self.cut(longest)

    def cut(self, length: int) -> bytes:
        """Remove and return the blocks after the beginning, and the node if none is left."""
        gone = self.data[length:]
        if length:
            self.data = self.data[:length]
        else:
            del self.parent.children[gone[:WIDTH]]
        return gone

    def below(self, number: int) -> "Iterator[Node]":
        """Yield all nodes after this one that a cache has, or a part of; parents come first."""
        stack = [*self.children.values()]
        while stack:
            node = stack.pop()
            if number in node.used:
                yield node
                stack.extend(node.children.values())


Path = tuple[list[tuple[Node, int]], int]
"""What :meth:`Node.path` returns."""


def _append(found: list[Match], length: int, caches: int) -> None:
    caches &= found[-1][1]
    if caches == found[-1][1]:
        found[-1] = length, caches
    elif caches:
        found.append((length, caches))


def _common(first: bytes, second: bytes) -> int:
    """Return the length of the blocks with which both begin; O(bytes) in C."""
    length = min(len(first), len(second))
    difference = int.from_bytes(first[:length], "little") ^ int.from_bytes(
        second[:length], "little"
    )
    if not difference:
        return length
    return ((difference & -difference).bit_length() - 1) // (8 * WIDTH) * WIDTH
