"""Indexes routes, so that a request is not compared with every route.

Routes are indexed by host, by the segments of the path, and by the names of the conditions.
"""

from collections.abc import Iterator
from typing import Any

from balancers.http.fields import Kind, RequestFields
from balancers.routing.route import Ending, Route

__all__ = ["Leaf", "RouteGroup", "RouteTree"]


class RouteGroup:
    """Finds the first matching route among routes whose conditions have the same names.

    All routes of a group have the same host and path.  They are indexed by the method and by the
    values that their conditions require.  The method None stands for any method.
    """

    def __init__(self, route: Route[Any]) -> None:
        self.checks: list[tuple[Kind, str, bool]] = [
            (check.kind, check.name, check.value is not None) for check in route.checks
        ]
        self.methods: set[str | None] = set()
        self.positions: dict[tuple[str | None, ...], int] = {}

    def add(self, position: int, route: Route[Any]) -> None:
        """Add a route that comes after all routes of the group.

        If an earlier route has equal conditions, the new route is ignored.
        """
        values = [check.value for check in route.checks if check.value is not None]
        for method in route.methods or (None,):
            self.methods.add(method)
            self.positions.setdefault((method, *values), position)

    def find(self, fields: RequestFields) -> int | None:
        """Return the position of the first route that matches, or None; O(conditions).

        A route that lists the method comes before a route that accepts any method.
        """
        values_sent: list[str | None] = []
        for kind, name, has_value in self.checks:
            values = fields.values(kind, name)
            if not values or (has_value and len(values) > 1):
                return None
            if has_value:
                values_sent.append(values[0])
        named = self.positions.get((fields.method, *values_sent))
        return self.positions.get((None, *values_sent)) if named is None else named

    def accepts_method(self, method: str) -> bool:
        """Return whether at least one route of this group accepts this method."""
        return method in self.methods or None in self.methods

    def mismatch(self, fields: RequestFields) -> str:
        """Return a description of the first condition that fails.

        Call it only for a request that matches no route of this group.
        """
        if not self.accepts_method(fields.method):
            return f"method is not {' or '.join(self.named_methods)} but {fields.method}"
        values_sent: list[str] = []
        for kind, name, has_value in self.checks:
            values = fields.values(kind, name)
            if not values:
                return f"{kind} {name} is absent"
            if has_value and len(values) > 1:
                return f"{kind} {name} is repeated"
            values_sent += [f"{kind} {name} {values[0]!r}"] if has_value else []
        return f"no route for {fields.method} asks for {', '.join(values_sent)}"

    @property
    def named_methods(self) -> list[str]:
        """The methods that are listed by at least one route of this group, in sorted order."""
        return sorted(method for method in self.methods if method is not None)


class Leaf:
    """Finds the first matching route among routes with the same host and path."""

    def __init__(self) -> None:
        self.groups: dict[object, RouteGroup] = {}
        self.first_by_method: dict[str | None, RouteGroup] = {}
        """The first group that has a route for each method.  The method None stands for any
        method."""
        self._unconditional: list[RouteGroup] = []
        # a group with conditions is listed under only one of its condition names: the name that
        # had the fewest groups when the group was added
        self._by_name: dict[Kind, dict[str, list[RouteGroup]]] = {}

    def add(self, position: int, route: Route[Any]) -> None:
        """Add a route that comes after all routes of the leaf; O(conditions)."""
        names = tuple((check.kind, check.name, check.value is None) for check in route.checks)
        group = self.groups.get(names)
        if group is None:
            group = self.groups[names] = RouteGroup(route)
            candidates = [
                self._by_name.setdefault(check.kind, {}).setdefault(check.name, [])
                for check in route.checks
            ]
            min(candidates, key=len, default=self._unconditional).append(group)
        group.add(position, route)
        for method in route.methods or (None,):
            self.first_by_method.setdefault(method, group)

    def find(self, fields: RequestFields) -> int | None:
        """Return the position of the first route that matches, or None.

        O(groups that are listed under a name that the request contains).
        """
        best: int | None = None
        for group in self._candidates(fields):
            found = group.find(fields)
            if found is not None and (best is None or found < best):
                best = found
        return best

    def _candidates(self, fields: RequestFields) -> Iterator[RouteGroup]:
        yield from self._unconditional
        for kind, groups in self._by_name.items():
            for name in groups.keys() & fields.by_name(kind).keys():
                yield from groups[name]


class _Node:
    """Holds the routes that end at one position of the tree, and the nodes of the next segment."""

    __slots__ = ("capture", "leaves", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.capture: _Node | None = None
        self.leaves: dict[Ending, Leaf] = {}


class RouteTree:
    """Finds the leaves for a host and a path.

    There is one tree of path segments for each host and for each host wildcard.
    """

    def __init__(self) -> None:
        self._hosts: dict[str | None, _Node] = {}
        self.depth = 0

    def add(self, position: int, route: Route[Any]) -> None:
        """Add a route that comes after all routes of the tree; O(segments)."""
        node = self._hosts.setdefault(route.host, _Node())
        for segment in route.segments:
            if segment is not None:
                node = node.literals.setdefault(segment, _Node())
            else:
                node.capture = node = node.capture or _Node()
        node.leaves.setdefault(route.ending, Leaf()).add(position, route)
        self.depth = max(self.depth, len(route.segments))

    def leaves(self, host: str, segments: list[str]) -> Iterator[Leaf]:
        """Yield the leaves that match a host and a path, the most specific first.

        The usual cost is O(labels + segments).  If the tree has both a capture and a literal for
        each segment, the cost is up to 2 to the power of the number of segments.
        """
        for name in self.hosts(host):
            stack: list[tuple[_Node, int] | Leaf] = [(self._hosts[name], 0)]
            while stack:
                top = stack.pop()
                if isinstance(top, Leaf):
                    yield top
                else:
                    stack += _successors(*top, segments)

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
