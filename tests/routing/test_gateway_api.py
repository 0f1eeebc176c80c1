"""The values of the Gateway API's own conformance tests, and its precedence.

The routes and the expected backends are those of the conformance tests of the Gateway API (v1),
which test a controller.  Here, a route of the router stands for each match of a rule.  Where
a listener restricts the hosts, the hosts of the routes are those that both have in common.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from balancers.http import Request
from balancers.routing import Route, Router

Case = tuple[str, str, str, dict[str, str], int | None]
"""Method, host, target and headers, and the number of the backend.  None stands for 404."""


def header(name: str, value: str) -> dict[str, Any]:
    return {"headers": {name: value}}


def query(**parameters: str) -> dict[str, Any]:
    return {"query": parameters}


VERSION = [header("version", value) for value in ("one", "two", "three", "four")]
ANIMAL = {name: query(animal=name) for name in ("whale", "dolphin", "shark", "kraken", "hydra")}


def for_hosts(hosts: list[str], backend: int, **arguments: Any) -> list[Route[int]]:
    return [Route(backend, host=host, **arguments) for host in hosts]


def get(target: str, backend: int | None, host: str = "gw.example", **headers: str) -> Case:
    return "GET", host, target, headers, backend


def by(method: str, target: str, backend: int | None, **headers: str) -> Case:
    return method, "gw.example", target, headers, backend


TABLES: dict[str, tuple[list[Route[int]], list[Case]]] = {
    "HTTPRouteMatching": (
        [
            Route(1, prefix="/"),
            Route(1, **VERSION[0]),
            Route(2, prefix="/v2"),
            Route(2, **VERSION[1]),
        ],
        [
            get("/", 1),
            get("/example", 1),
            get("/", 1, Version="one"),
            get("/v2", 2),
            get("/v2/example", 2),
            get("/", 2, Version="two"),
        ],
    ),
    "HTTPRouteMatchingAcrossRoutes": (
        [
            *for_hosts(["example.com", "example.net"], 1, prefix="/"),
            *for_hosts(["example.com", "example.net"], 1, **VERSION[0]),
            *for_hosts(["example.com"], 2, prefix="/v2"),
            *for_hosts(["example.com"], 2, **VERSION[1]),
        ],
        [
            get("/", 1, "example.com"),
            get("/example", 1, "example.com"),
            get("/example", 1, "example.net"),
            get("/example", 1, "example.com", Version="one"),
            get("/v2", 2, "example.com"),
            get("/v2", 1, "example.net"),
            get("/v2/example", 2, "example.com"),
            get("/", 2, "example.com", Version="two"),
        ],
    ),
    "HTTPRoutePathMatchOrder": (
        [
            Route(1, path="/match"),
            Route(2, path="/match/exact"),
            Route(3, path="/match/exact/one"),
            Route(3, prefix="/match/"),
            Route(1, prefix="/match/prefix/"),
            Route(2, prefix="/match/prefix/one"),
        ],
        [
            get("/match/exact/one", 3),
            get("/match/exact", 2),
            get("/match", 1),
            get("/match/prefix/one/any", 2),
            get("/match/prefix/any", 1),
            get("/match/any", 3),
        ],
    ),
    "HTTPExactPathMatching": (
        [Route(1, path="/one"), Route(2, path="/two")],
        [
            get("/one", 1),
            get("/two", 2),
            get("/", None),
            get("/one/example", None),
            get("/two/", None),
            get("/Two", None),
        ],
    ),
    "HTTPRouteHeaderMatching": (
        [
            Route(1, **VERSION[0]),
            Route(2, **VERSION[1]),
            Route(1, headers={"version": "two", "color": "orange"}),
            *(Route(1, **header("color", value)) for value in ("blue", "green")),
            *(Route(2, **header("color", value)) for value in ("red", "yellow")),
        ],
        [
            get("/", 1, Version="one"),
            get("/", 2, Version="two"),
            get("/", 1, Version="two", Color="orange"),
            get("/", 2, Version="two", Color="blue"),
            get("/", None, Color="orange"),
            ("GET", "gw.example", "/", {"Some-Other-Header": "one"}, None),
            get("/", 1, Color="blue"),
            get("/", 1, Color="green"),
            get("/", 2, Color="red"),
            get("/", 2, Color="yellow"),
            get("/", None, Color="purple"),
        ],
    ),
    "HTTPRouteQueryParamMatching": (
        [
            Route(1, **ANIMAL["whale"]),
            Route(2, **ANIMAL["dolphin"]),
            Route(3, **query(animal="dolphin", color="blue")),
            Route(3, **query(ANIMAL="Whale")),
            Route(1, prefix="/path1", **ANIMAL["whale"]),
            Route(2, **VERSION[0], **ANIMAL["whale"]),
            Route(3, prefix="/path2", **VERSION[1], **ANIMAL["whale"]),
            Route(1, prefix="/path3", **ANIMAL["shark"]),
            Route(1, prefix="/path4", **VERSION[2], **ANIMAL["kraken"]),
            Route(1, prefix="/path5"),
            Route(2, **ANIMAL["hydra"]),
            Route(3, **VERSION[3]),
        ],
        [
            get("/?animal=whale", 1),
            get("/?animal=dolphin", 2),
            get("/?animal=dolphin&color=blue", 3),
            get("/?ANIMAL=Whale", 3),
            get("/?animal=whale&otherparam=irrelevant", 1),
            get("/?animal=dolphin&color=yellow", 2),
            get("/?color=blue", None),
            get("/?animal=dog", None),
            get("/?animal=whaledolphin", None),
            get("/", None),
            get("/path1?animal=whale", 1),
            get("/?animal=whale", 2, version="one"),
            get("/path2?animal=whale", 3, version="two"),
            get("/path3?animal=shark", 1),
            get("/path4?animal=kraken", 1, version="three"),
            get("/?animal=shark", None),
            get("/path4?animal=kraken", None),
            get("/path5?animal=hydra", 1),
            get("/?animal=hydra", 3, version="four"),
        ],
    ),
    "HTTPRouteMethodMatching": (
        [
            Route(1, methods=["POST"]),
            Route(2, methods=["GET"]),
            Route(1, prefix="/path1", methods=["GET"]),
            Route(2, **VERSION[0], methods=["PUT"]),
            Route(3, prefix="/path2", **VERSION[1], methods=["POST"]),
            Route(1, prefix="/path3", methods=["PATCH"]),
            Route(1, prefix="/path4", **VERSION[2], methods=["DELETE"]),
            Route(1, prefix="/path5"),
            Route(2, methods=["PATCH"]),
            Route(3, **VERSION[3]),
        ],
        [
            by("POST", "/", 1),
            by("GET", "/", 2),
            by("HEAD", "/", None),
            by("GET", "/path1", 1),
            by("PUT", "/", 2, version="one"),
            by("POST", "/path2", 3, version="two"),
            by("PATCH", "/path3", 1),
            by("DELETE", "/path4", 1, version="three"),
            by("PUT", "/", None),
            by("DELETE", "/path4", None),
            by("PATCH", "/path5", 1),
            by("PATCH", "/", 2, version="four"),
        ],
    ),
    "HTTPRouteHostnameIntersection": (
        [
            *for_hosts(["very.specific.com"], 1, prefix="/s1"),
            *for_hosts(
                ["foo.wildcard.io", "bar.wildcard.io", "foo.bar.wildcard.io"], 2, prefix="/s2"
            ),
            *for_hosts(["very.specific.com"], 3, prefix="/s3"),
            *for_hosts(["*.anotherwildcard.io"], 1, prefix="/s4"),
        ],
        [
            get("/s1", 1, "very.specific.com"),
            get("/s1", 1, "very.specific.com:1234"),
            get("/s1", None, "non.matching.com"),
            get("/s1", None, "foo.nonmatchingwildcard.io"),
            get("/s1", None, "foo.wildcard.io"),
            get("/non-matching-prefix", None, "very.specific.com"),
            get("/s2", 2, "foo.wildcard.io"),
            get("/s2", 2, "bar.wildcard.io"),
            get("/s2", 2, "foo.bar.wildcard.io"),
            get("/s2", None, "non.matching.com"),
            get("/s2", None, "wildcard.io"),
            get("/s2", None, "very.specific.com"),
            get("/non-matching-prefix", None, "foo.wildcard.io"),
            get("/s3", 3, "very.specific.com"),
            get("/s3", None, "non.matching.com"),
            get("/s3", None, "foo.specific.com"),
            get("/s3", None, "foo.wildcard.io"),
            get("/s4", 1, "foo.anotherwildcard.io"),
            get("/s4", 1, "bar.anotherwildcard.io"),
            get("/s4", 1, "foo.bar.anotherwildcard.io"),
            get("/s4", None, "anotherwildcard.io"),
            get("/s4", None, "foo.wildcard.io"),
            get("/s4", None, "very.specific.com"),
            get("/non-matching-prefix", None, "foo.anotherwildcard.io"),
            get("/s5", None, "specific.but.wrong.com"),
            get("/s5", None, "wildcard.io"),
        ],
    ),
    "HTTPRouteHostnameIntersection without a host of the listener": (
        for_hosts(["first.com", "sub.first.com", "second.com", "sub.second.com"], 2),
        [
            *(get("/", 2, host) for host in ("first.com", "sub.first.com")),
            *(get("/", 2, host) for host in ("second.com", "sub.second.com")),
            *(get("/", None, host) for host in ("third.com", "sub.third.com")),
        ],
    ),
    "HTTPRouteListenerHostnameMatching": (
        [
            *for_hosts(["bar.com"], 1),
            *for_hosts(["foo.bar.com"], 2),
            *for_hosts(["*.bar.com", "*.foo.com"], 3),
        ],
        [
            get("/", 1, "bar.com"),
            get("/", 2, "foo.bar.com"),
            get("/", 3, "baz.bar.com"),
            get("/", 3, "boo.bar.com"),
            get("/", 3, "multiple.prefixes.bar.com"),
            get("/", 3, "multiple.prefixes.foo.com"),
            get("/", None, "foo.com"),
            get("/", None, "no.matching.host"),
        ],
    ),
}
CASES = [(name, case) for name, (_, cases) in TABLES.items() for case in cases]


def differing(precedence: Any) -> Iterator[tuple[str, Case]]:
    """Yield the cases in which a router with this precedence chooses another backend."""
    routers = {name: Router(table, precedence=precedence) for name, (table, _) in TABLES.items()}
    for name, case in CASES:
        method, host, target, headers, backend = case
        found = routers[name].match(Request(method, target, host, [*headers.items()]))
        if found.value != backend:
            yield name, case


def test_all_values_of_the_conformance_tests_agree() -> None:
    assert len(CASES) == 108
    assert [*differing("gateway")] == []


def test_the_default_precedence_differs_where_a_header_and_a_parameter_match() -> None:
    case = get("/?animal=hydra", 3, version="four")
    assert [*differing("specific")] == [("HTTPRouteQueryParamMatching", case)]


STEPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "host before path": ({"host": "a.x", "prefix": "/"}, {"host": "*.x", "path": "/a/b"}),
    "a longer wildcard": ({"host": "*.a.x"}, {"host": "*.x", "path": "/a/b"}),
    "exact before prefix": ({"path": "/a/b"}, {"prefix": "/a/b", "methods": ["GET"]}),
    "a longer prefix": ({"prefix": "/a/b"}, {"prefix": "/a", "methods": ["GET"]}),
    "method before headers": ({"methods": ["GET"]}, {"headers": {"m": "1", "n": "1"}}),
    "one header before parameters": ({"headers": {"m": "1"}}, query(p="1", q="1")),
    "more headers": ({"headers": {"m": "1", "n": "1"}}, header("m", "1") | query(q="1")),
    "more parameters": (query(p="1", q="1"), query(q="1")),
    "a cookie counts as a header": ({"cookies": {"c": "1"}}, query(p="1", q="1")),
}
SENT = [("m", "1"), ("n", "1"), ("Cookie", "c=1")]
REQUEST = Request("GET", "/a/b?p=1&q=1", "b.a.x", SENT)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_of_the_precedence(step: str) -> None:
    first, second = STEPS[step]
    sent = Request("GET", "/a/b?p=1&q=1", first.get("host", "a.x").replace("*", "b"), SENT)
    for table in ([("first", first), ("second", second)], [("second", second), ("first", first)]):
        router = Router([Route(name, **one) for name, one in table], precedence="gateway")
        assert router.match(sent).value == "first"
        assert [route.value for route in router] == ["first", "second"]


def test_a_complete_path_with_captures_comes_before_a_longer_prefix() -> None:
    routes = [Route("prefix", prefix="/a/b"), Route("rest", path="/a/{x...}")]
    routes += [Route("path", path="/{x}/{y}"), Route("longest", prefix="/{x}/{y}/{z}")]
    for table in (routes, routes[::-1]):
        router = Router(table, precedence="gateway")
        assert [route.value for route in router] == ["path", "longest", "prefix", "rest"]
        assert router.match(REQUEST).value == "path"
        assert router.match(Request("GET", "/a/b/c")).value == "longest"
        assert router.match(Request("GET", "/a/")).value == "rest"


def test_ties_are_broken_by_the_order_given() -> None:
    one, two = Route("one", headers={"m": "1"}), Route("two", headers={"n": True})
    for table in ([one, two], [two, one]):
        assert Router(table, precedence="gateway").match(REQUEST).value == table[0].value


@pytest.mark.parametrize("precedence", ["", "first", "Gateway", None, 1, True])
def test_any_other_precedence_is_refused(precedence: Any) -> None:
    with pytest.raises(ValueError, match="precedence must be specific or gateway, not"):
        Router([], precedence=precedence)
