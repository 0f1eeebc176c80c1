"""Routing by the index equals routing by trying every route; unreachable routes are refused."""

import pickle
import re
from copy import copy, deepcopy
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import PathRules, Request
from balancers.routing import Match, Route, Router, Split
from tests.depth import runs
from tests.routing.tables import (
    Arguments,
    RequestParts,
    arguments_of_routes,
    captures_of,
    naive,
    near,
    request_of,
    requests,
    routers,
    tables,
)

GET = Request("GET", "/", "a.x")


@settings(max_examples=runs(400))
@given(tables, st.lists(requests, max_size=6), st.data())
def test_routing_equals_trying_every_route(
    table: list[Arguments], sent: list[RequestParts], data: st.DataObject
) -> None:
    router, accepted = routers(table)
    for parts in sent + data.draw(st.lists(near(accepted), min_size=6, max_size=20)):
        found, wanted = router.match(request_of(parts)), naive(accepted, parts)
        assert found.value == wanted, (accepted, parts)
        assert bool(found) == (wanted is not None) == (found.reason == "")
        if wanted is not None:
            assert found.captures == captures_of(accepted[wanted], parts)
            assert found.route is not None
            assert found.why == found.route.conditions
        else:
            assert (found.reason, found.path) == ("no route", parts.path)
            assert found.why


UNIVERSE = [
    RequestParts(host, path, method, [("m", value)] if value else [])
    for host, path, method, value in product(
        ("a.x", "c.x", "z.example"),
        [
            "/" + "/".join(names) + slash
            for length in range(4)
            for names in product("abc", repeat=length)
            for slash in ("", "/")
            if names or not slash
        ],
        ("GET", "POST", "PUT"),
        ("", "1", "3"),
    )
]
"""At least one request of each kind that a small table can distinguish."""


@st.composite
def small_tables(draw: st.DrawFn) -> list[Arguments]:
    """Routes by path and sometimes one other condition, so that they cover one another."""
    table: list[Arguments] = []
    for _ in range(draw(st.integers(1, 7))):
        arguments = draw(arguments_of_routes(most=2))
        for kind in ("host", "headers", "cookies", "query"):
            arguments.pop(kind, None)
        more = draw(st.integers(0, 5))
        if more == 0:
            arguments["headers"] = {"m": draw(st.sampled_from(["1", True]))}
        elif more == 1:
            arguments["host"] = draw(st.sampled_from(["a.x", "*.x"]))
        table.append(arguments)
    return table


@settings(max_examples=runs(150), deadline=None)
@given(small_tables())
def test_a_route_is_refused_exactly_when_no_request_reaches_it(table: list[Arguments]) -> None:
    reached = {naive(table, parts) for parts in UNIVERSE} - {None}
    try:
        Router([Route(place, **arguments) for place, arguments in enumerate(table)])
    except InvalidSetting as error:
        refused = re.search(r"^Route\((\d+)", str(error))
        assert refused
        assert int(refused[1]) not in reached
    else:
        assert reached == {*range(len(table))}


@pytest.mark.parametrize(
    ("table", "last"),
    [
        ([{"path": "/a"}, {"path": "/a"}], 1),
        ([{"path": "/{x}"}, {"path": "/{y}"}], 1),
        ([{"prefix": "/"}, {}], 1),
        ([{"host": "A.x."}, {"host": "a.x"}], 1),
        ([{"path": "/%7ea"}, {"path": "/~a"}], 1),
        ([{"methods": ("GET", "POST")}, {"methods": ["POST", "GET", "GET"]}], 1),
        ([{"headers": {"M": "1"}}, {"headers": {"m": "1"}}], 1),
        ([{"methods": ["GET", "POST"]}, {"methods": ["GET"]}, {"methods": ["POST"]}], 0),
        ([{"prefix": "/a"}, {"path": "/a"}, {"path": "/a/{x...}"}], 0),
        ([{"path": "/{x...}"}, {"path": "/"}, {"path": "/{x}"}, {"path": "/{x}/{y...}"}], 0),
    ],
)
def test_the_error_of_an_unreachable_route_names_every_route_that_hides_it(
    table: list[Arguments], last: int
) -> None:
    routes = [Route(f"route {place}", **arguments) for place, arguments in enumerate(table)]
    with pytest.raises(InvalidSetting, match="never reached") as refusal:
        Router(routes)
    message = str(refusal.value)
    assert message.startswith(f"{routes[last]!r} is never reached behind ")
    assert all(repr(route) in message for route in routes)


