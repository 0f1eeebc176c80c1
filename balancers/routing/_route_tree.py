"""Indexes routes, so that a request is not compared with every route.

Routes are indexed by host, by the segments of the path, and by the names of the conditions.
"""

import re
from collections.abc import Iterator
from typing import Any

from balancers.http.fields import RequestFields
from balancers.routing._conditions import Ending
from balancers.routing._route_group import Leaf
from balancers.routing.route import Route

__all__ = ["RouteTree"]


class _Node:
    """Holds the routes that end at one position of the tree, and the nodes of the next segment."""

    __slots__ = ("capture", "leaves", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.capture: _Node | None = None
        self.leaves: dict[Ending, Leaf] = {}


class _Host:
    """Holds the routes for one host: by the segments of their path, or by its pattern."""

    __slots__ = ("patterns", "root")

    def __init__(self) -> None:
        self.root = _Node()
        self.patterns: dict[re.Pattern[str], Leaf] = {}

    def leaves(self, segments: list[str]) -> Iterator[Leaf]:
        """Yield the leaves that match a path by its segments, the most specific first."""
        stack: list[tuple[_Node, int] | Leaf] = [(self.root, 0)]
        while stack:
            top = stack.pop()
            if isinstance(top, Leaf):
                yield top
            else:
                stack += _successors(*top, segments)


class RouteTree:
    """Finds the first matching route for a host and a path, and the leaves that match them.

    There is one tree of path segments for each host and for each host wildcard.  ``is_sorted`` says
    whether the positions of the routes have the order in which the tree is searched.  The routes
    with a pattern for the path are never in this order.
    """

    def __init__(self, is_sorted: bool) -> None:
        self._hosts: dict[str | None, _Host] = {}
        self._is_sorted = is_sorted
        self.depth = 0

    def add(self, position: int, route: Route[Any]) -> None:
        """Add a route that comes after all routes of the tree; O(segments)."""
        entry = self._hosts.setdefault(route.host, _Host())
        if isinstance(route.path, re.Pattern):
            leaf = entry.patterns.setdefault(route.path, Leaf(position))
        else:
            node = entry.root
            for segment in route.segments:
                if segment is not None:
                    node = node.literals.setdefault(segment, _Node())
                else:
                    node.capture = node = node.capture or _Node()
            leaf = node.leaves.setdefault(route.ending, Leaf(position))
        leaf.add(position, route)
        self.depth = max(self.depth, len(route.segments))

    def find(
        self, host: str, segments: list[str], path: str | None, fields: RequestFields
    ) -> int | None:
        """Return the position of the first route that matches, or None.

        ``path`` consists of the segments.  If it is None, no pattern for a path matches.

        The usual cost is O(labels + segments).  If the tree has both a capture and a literal for
        each segment, the cost is up to 2 to the power of the number of segments.  To this, all
        patterns of the matching hosts are added that may come before the route that is found.
        """
        for name in self.hosts(host):
            entry = self._hosts[name]
            best = None
            for leaf in entry.leaves(segments):
                best = _earlier(leaf, fields, best)
                if best is not None and self._is_sorted:
                    break
            if path is not None and entry.patterns:
                for pattern, leaf in entry.patterns.items():
                    if (best is None or leaf.first < best) and pattern.fullmatch(path):
                        best = _earlier(leaf, fields, best)
            if best is not None:
                return best
        return None

    def leaf_of(self, host: str | None, pattern: re.Pattern[str]) -> Leaf:
        """Return the leaf of the routes for a host that have this pattern for their path."""
        return self._hosts[host].patterns[pattern]

    def leaves(self, host: str, path: str) -> list[Leaf]:
        """Return all leaves that match a host and a path, in the order of their first routes."""
        found: list[Leaf] = []
        segments = path[1:].split("/")
        for name in self.hosts(host):
            entry = self._hosts[name]
            found += entry.leaves(segments)
            found += [leaf for text, leaf in entry.patterns.items() if text.fullmatch(path)]
        return sorted(found, key=lambda leaf: leaf.first)

    def hosts(self, host: str) -> Iterator[str | None]:
        """Yield the entries that match a host.

        The first is the exact name.  Then come the wildcards, the longest first.  None comes last
        and stands for any host.  Entries without a route are not yielded.
        """
        if host in self._hosts:
            yield host
        dot = host.find(".")
        while dot >= 0:
            if (wildcard := "*" + host[dot:]) in self._hosts:
                yield wildcard
            dot = host.find(".", dot + 1)
        if None in self._hosts:
            yield None


def _earlier(leaf: Leaf, fields: RequestFields, best: int | None) -> int | None:
    """Return the position of the first matching route of a leaf, or ``best`` if it is lower."""
    if best is not None and best < leaf.first:
        return best
    found = leaf.find(fields)
    return best if found is None or (best is not None and best < found) else found


def _successors(node: _Node, at: int, segments: list[str]) -> Iterator[tuple[_Node, int] | Leaf]:
    """Yield the leaves of a node that match, and the nodes for the next segment of the path.

    ``at`` is the index of the next segment.  The most specific result is yielded last.
    """
    if "prefix" in node.leaves:
        yield node.leaves["prefix"]
    if at == len(segments):
        if "end" in node.leaves:
            yield node.leaves["end"]
        return
    if "rest" in node.leaves:
        yield node.leaves["rest"]
    if node.capture is not None and segments[at]:
        yield node.capture, at + 1
    if segments[at] in node.literals:
        yield node.literals[segments[at]], at + 1
