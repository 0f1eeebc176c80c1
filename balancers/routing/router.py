"""Finds the route for a request: the most specific one that matches."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar

from balancers._internal.checks import checked_choice, shown
from balancers.errors import InvalidSetting
from balancers.http.fields import Kind, RequestFields, Values
from balancers.http.hosts import read_host
from balancers.http.request import Request
from balancers.http.targets import DEFAULT_RULES, PathRules, compared, has_parameter, read_target
from balancers.routing._route_tree import RouteTree
from balancers.routing.route import Rank, Route

__all__ = ["Match", "Router"]

T_co = TypeVar("T_co", covariant=True)

Precedence = Literal["specific", "gateway"]

_RANKS: dict[Precedence, Callable[[Route[Any]], Rank]] = {
    "specific": lambda route: route.rank,
    "gateway": lambda route: route.gateway_rank,
}
_UNNAMED = " "
"""A text that no route can contain as a label of its host, a segment or a method."""


class Match(NamedTuple, Generic[T_co]):
    """The result of matching a request: the route and its value, or why no route matches.

    A match is true in a boolean context if a route matches.
    """

    route: Route[T_co] | None
    value: T_co | None
    captures: dict[str, str]
    """The decoded text of each capture by its name.  The text may contain any character.  For
    example, ``%3F`` in the path becomes ``?``."""
    path: str
    """The normalised path that was matched.  Send this path to the backend, so that the backend
    uses the same path as the router.  It is empty if the path is refused."""
    reason: str
    """Why no route matches.  It is empty if a route matches.  If not, it is ``no route``,
    ``bad host``, or the reason why the path is refused."""
    why: str
    """A description for logs.  If a route matches, it contains all conditions of the route.  If
    not, it says why no route matches.  It contains no value of a cookie, and no value of a header
    or query parameter whose name contains a word such as ``auth``, ``key`` or ``token``."""
    allowed: tuple[str, ...] = ()
    """The methods of the routes that match the host and the path.  It is empty unless all of these
    routes have other methods than the request."""

    def __bool__(self) -> bool:
        return self.route is not None

    def __repr__(self) -> str:
        """Return a text without the values that ``why`` leaves out."""
        return f"<Match: {self.value!r}, path {self.path!r}, {self.why}>"


class Router(Generic[T_co]):
    """Finds the most specific route that matches a request.

    A router is immutable.  Its routes are sorted by :attr:`Route.rank`, the most specific first.
    With ``precedence="gateway"``, they are sorted by :attr:`Route.gateway_rank`, which is the order
    of the Kubernetes Gateway API.  Routes of equal rank stay in the order in which they were given.
    The rank depends only on the route, so a change of one route never changes the order of two
    other routes.  The router does not look at backends.  If all backends of the matched pool are
    down, no other route is tried.

    ``path_rules`` are the rules by which the path of a request is parsed, see
    :class:`~balancers.http.PathRules`.

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

    Raises InvalidSetting for a route that no request can reach, because each request that the route
    matches is also matched by an earlier route.  The message contains these earlier routes.  Raises
    InvalidSetting for a route whose path contains a path parameter, unless the rules keep
    parameters.  Raises TypeError for an object that is not a route.

    ``match`` parses the request and reads the segments of its path.  The routes for this path are
    grouped by the names in their conditions on headers, cookies and query.  A group with conditions
    is indexed under one of its names.  ``match`` skips a group if the request does not have this
    name.  For any other group it does one look-up.  Its cost does not depend on the number of
    routes.  Only regular expressions are tried one by one: those for the path on each request to
    their host that no earlier route matches, and those for a value on each request that has its
    name.  With ``precedence="gateway"``, ``match`` looks at all routes for the path and not only at
    the most specific ones.  The constructor sorts the n routes and does at least n such matches.
    """

    def __init__(
        self,
        routes: Iterable[Route[T_co]],
        *,
        path_rules: PathRules = DEFAULT_RULES,
        precedence: Precedence = "specific",
    ) -> None:
        given = list(routes)
        for route in given:
            if not isinstance(route, Route):
                raise TypeError(f"routes must be Route objects, not {shown(route)}")
        if not isinstance(path_rules, PathRules):
            raise TypeError(f"path_rules must be PathRules, not {shown(path_rules)}")
        checked_choice("precedence", precedence, ("specific", "gateway"))
        self._path_rules = path_rules
        self._precedence: Precedence = precedence
        self._tree = RouteTree(is_sorted=precedence == "specific")
        self._routes = sorted(given, key=_RANKS[precedence])
        for position, route in enumerate(self._routes):
            self._tree.add(position, route)
        for position in range(len(self._routes)):
            self._check_reachable(position)

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route[T_co]]:
        return iter(self._routes)

    def match(self, request: Request) -> Match[T_co]:
        """Return a match with the first route whose conditions all hold.

        If no route matches, the match says why.  If the host and the path match but the method does
        not, the match also contains the allowed methods.  A target in absolute form contains a
        host, which replaces ``request.host``.  No request raises an error.

        The usual cost is O(characters of the request), whatever the number of routes without
        regular expressions.  If the table has both a capture and a literal for each segment, the
        cost is up to 2 to the power of the number of segments.
        """
        target = read_target(request.target, self._path_rules)
        if target.reason:
            why = f"the path is refused: {target.reason}"
            return Match(None, None, {}, "", target.reason, why)
        host = read_host(target.host or request.host)
        if host is None:
            without_user = (target.host or request.host).rpartition("@")[2]
            why = f"the host is refused: {without_user!r}"
            return Match(None, None, {}, target.path, "bad host", why)
        path = compared(target.path)
        segments = path[1:].split("/")
        fields = RequestFields(request, target.query)
        position = self._tree.find(host, segments, path, fields)
        if position is None:
            return self._no_match(host, target.path, fields)
        route = self._routes[position]
        return Match(
            route, route.value, route.captures(segments), target.path, "", route.conditions
        )

    def _no_match(self, host: str, path: str, fields: RequestFields) -> Match[T_co]:
        """Return a match without a route that says why the nearest route does not match.

        The nearest route is the first route that matches the host, the path and the method.  If
        there is no such route, it is the first route that matches the host and the path.
        """
        leaves = self._tree.leaves(host, compared(path))
        nearest = [first for leaf in leaves if (first := leaf.nearest(fields.method))]
        if nearest:
            _, group = min(nearest, key=lambda first: first[0])
            return Match(None, None, {}, path, "no route", group.mismatch(fields))
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

        Only minimal requests are tried.  A minimal request meets the conditions of this route.
        Everything else in it is a value that no route contains.  There is one minimal request for
        each method of the route and for each length and form of the path.

        This is enough.  No condition requires that something is absent, so all requests that this
        route matches contain what the minimal request contains.  A value that no route contains is
        matched only by a condition that accepts any value.  So if an earlier route matches the
        minimal request, it also matches all of these requests with the same form of the path.

        A regular expression is compared only with equal ones, and with values that a condition
        requires.  So a route that it hides in another way is not found.
        """
        route = self._routes[position]
        if self._path_rules.parameters != "keep" and any(map(has_parameter, route.literals)):
            raise InvalidSetting(
                f"{shown(route)} is never reached, because its path has a parameter: "
                "use PathRules(parameters='keep')"
            )
        earlier: dict[int, None] = {}
        for found in self._sample_matches(route):
            if found is None or found == position:
                return
            earlier[found] = None
        first = " and ".join(shown(self._routes[found]) for found in earlier)
        raise InvalidSetting(f"{shown(route)} is never reached behind {first}")

    def _sample_matches(self, route: Route[Any]) -> Iterator[int | None]:
        """Yield the position of the first route that matches each minimal request of a route."""
        host = (_UNNAMED if route.host is None else route.host).replace("*", _UNNAMED)
        # no capture matches an empty segment
        middle = "" if self._path_rules.repeated_slashes == "keep" else _UNNAMED
        for method in route.methods or (_UNNAMED,):
            fields = RequestFields(Request(method), "", _required_values(route))
            if isinstance(route.path, re.Pattern):
                yield self._tree.leaf_of(route.host, route.path).find(fields)
                continue
            for segments in _sample_paths(route, self._tree.depth + 1, middle):
                yield self._tree.find(host, segments, None, fields)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[partial[Self], tuple[list[Route[T_co]]]]:
        make = partial(type(self), path_rules=self._path_rules, precedence=self._precedence)
        return make, (self._routes,)

    def __repr__(self) -> str:
        return f"<Router: {len(self._routes)} routes>"


def _sample_paths(route: Route[Any], longest: int, middle: str) -> Iterator[list[str]]:
    """Yield one path for each length and form that a route matches, the longest first.

    A path of each length has two forms: the last segment is empty or not empty.  ``middle`` is each
    segment between those of the route and the last one.
    """
    segments = [_UNNAMED if segment is None else segment for segment in route.segments]
    if route.ending == "end":
        yield segments
        return
    for more in range(longest - len(segments), 0, -1):
        between = [middle] * (more - 1)
        yield [*segments, *between, _UNNAMED]
        yield [*segments, *between, ""]
    if route.ending == "prefix" and segments:
        yield segments


def _required_values(route: Route[Any]) -> dict[Kind, Values]:
    """Return the header, cookie and query values that a route requires.

    If a condition accepts any value, the value is None, which equals no value of a condition.
    """
    required: dict[Kind, Values] = {"header": {}, "cookie": {}, "query": {}}
    for check in route.checks:
        required[check.kind][check.name] = [check.value]
    return required
