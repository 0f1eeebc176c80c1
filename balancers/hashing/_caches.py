"""Remembers which blocks of prompts are in the caches of engines."""

from collections import OrderedDict
from copy import copy
from typing import Any, Self

from balancers.hashing._matches import WIDTH, Match
from balancers.hashing._prefix_tree import Node, Path

__all__ = ["Caches"]

_State = tuple[
    tuple[int, int, dict[int, int]],
    list[tuple[int, bytes, int, dict[int, int], dict[int, int]]],
    dict[int, list[tuple[int, int]]],
]


class Caches:
    """A model of several caches, each with the ``capacity`` blocks that were used most recently.

    A cache has a number, and a set of caches is an int in which the bits of these numbers are 1.  A
    prompt is bytes, 8 for each block.  All prompts are in one tree, so that one search finds the
    matches of all caches, and a node is the unit of work: a new prompt is one new node.

    A cache treats the last block of a prompt as the one that was used first.  Then ends are evicted
    before their beginnings, and a cache that has a block has all blocks before it.

    Each use has a time, and each node has the time of its last use.  Of one use, the nodes that
    were not used later are a path, from the top to the bottom.  Only its bottom is in the order of
    evictions.  When it is evicted, its parent takes its place if it has the same time.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity * WIDTH
        self._root = Node()
        self._time = 0
        self._sizes: dict[int, int] = {}
        """The number of bytes of each cache."""
        self._bottoms: dict[int, OrderedDict[int, Node]] = {}
        """For each cache and each time of a use, the bottom of what was not used later."""
        self._key: bytes | None = None
        self._found: Path = [], 0
        """The path of this key, if it is not None."""
        self._places: dict[int, Node] | None = None
        """The node of each block.  Only events of caches need it, so the first one makes it."""

    def add(self, number: int) -> None:
        """Add an empty cache; O(1)."""
        self._sizes[number], self._bottoms[number] = 0, OrderedDict()

    def discard(self, number: int) -> None:
        """Remove a cache; O(its nodes)."""
        self._evict(number, self._sizes[number])
        del self._sizes[number], self._bottoms[number]

    def clear(self, number: int) -> None:
        """Empty a cache; O(its nodes)."""
        self._evict(number, self._sizes[number])

    def matches(self, key: bytes, among: int) -> list[Match]:
        """Return the different lengths of matches of the caches in the set ``among``.

        The first one is for all of them.  Each longer one is for fewer caches; O(nodes).
        """
        found = [(0, among)]
        start, most = 0, among
        path, _ = self._path(key)
        for node, end in path:
            if node.parts:
                node.extend(found, start, end)
                most = found[-1][1]
            else:
                here = node.holders & most
                if here == most:
                    found[-1] = end, most
                elif here:
                    found.append((end, here))
                    most = here
                else:
                    break
            start = end
        return found

    def only_holder(self, key: bytes, among: int) -> int:
        """Return the number of the only cache that has a whole prompt, or -1; O(nodes)."""
        path, part = self._path(key)
        if not path or path[-1][1] < len(key):
            return -1
        node, _ = path[-1]
        found = node.having(part or len(node.data)) if node.parts else node.holders
        found &= among
        return -1 if found & (found - 1) else found.bit_length() - 1

    def match(self, number: int, key: bytes) -> int:
        """Return how much of a prompt a cache has; O(nodes)."""
        found = 0
        path, _ = self._path(key)
        for node, end in path:
            found = min(end, found + node.amount(number))
            if found < end:
                break
        return found

    def _path(self, key: bytes) -> Path:
        """Return the path of a prompt.  That of the last prompt is kept until a node changes."""
        if key is not self._key:
            self._key, self._found = key, self._root.path(key)
        return self._found

    def use(self, number: int, key: bytes) -> int:
        """Put the blocks of a prompt into a cache, and evict blocks beyond its capacity.

        Return how much of the prompt the cache had; O(nodes), O(bytes) in C, and O(1) for each node
        that is evicted.
        """
        if not key:
            return 0
        path, part = self._path(key)
        self._key = None
        if part:
            path[-1] = self._split(path[-1][0], part), path[-1][1]
        bottoms = self._bottoms[number]
        time = self._time = self._time + 1
        node, place, found = self._root, 0, 0
        for node, place in path:
            used = node.used
            last = used.get(number, 0)
            used[number] = time
            if bottoms.get(last) is node:
                del bottoms[last]
            if last and number not in node.parts:  # the bits of many caches take more time
                found = place
            else:
                found += node.parts.pop(number, 0)
                node.holders |= 1 << number
        if place < len(key):
            node = self._insert(number, node, key[place:], time)
        bottoms[time] = node
        if found < len(key):
            size = self._sizes[number] = self._sizes[number] + len(key) - found
            if size > self._capacity:
                self._evict(number, size - self._capacity)
        return found

    def _insert(self, number: int, node: Node, data: bytes, time: int) -> Node:
        """Insert blocks after a node, and return their node."""
        if node.holders == 1 << number and not node.children:
            node.data += data
        else:
            node = node.append(data)
            node.holders, node.used[number] = 1 << number, time
        if self._places is not None:
            self._places.update(dict.fromkeys(_ids(data), node))
        return node

    def _split(self, node: Node, length: int) -> Node:
        """Make a node of its own of the beginning of a node, and return it."""
        head = node.split(length)
        if len(head.used) > len(node.used):
            for number in head.used.keys() - node.used.keys():
                self._bottoms[number][head.used[number]] = head
        if self._places is not None:
            self._places.update(dict.fromkeys(_ids(head.data), head))
        return head

    def _evict(self, number: int, excess: int) -> None:
        """Remove the bytes of a cache that were used first; O(nodes that are removed)."""
        self._key = None
        self._sizes[number] -= excess
        bottoms = self._bottoms[number]
        while excess > 0:
            node = next(iter(bottoms.values()))
            amount = node.amount(number)
            self._keep(number, node, max(0, amount - excess))
            excess -= amount

    def _keep(self, number: int, node: Node, length: int) -> None:
        """Remove the end of a node from a cache, which has none of its children."""
        if not length:
            time, parent = node.used.pop(number), node.parent
            if parent.used.get(number) == time:
                self._bottoms[number][time] = parent
            else:
                del self._bottoms[number][time]
        if node.holders == 1 << number and not node.parts:
            gone = node.cut(length)
        else:
            gone = node.keep(number, length)
        if self._places is not None:
            for block in _ids(gone):
                if self._places.get(block) is node:
                    del self._places[block]

    def report(
        self, number: int, stored: bytes, after: bytes, removed: bytes, cleared: bool
    ) -> None:
        """Change a cache as its engine says; see ``PrefixAffinity.observe``."""
        if cleared:
            self.clear(number)
        if removed:
            self.forget(number, removed)
        before = self.prefix(number, after) if after else b""
        if stored and (before or not after):
            self.use(number, before + stored)

    def prefix(self, number: int, block: bytes) -> bytes:
        """Return the blocks up to ``block``, or nothing if the cache does not have it; O(bytes)."""
        node, place = self._find(number, block)
        if node is None:
            return b""
        found = [node.data[: place + WIDTH]]
        while (node := node.parent).data:
            found.append(node.data)
        return b"".join(reversed(found))

    def forget(self, number: int, blocks: bytes) -> None:
        """Remove blocks from a cache, and all blocks that come after them.

        For each block that the cache has: O(nodes after it), and O(bytes of its node) in C.
        """
        self._key = None
        for start in range(0, len(blocks), WIDTH):
            node, place = self._find(number, blocks[start : start + WIDTH])
            if node is None:
                continue
            for each in reversed([*node.below(number)]):
                self._sizes[number] -= each.amount(number)
                self._keep(number, each, 0)
            self._sizes[number] -= node.amount(number) - place
            self._keep(number, node, place)

    def _find(self, number: int, block: bytes) -> tuple[Node | None, int]:
        """Return the node with a block that a cache has, and the place of the block in it."""
        if self._places is None:
            self._places = {each: node for node in self._nodes() for each in _ids(node.data)}
        [wanted] = _ids(block)
        node = self._places.get(wanted)
        if node is None:
            return None, 0
        place = node.data.find(block)
        while place % WIDTH:
            place = node.data.find(block, place + 1)
        return (node, place) if place < node.amount(number) else (None, 0)

    def _nodes(self) -> list[Node]:
        """Return all nodes but the root; parents come first."""
        nodes = [self._root]
        for node in nodes:
            nodes.extend(node.children.values())
        return nodes[1:]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy(self)

    def __getstate__(self) -> _State:
        """Return a flat state.  A tree could be too deep for recursion."""
        nodes = [self._root, *self._nodes()]
        numbers = {node: number for number, node in enumerate(nodes)}
        rows = [
            (numbers[node.parent], node.data, node.holders, node.parts.copy(), node.used.copy())
            for node in nodes[1:]
        ]
        bottoms = {
            number: [(time, numbers[node]) for time, node in each.items()]
            for number, each in self._bottoms.items()
        }
        return (self._capacity, self._time, self._sizes.copy()), rows, bottoms

    def __setstate__(self, state: _State) -> None:
        (self._capacity, self._time, self._sizes), rows, bottoms = state
        self._root = Node()
        nodes = [self._root]
        for parent, data, holders, parts, used in rows:
            node = nodes[parent].append(data)
            node.holders, node.parts, node.used = holders, parts, used
            nodes.append(node)
        self._bottoms = {
            number: OrderedDict((time, nodes[place]) for time, place in each)
            for number, each in bottoms.items()
        }
        self._key, self._found, self._places = None, ([], 0), None


def _ids(data: bytes) -> list[int]:
    """Return the blocks as ints, which take less memory as keys of a dict."""
    return memoryview(data).cast("Q").tolist()
