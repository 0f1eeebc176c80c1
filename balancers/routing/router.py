"""Finds the most specific route that matches a request."""

from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, Self, TypeVar

from balancers.errors import InvalidSetting
from balancers.http.fields import Kind, RequestFields, Values
from balancers.http.hosts import read_host
from balancers.http.request import Request
from balancers.http.targets import read_target
from balancers.routing._route_tree import RouteTree
from balancers.routing.route import Route

__all__ = ["Match", "Router"]

T_co = TypeVar("T_co", covariant=True)

_UNNAMED = " "
"""A host label, a segment or a method that no route can name."""


class Match(NamedTuple, Generic[T_co]):
    """The route of a request and its value, or why no route matches; true when a route matches."""

    route: Route[T_co] | None
    value: T_co | None
    captures: dict[str, str]
    """The text of each capture of the path, decoded: a ``?`` in it was ``%3F``."""
    path: str
    """The path that was matched.  Send it on, so that the backend sees the same path."""
    reason: str
    """Empty for a match; otherwise ``no route``, ``bad host``, or why the path is refused."""
    why: str
    """In words: all conditions of the route, or the first that failed in the nearest route."""
    allowed: tuple[str, ...] = ()
    """The methods of the routes for this host and path, when none has the request's method."""

    def __bool__(self) -> bool:
        return self.route is not None


class Router(Generic[T_co]):
    """An immutable table of routes, the most specific first, ties in the order given.

    The order is :attr:`Route.rank`.  The rank depends on the route alone, so changing one route
    never reorders two others.  A match is final: no other route is tried when the backends of the
    matched pool are down.

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

    Raises InvalidSetting for a route that no request can reach, naming the routes that come first
    and together match everything that it matches; TypeError for anything but routes.

    Cost: ``match`` parses the request and walks its path.  It then does one lookup per distinct set
    of header, cookie and query names in the conditions of this path's routes, as far as the set is
    indexed under a name that the request has.  The number of routes does not matter.  Construction
    is a sort and n such matches.
    """

    def __init__(self, routes: Iterable[Route[T_co]]) -> None:
        given = list(routes)
        for route in given:
            if not isinstance(route, Route):
                raise TypeError(f"routes must be Route objects, not {route!r}")
        self._routes = sorted(given, key=lambda route: route.rank)
        self._tree = RouteTree()
        for position, route in enumerate(self._routes):
            self._tree.add(position, route)
        for position in range(len(self._routes)):
            self._check_reachable(position)

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route[T_co]]:
        return iter(self._routes)

    def match(self, request: Request) -> Match[T_co]:
        """Return a match with the first route whose conditions all hold; no request raises.

        Usually O(characters of the request), independent of the number of routes; at worst 2 to the
        power of the number of segments, when the table has both a capture and a literal at each
        segment.  When only the method fails, the match also lists the allowed methods.  The host of
        an absolute-form target replaces ``request.host``.
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
        fields = RequestFields(request, target.query)
        position = self._first(host, segments, fields)
        if position is None:
            return self._no_match(host, target.path, fields)
        route = self._routes[position]
        return Match(
            route, route.value, route.captures(segments), target.path, "", route.conditions
        )

    def _first(self, host: str, segments: list[str], fields: RequestFields) -> int | None:
        for leaf in self._tree.leaves(host, segments):
            position = leaf.find(fields)
            if position is not None:
                return position
        return None

    def _no_match(self, host: str, path: str, fields: RequestFields) -> Match[T_co]:
        """Describe why the nearest route fails.

        That is the first route that matches host and path, and if possible the method.
        """
        leaves = list(self._tree.leaves(host, path[1:].split("/")))
        for leaf in leaves:
            nearest = leaf.first_by_method.get(fields.method) or leaf.first_by_method.get(None)
            if nearest:
                return Match(None, None, {}, path, "no route", nearest.mismatch(fields))
        allowed = {method for leaf in leaves for method in leaf.first_by_method if method}
        if leaves:
            why = next(iter(leaves[0].groups.values())).mismatch(fields)
        elif any(True for _ in self._tree.hosts(host)):
            why = f"no route for the path {path}"
        else:
            why = f"no route for the host {host!r}"
        return Match(None, None, {}, path, "no route", why, tuple(sorted(allowed)))

    def _check_reachable(self, position: int) -> None:
        """Raise InvalidSetting unless at least one request reaches this route.

        It is enough to try minimal requests: they meet the conditions of this route and otherwise
        contain only values that no route names.  There is one per method and per number of segments
        after a prefix.  Conditions only require that something is present, so a route that matches
        a minimal request also matches every request that this one stands for.
        """
        route = self._routes[position]
        host = route.host if route.host is not None else _UNNAMED
        host = host.replace("*", _UNNAMED)
        earlier: dict[int, None] = {}
        for method in route.methods or (_UNNAMED,):
            for segments in _sample_paths(route, self._tree.depth + 1):
                fields = RequestFields(Request(method), "", _required_values(route))
                found = self._first(host, segments, fields)
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
        return f"<Router: {len(self._routes)} routes>"


def _sample_paths(route: Route[Any], longest: int) -> Iterator[list[str]]:
    """Yield a path for each length and form that a route matches, the longest first."""
    segments = [_UNNAMED if segment is None else segment for segment in route.segments]
    if route.ending == "end":
        yield segments
        return
    for more in range(longest - len(segments), 0, -1):
        yield segments + [_UNNAMED] * more
        yield segments + [_UNNAMED] * (more - 1) + [""]
    if route.ending == "prefix" and segments:
        yield segments


def _required_values(route: Route[Any]) -> dict[Kind, Values]:
    """Return the values that a route requires; None, which matches no value, where any will do."""
    required: dict[Kind, Values] = {"header": {}, "cookie": {}, "query": {}}
    for check in route.checks:
        required[check.kind][check.name] = [check.value]
    return required