def test_a_reachable_route_is_accepted() -> None:
    tables: list[list[Arguments]] = [
        [{"path": "/a"}, {"prefix": "/a"}, {"path": "/a/{x...}", "methods": ["GET"]}],
        [{"headers": {"m": "1"}}, {"headers": {"m": True}}, {}],
        [{"headers": {"m": True}}, {"cookies": {"m": True}}],
        [{"path": "/{x}"}, {"path": "/"}, {"path": "/{x...}"}],
        [{"methods": ["GET"]}, {"methods": ["POST"]}, {}],
    ]
    for table in tables:
        assert len(Router([Route(0, **arguments) for arguments in table])) == len(table)


ORDERED: list[Arguments] = [
    {"host": "a.x", "prefix": "/"},
    {"host": "*.a.x", "path": "/a"},
    {"host": "*.a.x"},
    {"host": "*.x", "path": "/a/b"},
    {"path": "/a/b", "methods": ["GET"], "query": {"q": True}},
    {"path": "/a/b", "methods": ["GET"]},
    {"path": "/a/b", "methods": ["GET", "POST"], "headers": {"m": "1", "n": True}},
    {"path": "/a/b", "headers": {"m": "1", "n": "1"}},
    {"path": "/a/b", "headers": {"m": "1", "n": True}},
    {"path": "/a/b", "headers": {"m": "1"}},
    {"path": "/a/b", "cookies": {"m": True}},
    {"path": "/a/b"},
    {"path": "/a/{x}/c"},
    {"path": "/a/{x}"},
    {"path": "/a/{x...}"},
    {"prefix": "/a"},
    {"path": "/{x}/b"},
    {"path": "/{x...}", "methods": ["GET"]},
    {},
]


@given(st.permutations(range(len(ORDERED))))
def test_the_order_depends_on_conditions_and_not_on_declaration(places: list[int]) -> None:
    ranked = Router([Route(place, **ORDERED[place]) for place in places])
    tied = {12, 13}  # no request matches both
    assert [route.value for route in ranked if route.value not in tied] == [
        place for place in range(len(ORDERED)) if place not in tied
    ]


def test_routes_of_equal_rank_keep_the_order_given() -> None:
    one, two = Route("one", headers={"m": "1"}), Route("two", headers={"n": "1"})
    both = Request("GET", "/", "", [("M", "1"), ("N", "1")])
    assert Router([one, two]).match(both).value == "one"
    assert Router([two, one]).match(both).value == "two"


SPELLINGS: list[tuple[Arguments, Arguments]] = [
    ({"path": "/users/{i}"}, {"path": "/users/{the_identifier}"}),
    ({"path": "/~ann"}, {"path": "/%7Eann"}),
    ({"prefix": "/a/b"}, {"prefix": "/a/much-longer-than-that"}),
    ({"host": "a.example"}, {"host": "much-longer-than-that.example"}),
    ({"methods": ["GET", "PUT"]}, {"methods": ["PUT", "GET"]}),
    ({"headers": {"x": "1"}}, {"headers": {"x-much-longer": "and its value"}}),
]


@pytest.mark.parametrize(("arguments", "again"), SPELLINGS)
def test_the_length_of_a_rule_is_not_its_priority(arguments: Arguments, again: Arguments) -> None:
    """Elsewhere a longer name or another spelling moved a route before others."""
    assert Route("v", **arguments).rank == Route("v", **again).rank


def test_the_longer_rule_does_not_win() -> None:
    short, long = Route("short", path="/a/{x}"), Route("long", path="/{a_long_name}/bbbbbbbbbbbb")
    for routes in ([short, long], [long, short]):
        assert Router(routes).match(Request("GET", "/a/bbbbbbbbbbbb")).value == "short"


def test_a_match_is_final_whatever_its_value_is() -> None:
    router: Router[str | None] = Router([Route(None, path="/down"), Route("web")])
    found = router.match(Request("GET", "/down"))
    assert found
    assert found.value is None
    assert found.reason == ""


@pytest.mark.parametrize("kind", ["headers", "cookies", "query"])
@pytest.mark.parametrize("order", ["12", "21", "11", "1,2"])
def test_repeating_a_name_selects_no_route_by_its_value(kind: str, order: str) -> None:
    wanted: Any = {kind: {"v": "1"}}
    present: Any = {kind: {"v": True}}
    values = [order] if "," in order else [*order]
    pairs = [("v", value) for value in values]
    parts = {
        "headers": RequestParts(header=pairs),
        "cookies": RequestParts(cookie=pairs),
        "query": RequestParts(query=pairs),
    }
    request = request_of(parts[kind])
    found = Router([Route("one", **wanted), Route("rest")]).match(request)
    assert found.value == "rest"
    missed = Router([Route("one", **wanted)]).match(request)
    assert ("repeated" in missed.why) == (len(values) > 1)
    assert Router([Route("there", **present)]).match(request).value == "there"


