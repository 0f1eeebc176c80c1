"""Tables and requests over a small alphabet, so that they match, and naive routing.

Naive routing tries every route.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import Request
from balancers.routing import Route, Router

__all__ = [
    "Arguments",
    "RequestParts",
    "arguments_of_routes",
    "captures_of",
    "gateway_order",
    "naive",
    "near",
    "request_of",
    "requests",
    "routers",
    "specificity",
    "tables",
]

Arguments = dict[str, Any]
"""The arguments of a route."""
Order = Callable[[Arguments], list[Any]]


@dataclass
class RequestParts:
    """The parts of a request before it is serialised."""

    host: str = "z.example"
    path: str = "/"
    method: str = "GET"
    header: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    cookie: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    query: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def request_of(parts: RequestParts) -> Request:
    query = "&".join(f"{name}={value}" for name, value in parts.query)
    cookie = "; ".join(f"{name}={value}" for name, value in parts.cookie)
    headers = [(name.upper(), value) for name, value in parts.header]
    headers += [("Cookie", cookie)] if cookie else []
    return Request(parts.method, f"{parts.path}?{query}", f"{parts.host}:80", headers)


@cache
def pattern(text: str, is_path: bool) -> re.Pattern[str]:
    text = re.sub(r"\{(\w+)\.\.\.\}", r"(?P<\1>.*)", text)
    text = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", text)
    if not is_path:
        text = text.rstrip("/") + "(?:/.*)?"
    return re.compile(text)


def regular(arguments: Arguments) -> re.Pattern[str]:
    """Return a regular expression for the path or the prefix of a route."""
    path: str | re.Pattern[str] | None = arguments.get("path")
    if path is None:
        return pattern(arguments.get("prefix", "/"), False)
    return pattern(path, True) if isinstance(path, str) else path


def captures_of(arguments: Arguments, parts: RequestParts) -> dict[str, str] | None:
    """Return the captures of a route that matches a request, None when it does not match."""
    host = arguments.get("host", parts.host)
    if parts.host != host and not (host[0] == "*" and parts.host.endswith(host[1:])):
        return None
    found = regular(arguments).fullmatch(parts.path)
    if found is None or (arguments.get("methods") and parts.method not in arguments["methods"]):
        return None
    for kind, pairs in (
        ("headers", parts.header),
        ("cookies", parts.cookie),
        ("query", parts.query),
    ):
        for name, wanted in arguments.get(kind, {}).items():
            values = [value for key, value in pairs if key == name]
            if not values or (wanted is not True and not holds(wanted, values)):
                return None
    groups = found.groupdict().items()
    return {name: unquote(value) for name, value in groups if value is not None}


def holds(wanted: str | re.Pattern[str], values: list[str]) -> bool:
    if isinstance(wanted, str):
        return values == [wanted]
    return len(values) == 1 and wanted.fullmatch(values[0]) is not None


def kind_of_path(arguments: Arguments) -> int:
    """A literal path, a regular expression, a path with captures, or a prefix."""
    path: str | re.Pattern[str] = arguments.get("path", "...")
    if isinstance(path, re.Pattern):
        return 1
    if "..." in path:
        return 3
    return 2 if "{" in path else 0


def kinds_of_segments(arguments: Arguments) -> str:
    """Return one letter for each segment, so that the more specific text comes first."""
    text: str | re.Pattern[str] = arguments.get("path") or arguments.get("prefix", "/")
    if isinstance(text, re.Pattern):
        return ""
    kinds = "".join(
        ""
        if not part and "path" not in arguments
        else "r"
        if "..." in part
        else "c"
        if "{" in part
        else "a"
        for part in text[1:].split("/")
    )
    return kinds + ("" if "path" in arguments else "z")


def specificity(arguments: Arguments) -> list[object]:
    """Return the documented sort key of a route, the most significant part first."""
    host = arguments.get("host", "")
    wild = host.startswith("*")
    hosts = (not host, wild, -host.count(".") if wild else 0)
    conditions = [
        value
        for kind in ("headers", "cookies", "query")
        for value in arguments.get(kind, {}).values()
    ]
    return [
        hosts,
        min(kind_of_path(arguments), 2),
        kinds_of_segments(arguments),
        len(arguments.get("methods", ())) or 99,
        -len(conditions),
        sum(value is True for value in conditions),
    ]


def gateway_order(arguments: Arguments) -> list[object]:
    """Return the sort key of the Gateway API, which counts characters.

    Prefixes have no captures here.
    """
    host, kind = arguments.get("host", ""), kind_of_path(arguments)
    wild = host.startswith("*")
    prefix = arguments.get("prefix") or str(arguments.get("path", "")).partition("{")[0]
    counts = [len(arguments.get(name, ())) for name in ("headers", "cookies", "query")]
    return [
        -len("" if wild else host),
        -len(host),
        kind,
        -len(prefix.rstrip("/")) if kind == 3 else 0,
        kinds_of_segments(arguments),
        len(arguments.get("methods", ())) or 99,
        -counts[0] - counts[1],
        -counts[2],
    ]


def naive(table: list[Arguments], parts: RequestParts, order: Order = specificity) -> int | None:
    """Try every route: return the first one in an order that matches, the first of equals."""
    matching = [
        place for place, arguments in enumerate(table) if captures_of(arguments, parts) is not None
    ]
    return min(matching, key=lambda place: order(table[place]), default=None)


HOSTS = ["a.x", "b.a.x", "*.x", "*.a.x"]
METHODS = [("GET",), ("POST",), ("GET", "POST")]
conditions = st.dictionaries(
    st.sampled_from(["m", "n"]), st.sampled_from(["1", "2", True]), min_size=1, max_size=2
)
SEGMENTS = st.sampled_from(["a", "a", "b", "{}"])


@st.composite
def arguments_of_routes(draw: st.DrawFn, *, most: int = 3) -> Arguments:
    arguments: Arguments = {}
    if draw(st.booleans()):
        arguments["host"] = draw(st.sampled_from(HOSTS))
    parts = [
        part.replace("{}", f"{{p{place}}}")
        for place, part in enumerate(draw(st.lists(SEGMENTS, max_size=most)))
    ]
    form = draw(st.sampled_from(["path", "path", "slash", "rest", "prefix", "any"]))
    if form == "prefix":
        arguments["prefix"] = "/" + "/".join(parts)
    elif form != "any":
        end = {"slash": [""], "rest": ["{rest...}"]}.get(form, [])
        arguments["path"] = "/" + "/".join(parts + end)
    if draw(st.booleans()):
        arguments["methods"] = draw(st.sampled_from(METHODS))
    for kind in ("headers", "cookies", "query"):
        if draw(st.integers(0, 3)) == 0:
            arguments[kind] = draw(conditions)
    return arguments


@st.composite
def variations(draw: st.DrawFn) -> list[Arguments]:
    """Routes that differ in one argument each, so that they compete."""
    base, table = draw(arguments_of_routes()), list[Arguments]()
    others: dict[str, st.SearchStrategy[Any]] = {
        "host": st.sampled_from(HOSTS),
        "methods": st.sampled_from(METHODS),
    }
    others |= dict.fromkeys(("headers", "cookies", "query"), conditions)
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from([*others, "headers"]))
        table.append(base | {kind: draw(others[kind])})
    return table


tables = st.lists(arguments_of_routes(), min_size=1, max_size=8) | variations()


def routers(table: list[Arguments], **options: Any) -> tuple[Router[int], list[Arguments]]:
    """Add one route after another except the refused ones; the values are their positions."""
    accepted: list[Arguments] = []
    router: Router[int] = Router([], **options)
    for arguments in table:
        trial = [Route(place, **one) for place, one in enumerate([*accepted, arguments])]
        try:
            router = Router(trial, **options)
        except InvalidSetting:
            continue
        accepted.append(arguments)
    return router, accepted


pairs = st.lists(
    st.tuples(st.sampled_from(["m", "n"]), st.sampled_from(["1", "2", "3"])), max_size=2
)
requests = st.builds(
    RequestParts,
    host=st.sampled_from(["a.x", "b.a.x", "c.a.x", "d.c.a.x", "c.x", "x", "z.example"]),
    path=st.tuples(
        st.lists(st.sampled_from(["a", "b", "c", "%C3%A9"]), max_size=4), st.sampled_from(["", "/"])
    ).map(lambda path: "/" + "/".join(path[0]) + (path[1] if path[0] else "")),
    method=st.sampled_from(["GET", "POST", "PUT"]),
    header=pairs,
    cookie=pairs,
    query=pairs,
)


@st.composite
def near(draw: st.DrawFn, table: list[Arguments]) -> RequestParts:
    """A request that at least one route matches, sometimes changed in one or two parts."""
    arguments = draw(st.sampled_from(table))
    text = arguments.get("path") or arguments.get("prefix", "/")
    more = st.sampled_from(["", "a", "a/b", "b/", "/"])
    rest = draw(more)
    path = re.sub(
        r"\{\w+\}", lambda _: draw(st.sampled_from("abc")), text.replace("{rest...}", rest)
    )
    if "path" not in arguments and rest:
        path = f"{path.rstrip('/')}/{rest}"
    pairs_of = {
        kind: [
            (name, draw(st.sampled_from("123")) if value is True else value)
            for name, value in arguments.get(kind, {}).items()
        ]
        for kind in ("headers", "cookies", "query")
    }
    host = arguments.get("host", draw(st.sampled_from(["a.x", "z.example"])))
    parts = RequestParts(
        host.replace("*", draw(st.sampled_from(["b", "c.b", "a"]))),
        path.replace("//", "/") if "//" in path else path,
        draw(st.sampled_from(arguments.get("methods") or ["GET", "PUT"])),
        *pairs_of.values(),
    )
    for change in draw(
        st.lists(
            st.sampled_from(["host", "method", "header", "cookie", "query", "more"]), max_size=2
        )
    ):
        if change == "host":
            parts.host = draw(st.sampled_from(["a.x", "b.a.x", "d.c.a.x", "c.x", "z.example"]))
        elif change == "method":
            parts.method = draw(st.sampled_from(["GET", "POST", "PUT"]))
        elif change == "more":
            parts.path = f"{parts.path.rstrip('/')}/{draw(more)}".replace("//", "/")
        else:
            values: list[tuple[str, str]] = getattr(parts, change)
            setattr(parts, change, values + draw(pairs))
    return parts
