"""From a request to the value of the most specific route that takes it."""

from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, Self, TypeVar

from balancers.errors import InvalidSetting
from balancers.http.fields import Facts
from balancers.http.hosts import read_host
from balancers.http.request import Request
from balancers.http.targets import read_target
from balancers.routing._route_tree import RouteTree
from balancers.routing.route import Route

__all__ = ["Match", "Router"]

T_co = TypeVar("T_co", covariant=True)

_OTHER = " "
"""A host's label, a segment or a method that no route names."""


class Match(NamedTuple, Generic[T_co]):
    """The route of a request and its value, or why there is none; true when there is one."""

    route: Route[T_co] | None
    value: T_co | None
    captures: dict[str, str]
    """What the path's captures stand for, decoded: a ``?`` in it was ``%3F``."""
    path: str
    """The path that was matched: what to send on, so that no backend reads another."""
    reason: str
    """Empty when matched; ``no route``, ``bad host``, or why the path was refused."""
    why: str
    """In words: all that held, or the first that failed in what came nearest."""
    allowed: tuple[str, ...] = ()
    """The methods that some route of this host and path has, when there is none for this one."""

    def __bool__(self) -> bool:
        return self.route is not None


class Router(Generic[T_co]):
    """A table of routes, the most specific first, ties in the order given; it never changes.

    The order is :attr:`Route.rank`, which is a route's own: another route, edited, moves no two
    others.  A match is final: what to do when its backends are down is its pool's business.

    >>> router = Router([
    ...     Route("web"),
    ...     Route("api", prefix="/api"),
    ...     Route("user", path="/api/users/{id}", methods=["GET"]),
    ... ])
    >>> found = router.match(Request("GET", "/api/x/../users/J%C3%BCrgen?full"))
    >>> found.value, found.captures, found.path
    ('user', {'id': 'Jürgen'}, '/api/users/J%C3%BCrgen')
    >>> router.match(Request("DELETE", "/api/users/7")).value
    'api'
    >>> router.match(Request("GET", "/api/..%2f..%2fetc")).reason
    'encoded slash'

    Raises InvalidSetting for a route that no request gets to, naming those that come first: what it
    matches, one of them matches, or one or the other; TypeError for anything but routes.
    Cost: ``match`` that of reading the request and walking its path, and one look for each set of
    names of headers, cookies and query that routes of this path ask for together with a name which
    the request has: not of the number of routes.  Construction: a sort, and n such matches.
    """

    def __init__(self, routes: Iterable[Route[T_co]]) -> None:
        given = list(routes)
        for route in given:
            if not isinstance(route, Route):
                raise TypeError(f"a router has routes, not {route!r}")
        self._routes = sorted(given, key=lambda route: route.rank)
        self._tree = RouteTree()
        for position, route in enumerate(self._routes):
            self._tree.add(position, route)
        for position in range(len(self._routes)):
            self._check_reached(position)

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route[T_co]]:
        return iter(self._routes)

    def match(self, request: Request) -> Match[T_co]:
        """Find the first route whose conditions all hold; nothing that a client sends is an error.

        O(characters of the request) as a rule, whatever the number of routes; 2 to the number of
        segments at worst, where the table has a capture beside a literal at each.  A miss by method
        also lists those there are.  The host of an absolute-form target counts instead of
        ``request.host``.
        """
        target = read_target(request.target)
        if target.reason:
            why = f"the path is refused: {target.reason}"
            return Match(None, None, {}, "", target.reason, why)
        host = read_host(target.host or request.host)
        if host is None:
            why = f"the host is refused: {target.host or request.host!r}"
            return Match(None, None, {}, target.path, "bad host", why)
        segments = target.path[1:].split("/")
        facts = Facts(request, target.query)
        position = self._first(host, segments, facts)
        if position is None:
            return self._missed(host, target.path, facts)
        route = self._routes[position]
        return Match(
            route, route.value, route.captures(segments), target.path, "", route.conditions
        )

    def _first(self, host: str, segments: list[str], facts: Facts) -> int | None:
        for leaf in self._tree.leaves(host, segments):
            position = leaf.find(facts)
            if position is not None:
                return position
        return None

    def _missed(self, host: str, path: str, facts: Facts) -> Match[T_co]:
        """Say what came nearest: the first route that takes host and path, and method if any."""
        leaves = list(self._tree.leaves(host, path[1:].split("/")))
        for leaf in leaves:
            near = leaf.firsts.get(facts.method) or leaf.firsts.get(None)
            if near:
                return Match(None, None, {}, path, "no route", near.failure(facts))
        allowed = {method for leaf in leaves for method in leaf.firsts if method}
        if leaves:
            why = next(iter(leaves[0].shapes.values())).failure(facts)
        elif any(True for _ in self._tree.hosts(host)):
            why = f"no route for the path {path}"
        else:
            why = f"no route for the host {host!r}"
        return Match(None, None, {}, path, "no route", why, tuple(sorted(allowed)))

    def _check_reached(self, position: int) -> None:
        """Raise InvalidSetting unless some request gets to this route.

        It is enough to try requests that say nothing but what the route asks for, and else what no
        route names: one for each of its methods, and for each length of what follows a prefix.
        Conditions only ask for what is there, so whoever takes such a request takes every one like
        it, and says more.
        """
        route = self._routes[position]
        host = route.host if route.host is not None else _OTHER
        host = host.replace("*", _OTHER)
        earlier: dict[int, None] = {}
        for method in route.methods or (_OTHER,):
            for segments in _paths(route, self._tree.depth + 1):
                facts = Facts(Request(method), "", _asked(route))
                found = self._first(host, segments, facts)
                if found is None or found == position:
                    return
                earlier[found] = None
        first = " and ".join(repr(self._routes[found]) for found in earlier)
        raise InvalidSetting(f"{route!r} is never reached behind {first}")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[list[Route[T_co]]]]:
        return type(self), (self._routes,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._routes!r})"


def _paths(route: Route[Any], longest: int) -> Iterator[list[str]]:
    """Give a path for each length and form that a route takes, the longest first."""
    segments = [_OTHER if segment is None else segment for segment in route.segments]
    if route.ending == "end":
        yield segments
        return
    for more in range(longest - len(segments), 0, -1):
        yield segments + [_OTHER] * more
        yield segments + [_OTHER] * (more - 1) + [""]
    if route.ending == "prefix" and segments:
        yield segments


def _asked(route: Route[Any]) -> dict[Any, dict[str, list[str | None]]]:
    """Give the values that a route asks for; None, which equals nothing, where any will do."""
    asked: dict[Any, dict[str, list[str | None]]] = {"header": {}, "cookie": {}, "query": {}}
    for check in route.checks:
        asked[check.kind][check.name] = [check.value]
    return asked