def test_a_cookie_in_two_headers_is_repeated_too() -> None:
    router = Router([Route("one", cookies={"v": "1"}), Route("rest")])
    headers = [("Cookie", "v=1"), ("cookie", "w=1")]
    assert router.match(Request(headers=headers)).value == "one"
    headers = [("Cookie", "v=1"), ("cookie", "v=1")]
    assert router.match(Request(headers=headers)).value == "rest"


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("q=a+b", "blank"),
        ("q=a%20b", "blank"),
        ("%71=a b", "refused"),
        ("q=%C3%A9", "accent"),
        ("q=%E9", "rest"),
        ("q=%", "rest"),
        ("q=\ufffd", "refused"),
        ("q", "empty"),
        ("q=", "empty"),
        ("x&q=", "empty"),
        ("Q=a+b", "rest"),
        ("q=a+b;x", "rest"),
        ("", "rest"),
        ("&&=1&", "rest"),
    ],
)
def test_a_query_is_parsed_as_a_form(query: str, value: str) -> None:
    router = Router(
        [
            Route("blank", query={"q": "a b"}),
            Route("accent", query={"q": "é"}),
            Route("empty", query={"q": ""}),
            Route("rest"),
        ]
    )
    found = router.match(Request("GET", f"/?{query}"))
    assert (found.value or "refused") == value


def test_the_reasons_when_no_route_matches() -> None:
    routes = [
        Route("users", host="a.x", path="/users/{id}", methods=["GET", "PUT"]),
        Route("new", host="a.x", path="/users", methods=["POST"], headers={"x-v": "2"}),
    ]

    def missed(method: str, target: str, host: str = "a.x", **headers: str) -> Match[str]:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        found = Router(routes).match(Request(method, target, host, pairs))
        assert not found
        return found

    assert missed("GET", "/", "b.x").why == "no route for the host 'b.x'"
    assert missed("GET", "/nothing").why == "no route for the path /nothing"
    wrong = missed("DELETE", "/users/7")
    assert wrong.why == "method is not GET or PUT but DELETE"
    assert (wrong.reason, wrong.allowed) == ("no route", ("GET", "PUT"))
    absent = missed("POST", "/users")
    assert (absent.why, absent.allowed) == ("header x-v is absent", ())
    assert missed("POST", "/users", x_v="3").why == "no route for POST asks for header x-v '3'"
    assert missed("GET", "/a/..%2f").why == "the path is refused: encoded slash"
    bad = missed("GET", "/users/7", "a..x")
    assert (bad.reason, bad.why) == ("bad host", "the host is refused: 'a..x'")
    assert missed("OPTIONS", "*").reason == "asterisk-form"
    assert missed("CONNECT", "a.x:443").reason == "authority-form"


def test_why_lists_every_condition_of_the_route() -> None:
    route = Route(
        "all",
        host="*.Example.com",
        path="/users/{id}",
        methods=["PUT", "GET"],
        headers={"X-V": "2"},
        cookies={"beta": True},
        query={"q": ""},
    )
    headers = [("x-v", "2"), ("Cookie", "beta=on")]
    found = Router([route]).match(Request("GET", "/users/7?q", "a.example.com", headers))
    assert found.why == (
        "host *.example.com, path /users/{id}, method GET or PUT, header x-v '2', "
        "cookie beta present, query q ''"
    )
    assert eval(repr(route)).rank == route.rank  # noqa: S307 - the repr evaluates to an equal route


def test_the_host_of_an_absolute_form_replaces_the_host_header() -> None:
    router = Router([Route("a", host="a.x"), Route("b", host="b.x")])
    assert router.match(Request("GET", "http://b.x/", "a.x")).value == "b"
    assert router.match(Request("GET", "http://b..x/", "a.x")).reason == "bad host"


def test_a_request_without_a_host_reaches_routes_for_any_host() -> None:
    router = Router([Route("a", host="*.x"), Route("any")])
    assert router.match(Request("GET", "/")).value == "any"


def test_a_router_may_be_empty() -> None:
    router: Router[str] = Router([])
    assert len(router) == 0
    assert router.match(GET).why == "no route for the host 'a.x'"
    assert repr(router) == "<Router: 0 routes>"


@pytest.mark.parametrize("routes", [{"a": 1}, ["a"], [("a", 1)], [None]])
def test_a_router_refuses_anything_but_routes(routes: Any) -> None:
    with pytest.raises(TypeError, match="routes must be Route objects, not"):
        Router(routes)


