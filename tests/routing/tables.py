"""Tables and requests on a small alphabet, so that they meet, and routing by trying every route."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import Request
from balancers.routing import Route, Router

__all__ = [
    "Asked",
    "Told",
    "naive",
    "near",
    "request_of",
    "requests",
    "routers",
    "tables",
    "takes",
    "tolds",
]

Told = dict[str, Any]
"""The arguments of a route."""


@dataclass
class Asked:
    """A request before it is written down."""

    host: str = "z.example"
    path: str = "/"
    method: str = "GET"
    header: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    cookie: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    query: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def request_of(asked: Asked) -> Request:
    query = "&".join(f"{name}={value}" for name, value in asked.query)
    cookie = "; ".join(f"{name}={value}" for name, value in asked.cookie)
    headers = [(name.upper(), value) for name, value in asked.header]
    headers += [("Cookie", cookie)] if cookie else []
    return Request(asked.method, f"{asked.path}?{query}", f"{asked.host}:80", headers)


@cache
def pattern(text: str, whole: bool) -> re.Pattern[str]:
    text = re.sub(r"\{(\w+)\.\.\.\}", r"(?P<\1>.*)", text)
    text = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", text)
    if not whole:
        text = text.rstrip("/") + "(?:/.*)?"
    return re.compile(text)


def takes(told: Told, asked: Asked) -> dict[str, str] | None:
    """Give the captures of a route that takes a request, None when it does not."""
    host = told.get("host", asked.host)
    if asked.host != host and not (host[0] == "*" and asked.host.endswith(host[1:])):
        return None
    text = told.get("path") or told.get("prefix", "/")
    found = pattern(text, "path" in told).fullmatch(asked.path)
    if found is None or (told.get("methods") and asked.method not in told["methods"]):
        return None
    for kind, pairs in (
        ("headers", asked.header),
        ("cookies", asked.cookie),
        ("query", asked.query),
    ):
        for name, wanted in told.get(kind, {}).items():
            values = [value for key, value in pairs if key == name]
            if not values or (wanted is not True and values != [wanted]):
                return None
    return {name: unquote(value) for name, value in found.groupdict().items()}


def specificity(told: Told) -> list[object]:
    """Give what is documented as the order, in the order in which it counts."""
    host, text = told.get("host", ""), told.get("path") or told.get("prefix", "/")
    wild = host.startswith("*")
    hosts = (not host, wild, -host.count(".") if wild else 0)
    kinds = "".join(
        ""
        if not part and "path" not in told
        else "r"
        if "..." in part
        else "c"
        if "{" in part
        else "a"
        for part in text[1:].split("/")
    )
    kinds += "" if "path" in told else "z"
    conditions = [
        value for kind in ("headers", "cookies", "query") for value in told.get(kind, {}).values()
    ]
    return [
        hosts,
        kinds,
        len(told.get("methods", ())) or 99,
        -len(conditions),
        sum(value is True for value in conditions),
    ]


def naive(table: list[Told], asked: Asked) -> int | None:
    """Try every route: the most specific that takes the request, the first of equals."""
    taking = [place for place, told in enumerate(table) if takes(told, asked) is not None]
    return min(taking, key=lambda place: specificity(table[place]), default=None)


HOSTS = ["a.x", "b.a.x", "*.x", "*.a.x"]
METHODS = [("GET",), ("POST",), ("GET", "POST")]
conditions = st.dictionaries(
    st.sampled_from(["m", "n"]), st.sampled_from(["1", "2", True]), min_size=1, max_size=2
)
SEGMENTS = st.sampled_from(["a", "a", "b", "{}"])


@st.composite
def tolds(draw: st.DrawFn, *, most: int = 3) -> Told:
    told: Told = {}
    if draw(st.booleans()):
        told["host"] = draw(st.sampled_from(HOSTS))
    parts = [
        part.replace("{}", f"{{p{place}}}")
        for place, part in enumerate(draw(st.lists(SEGMENTS, max_size=most)))
    ]
    form = draw(st.sampled_from(["path", "path", "slash", "rest", "prefix", "any"]))
    if form == "prefix":
        told["prefix"] = "/" + "/".join(parts)
    elif form != "any":
        end = {"slash": [""], "rest": ["{rest...}"]}.get(form, [])
        told["path"] = "/" + "/".join(parts + end)
    if draw(st.booleans()):
        told["methods"] = draw(st.sampled_from(METHODS))
    for kind in ("headers", "cookies", "query"):
        if draw(st.integers(0, 3)) == 0:
            told[kind] = draw(conditions)
    return told


@st.composite
def variations(draw: st.DrawFn) -> list[Told]:
    """Routes that differ in one thing each, so that they compete."""
    base, table = draw(tolds()), list[Told]()
    others: dict[str, st.SearchStrategy[Any]] = {
        "host": st.sampled_from(HOSTS),
        "methods": st.sampled_from(METHODS),
    }
    others |= dict.fromkeys(("headers", "cookies", "query"), conditions)
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from([*others, "headers"]))
        table.append(base | {kind: draw(others[kind])})
    return table


tables = st.lists(tolds(), min_size=1, max_size=8) | variations()


def routers(table: list[Told]) -> tuple[Router[int], list[Told]]:
    """Enter one route after another, but for those that are refused; values are their places."""
    kept: list[Told] = []
    router: Router[int] = Router([])
    for told in table:
        trial = [Route(place, **one) for place, one in enumerate([*kept, told])]
        try:
            router = Router(trial)
        except InvalidSetting:
            continue
        kept.append(told)
    return router, kept


pairs = st.lists(
    st.tuples(st.sampled_from(["m", "n"]), st.sampled_from(["1", "2", "3"])), max_size=2
)
requests = st.builds(
    Asked,
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
def near(draw: st.DrawFn, table: list[Told]) -> Asked:
    """A request that some route takes, changed at times in one thing or two."""
    told = draw(st.sampled_from(table))
    text = told.get("path") or told.get("prefix", "/")
    more = st.sampled_from(["", "a", "a/b", "b/", "/"])
    rest = draw(more)
    path = re.sub(
        r"\{\w+\}", lambda _: draw(st.sampled_from("abc")), text.replace("{rest...}", rest)
    )
    if "path" not in told and rest:
        path = f"{path.rstrip('/')}/{rest}"
    pairs_of = {
        kind: [
            (name, draw(st.sampled_from("123")) if value is True else value)
            for name, value in told.get(kind, {}).items()
        ]
        for kind in ("headers", "cookies", "query")
    }
    host = told.get("host", draw(st.sampled_from(["a.x", "z.example"])))
    asked = Asked(
        host.replace("*", draw(st.sampled_from(["b", "c.b", "a"]))),
        path.replace("//", "/") if "//" in path else path,
        draw(st.sampled_from(told.get("methods") or ["GET", "PUT"])),
        *pairs_of.values(),
    )
    for change in draw(
        st.lists(
            st.sampled_from(["host", "method", "header", "cookie", "query", "more"]), max_size=2
        )
    ):
        if change == "host":
            asked.host = draw(st.sampled_from(["a.x", "b.a.x", "d.c.a.x", "c.x", "z.example"]))
        elif change == "method":
            asked.method = draw(st.sampled_from(["GET", "POST", "PUT"]))
        elif change == "more":
            asked.path = f"{asked.path.rstrip('/')}/{draw(more)}".replace("//", "/")
        else:
            values: list[tuple[str, str]] = getattr(asked, change)
            setattr(asked, change, values + draw(pairs))
    return asked
