"""The index of a table of routes: by host, by segment of the path, by the values asked for."""

from collections.abc import Iterator
from typing import Any

from balancers.http.fields import Facts, Kind
from balancers.routing.route import Ending, Route

__all__ = ["Leaf", "RouteTree", "Shape"]


class Shape:
    """Routes that ask for values of the same names, by method, None for any, and by the values."""

    def __init__(self, route: Route[Any]) -> None:
        self.checks: list[tuple[Kind, str, bool]] = [
            (check.kind, check.name, check.value is not None) for check in route.checks
        ]
        self.methods: set[str | None] = set()
        self.positions: dict[tuple[str | None, ...], int] = {}

    def add(self, position: int, route: Route[Any]) -> None:
        """Enter a route after all that come before it; of two that ask the same the first stays."""
        values = [check.value for check in route.checks if check.value is not None]
        for method in route.methods or (None,):
            self.methods.add(method)
            self.positions.setdefault((method, *values), position)

    def find(self, facts: Facts) -> int | None:
        """Give the position of the first route that matches; O(conditions).

        A route that names the method ranks before one that takes any.
        """
        asked: list[str | None] = []
        for kind, name, valued in self.checks:
            values = facts.values(kind, name)
            if not values or (valued and len(values) > 1):
                return None
            if valued:
                asked.append(values[0])
        named = self.positions.get((facts.method, *asked))
        return self.positions.get((None, *asked)) if named is None else named

    def takes_method(self, method: str) -> bool:
        """Whether some route of this shape has this method, or any."""
        return method in self.methods or None in self.methods

    def failure(self, facts: Facts) -> str:
        """Say what no route of this shape finds in a request that none of them matches."""
        if not self.takes_method(facts.method):
            return f"method is not {' or '.join(self.named_methods)} but {facts.method}"
        asked: list[str] = []
        for kind, name, valued in self.checks:
            values = facts.values(kind, name)
            if not values:
                return f"{kind} {name} is absent"
            if valued and len(values) > 1:
                return f"{kind} {name} is repeated"
            asked += [f"{kind} {name} {values[0]!r}"] if valued else []
        return f"no route for {facts.method} asks for {', '.join(asked)}"

    @property
    def named_methods(self) -> list[str]:
        """The methods that routes of this shape name."""
        return sorted(method for method in self.methods if method is not None)


class Leaf:
    """Routes with the same host and path."""

    def __init__(self) -> None:
        self.shapes: dict[object, Shape] = {}
        self.firsts: dict[str | None, Shape] = {}
        """By method, None for any: the first shape with a route for it."""
        self._free: list[Shape] = []  # those without conditions
        self._asking: dict[Kind, dict[str, list[Shape]]] = {}  # the others, by one of their names

    def add(self, position: int, route: Route[Any]) -> None:
        """Enter a route after all that come before it; O(conditions)."""
        names = tuple((check.kind, check.name, check.value is None) for check in route.checks)
        shape = self.shapes.get(names)
        if shape is None:
            shape = self.shapes[names] = Shape(route)
            places = [
                self._asking.setdefault(check.kind, {}).setdefault(check.name, [])
                for check in route.checks
            ]
            min(places, key=len, default=self._free).append(shape)
        shape.add(position, route)
        for method in route.methods or (None,):
            self.firsts.setdefault(method, shape)

    def find(self, facts: Facts) -> int | None:
        """Give the first position that matches; O(shapes that ask for a name of the request)."""
        best: int | None = None
        for shape in self._candidates(facts):
            found = shape.find(facts)
            if found is not None and (best is None or found < best):
                best = found
        return best

    def _candidates(self, facts: Facts) -> Iterator[Shape]:
        yield from self._free
        for kind, asking in self._asking.items():
            for name in asking.keys() & facts.named(kind).keys():
                yield from asking[name]


class _Node:
    """What may follow some segments."""

    __slots__ = ("capture", "leaves", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.capture: _Node | None = None
        self.leaves: dict[Ending, Leaf] = {}


class RouteTree:
    """Leaves by host and path: a tree of segments for each host and wildcard."""

    def __init__(self) -> None:
        self._hosts: dict[str | None, _Node] = {}
        self.depth = 0

    def add(self, position: int, route: Route[Any]) -> None:
        """Enter a route after all that come before it; O(segments)."""
        node = self._hosts.setdefault(route.host, _Node())
        for segment in route.segments:
            if segment is not None:
                node = node.literals.setdefault(segment, _Node())
            else:
                node.capture = node = node.capture or _Node()
        node.leaves.setdefault(route.ending, Leaf()).add(position, route)
        self.depth = max(self.depth, len(route.segments))

    def leaves(self, host: str, segments: list[str]) -> Iterator[Leaf]:
        """Give the leaves that take a host and a path, the most specific first.

        O(labels + segments), and 2 to the number of segments at worst, where captures stand beside
        literals at each.
        """
        for name in self.hosts(host):
            stack: list[tuple[_Node, int] | Leaf] = [(self._hosts[name], 0)]
            while stack:
                top = stack.pop()
                if isinstance(top, Leaf):
                    yield top
                else:
                    stack += _onwards(*top, segments)

    def hosts(self, host: str) -> Iterator[str | None]:
        """Give what is known of a host: itself, wildcards from the longest, any."""
        if host in self._hosts:
            yield host
        dot = host.find(".")
        while dot >= 0:
            if (wildcard := "*" + host[dot:]) in self._hosts:
                yield wildcard
            dot = host.find(".", dot + 1)
        if None in self._hosts:
            yield None


def _onwards(node: _Node, at: int, segments: list[str]) -> Iterator[tuple[_Node, int] | Leaf]:
    """Give where a path leads from a node, the most specific last."""
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