@given(st.text(), st.text(), st.text(), st.lists(st.tuples(st.text(), st.text())))
def test_no_request_raises(
    method: str, target: str, host: str, headers: list[tuple[str, str]]
) -> None:
    router = Router(
        [
            Route(1, host="a.x", headers={"a": "1"}),
            Route(2, prefix="/{a}", query={"a": "1"}, cookies={"a": True}),
            Route(3, path="/{a...}", methods=["GET"]),
        ]
    )
    cookie = [("Cookie", value) for _, value in headers]
    for sent in (target, f"/{target}"):
        for named in (host, "a.x", ""):
            found = router.match(Request(method, sent, named, [*headers, *cookie]))
            assert bool(found) == (not found.reason)


def test_a_value_may_be_a_split() -> None:
    split = Split({"stable": 90, "canary": 10})
    router: Router[Split[str]] = Router([Route(split, prefix="/shop")])
    found = router.match(Request("GET", "/shop/cart"))
    assert found.value is not None
    assert found.value.pick("user:42") == split.pick("user:42")


def test_a_copy_routes_alike_and_shares_the_values() -> None:
    value = object()
    deep = "/" + "/".join("a" * 3000)
    router: Router[object] = Router([Route(value, path=deep), Route("n", headers={"m": "1"})])
    for copied in (copy(router), deepcopy(router)):
        assert copied.match(Request("GET", deep)).value is value
    names: Router[str] = Router([Route("b", path=deep), Route("n"), Route("a", host="a.x")])
    again = pickle.loads(pickle.dumps(names))  # noqa: S301 - own pickle
    assert [route.value for route in again] == [route.value for route in names]
    assert again.match(Request("GET", deep)).value == "b"
    assert repr(again) == repr(names)


def test_the_rules_of_a_router_decide_about_paths() -> None:
    routes = [Route("admin", prefix="/admin"), Route("file", path="/v2/{name}"), Route("web")]

    def result(target: str, **rules: Any) -> str | None:
        found = Router(routes, path_rules=PathRules(**rules)).match(Request("GET", target))
        return found.value or found.reason

    for target in ("/admin;x/users", "/;x/admin/users", "/admin%3Bx/users"):
        assert result(target) == "path parameter"
        assert result(target, parameters="strip") == "admin"
        assert result(target, parameters="keep") == "web"
    keep = Router(routes, path_rules=PathRules(encoded_slash="keep"))
    assert keep.match(Request("GET", "/v2/library%2falpine")).captures == {"name": "library/alpine"}
    assert result("//admin", repeated_slashes="keep") == "web"
    assert result("/v2//", repeated_slashes="keep") == "web"
    assert result("//admin", repeated_slashes="refuse") == "empty segment"


@pytest.mark.parametrize("path", ["/a;v=1", "/a%3bv=1/b", "/a/;"])
def test_a_route_with_a_parameter_needs_a_router_that_keeps_them(path: str) -> None:
    routes = [Route("a", path=path), Route("b", prefix=path), Route("web")]
    router = Router(routes, path_rules=PathRules(parameters="keep"))
    assert router.match(Request("GET", path)).value == "a"
    assert router.match(Request("GET", path + "/x")).value == "b"
    for route in routes[:2]:
        for rules in ({}, {"parameters": "strip"}):
            given: Any = rules
            with pytest.raises(InvalidSetting, match="PathRules"):
                Router([route], path_rules=PathRules(**given))


def test_a_path_with_empty_segments_reaches_a_route_that_others_hide_without_them() -> None:
    routes = [Route("a", path="/{x}/{y}"), Route("b", path="/{x}/"), Route("c", path="/{x}")]
    routes += [Route("d", path="/{x}/{y}/{z...}"), Route("e", path="/"), Route("f", prefix="/")]
    with pytest.raises(InvalidSetting, match="'f'"):
        Router(routes)
    router = Router(routes, path_rules=PathRules(repeated_slashes="keep"))
    assert router.match(Request("GET", "//x")).value == "f"


@pytest.mark.parametrize("rules", [None, "keep", {"parameters": "keep"}])
def test_a_router_refuses_anything_but_path_rules(rules: Any) -> None:
    with pytest.raises(TypeError, match="path_rules must be PathRules, not"):
        Router([], path_rules=rules)


def test_a_copy_of_a_router_keeps_its_rules() -> None:
    router = Router([Route("a", path="/a;v")], path_rules=PathRules(parameters="keep"))
    again = pickle.loads(pickle.dumps(router))  # noqa: S301 - own pickle
    for copied in (copy(router), deepcopy(router), again):
        assert copied.match(Request("GET", "/a;v")).value == "a"
