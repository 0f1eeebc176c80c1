"""Routes with regular expressions, and both orders of precedence, against trying every route."""

import pickle
import re
from copy import copy, deepcopy
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import PathRules, Request, read_target
from balancers.http.targets import compared
from balancers.routing import Route, Router
from tests.depth import runs
from tests.routing.tables import (
    Arguments,
    RequestParts,
    arguments_of_routes,
    captures_of,
    gateway_order,
    naive,
    request_of,
    requests,
    routers,
    specificity,
    tables,
)
from tests.work import work_of

PATTERNS = [
    re.compile(text)
    for text in ("/a", "/a.*", "/(?P<one>[ab])(/(?P<two>.+))?", ".*", "/[^/]+/", "(?i)/A/B", "/c?")
]
VALUES = [re.compile("1"), re.compile("[12]"), re.compile(".*"), re.compile("3|")]


@st.composite
def patterned_routes(draw: st.DrawFn) -> Arguments:
    arguments = draw(arguments_of_routes(most=2))
    if draw(st.booleans()):
        arguments.pop("prefix", None)
        arguments["path"] = draw(st.sampled_from(PATTERNS))
    for kind in ("headers", "cookies", "query"):
        if draw(st.integers(0, 5)) == 0:
            pattern = st.sampled_from(VALUES)
            arguments[kind] = draw(st.dictionaries(st.sampled_from("mn"), pattern, max_size=2))
    return arguments


patterned = st.lists(patterned_routes(), min_size=1, max_size=8)


@settings(max_examples=runs(400))
@given(patterned, st.lists(requests, min_size=6, max_size=20))
def test_routing_with_patterns_equals_trying_every_route(
    table: list[Arguments], sent: list[RequestParts]
) -> None:
    router, accepted = routers(table)
    assert [route.value for route in router] == sorted(
        range(len(accepted)), key=lambda place: specificity(accepted[place])
    )
    for parts in sent:
        found, wanted = router.match(request_of(parts)), naive(accepted, parts)
        assert found.value == wanted, (accepted, parts)
        if wanted is not None:
            assert found.captures == captures_of(accepted[wanted], parts)
        else:
            assert (found.reason, bool(found.why)) == ("no route", True)


def without_captures(table: list[Arguments]) -> list[Arguments]:
    """Captures in a prefix become literals: the Gateway API has none."""
    return [
        one | {"prefix": re.sub(r"\{\w+\}", "a", one["prefix"])} if "prefix" in one else one
        for one in (
            one | {"path": re.sub(r"\{\w+\}(?=/)", "a", one["path"])}
            if "..." in str(one.get("path"))
            else one
            for one in table
        )
    ]


@settings(max_examples=runs(400))
@given((tables | patterned).map(without_captures), st.lists(requests, min_size=6, max_size=20))
def test_the_gateway_precedence_equals_trying_every_route_by_characters(
    table: list[Arguments], sent: list[RequestParts]
) -> None:
    router, accepted = routers(table, precedence="gateway")
    for parts in sent:
        found, wanted = router.match(request_of(parts)), naive(accepted, parts, gateway_order)
        assert found.value == wanted, (accepted, parts)


@settings(max_examples=runs(200))
@given(tables | patterned, st.lists(requests, min_size=6, max_size=20), st.data())
def test_a_router_returns_the_first_route_of_its_order(
    table: list[Arguments], sent: list[RequestParts], data: st.DataObject
) -> None:
    precedence = data.draw(st.sampled_from(["specific", "gateway"]))
    router, accepted = routers(table, precedence=precedence)
    order = [route.value for route in router]
    for parts in sent:
        matching = [place for place in order if captures_of(accepted[place], parts) is not None]
        assert router.match(request_of(parts)).value == next(iter(matching), None)


@settings(max_examples=runs(200))
@given(
    (tables | patterned).map(without_captures),
    st.sampled_from(["specific", "gateway"]),
    st.lists(requests, min_size=20, max_size=40),
)
def test_a_route_that_is_refused_is_the_first_for_no_request(
    table: list[Arguments], precedence: Any, sent: list[RequestParts]
) -> None:
    order = gateway_order if precedence == "gateway" else specificity
    accepted: list[Arguments] = []
    for arguments in table:
        trial = [*accepted, arguments]
        try:
            Router([Route(place, **one) for place, one in enumerate(trial)], precedence=precedence)
        except InvalidSetting as refusal:
            unreached = re.match(r"Route\((\d+)", str(refusal))
            assert unreached is not None
            assert int(unreached[1]) not in {naive(trial, parts, order) for parts in sent}
            continue
        accepted = trial


def value(routes: list[Route[str]], target: str, **options: Any) -> str | None:
    return Router(routes, **options).match(Request("GET", target)).value


def test_a_literal_comes_before_a_pattern_and_a_pattern_before_a_capture() -> None:
    routes = [
        Route("capture", path="/a/{x}"),
        Route("prefix", prefix="/a/b"),
        Route("pattern", path=re.compile("/a/[a-y]*")),
        Route("other", path=re.compile("/a/b+")),
        Route("literal", path="/a/b"),
        Route("rest", path="/{x...}"),
    ]
    for order in (routes, routes[::-1]):
        first = "pattern" if order is routes else "other"
        assert value(order, "/a/b") == "literal"
        assert value(order, "/a/bb") == first
        assert value(order, "/a/c") == "pattern"
        assert value(order, "/a/z") == "capture"
        assert value(order, "/a/b/c") == "prefix"
        assert value(order, "/z") == "rest"
        assert value(order, "/a/bb", precedence="gateway") == first


def test_patterns_are_ordered_by_methods_and_conditions_and_then_as_given() -> None:
    routes = [
        Route("any", path=re.compile("/a.*")),
        Route("header", path=re.compile("/.*a"), headers={"m": "1"}),
        Route("method", path=re.compile("/a+"), methods=["GET"]),
    ]
    router = Router(routes)
    assert [route.value for route in router] == ["method", "header", "any"]
    assert router.match(Request("GET", "/aa", headers=[("m", "1")])).value == "method"
    assert router.match(Request("PUT", "/aa", headers=[("m", "1")])).value == "header"
    assert router.match(Request("PUT", "/aa")).value == "any"


@pytest.mark.parametrize(
    ("pattern", "target", "matches"),
    [
        ("/a", "/a", True),
        ("/a", "/ab", False),
        ("/a", "/a\n", False),
        ("/a$", "/a", True),
        ("a", "/a", False),
        ("/a|/ab", "/ab", True),
        ("/~ann/%C3%A9", "/%7eann/%c3%a9", True),
        ("/~ann/é", "/%7eann/%c3%a9", False),
        ("/b", "/a/../b", True),
        (".*[.][.].*", "/a/../b", False),
        (".*//.*", "/a//b", False),
        (".*", "/a/..%2fb", False),
        (".*", "/a;b", False),
        ("/", "/?q", True),
    ],
)
def test_a_pattern_matches_the_complete_normalised_path(
    pattern: str, target: str, matches: bool
) -> None:
    assert (value([Route("v", path=re.compile(pattern))], target) == "v") == matches


def test_a_pattern_sees_what_the_rules_keep() -> None:
    routes = [Route("v", path=re.compile(r"/(?P<name>[^/]+)/tags"))]
    router = Router(routes, path_rules=PathRules(encoded_slash="keep", parameters="keep"))
    found = router.match(Request("GET", "/a%2fb;v=1/tags"))
    assert found.captures == {"name": "a/b;v=1"}


def test_named_groups_are_captures() -> None:
    pattern = re.compile(r"/(?P<z>[^/]+)(/(?P<a>[^/]+))?(/(?P<half>%C3)%A9)?")
    router = Router([Route("v", path=pattern)])

    def captured(target: str) -> dict[str, str]:
        return router.match(Request("GET", target)).captures

    assert captured("/a%20b/c") == {"z": "a b", "a": "c"}
    assert captured("/a%3fb") == {"z": "a?b"}
    assert captured("/a/b/%c3%a9") == {"z": "a", "a": "b", "half": "%C3"}
    assert Route("v", path=pattern).names == ("z", "a", "half")
    assert Route("v", path=re.compile("/(a)(b)")).names == ()


@pytest.mark.parametrize("kind", ["headers", "cookies", "query"])
def test_a_pattern_matches_a_complete_value_that_is_not_repeated(kind: str) -> None:
    wanted: Any = {kind: {"v": re.compile("[ab]+")}}
    router = Router([Route("v", **wanted), Route("rest")])
    attribute = {"headers": "header", "cookies": "cookie", "query": "query"}[kind]

    def result(*values: str) -> str | None:
        parts = RequestParts()
        setattr(parts, attribute, [("v", one) for one in values])
        return router.match(request_of(parts)).value

    assert result("ab") == "v"
    for values in ((), ("",), ("abc",), ("xab",), ("ab", "ab"), ("ab", "c")):
        assert result(*values) == "rest"


def test_an_undecodable_value_matches_no_pattern() -> None:
    routes = [Route("v", query={"q": re.compile("(?s:.*)")}), Route("rest")]
    assert [value(routes, f"/?{query}") for query in ("q=%FF", "q=%", "q=%0A")] == [
        *("rest", "rest", "v")
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": re.compile(b"/a")},
        {"headers": {"m": re.compile(b"1")}},
        {"cookies": {"m": re.compile(b"1")}},
        {"query": {"m": re.compile(b"1")}},
    ],
)
def test_a_pattern_of_bytes_is_refused(arguments: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"must be a pattern of str, not re\.compile\(b"):
        Route("v", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"prefix": re.compile("/a")},
        {"host": re.compile("a.x")},
        {"path": "/a", "prefix": re.compile("/a")},
        {"methods": [re.compile("GET")]},
    ],
)
def test_a_prefix_and_a_host_are_no_patterns(arguments: Any) -> None:
    with pytest.raises((TypeError, InvalidSetting)):
        Route("v", **arguments)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": re.compile("/a+")}, {"path": re.compile("/a+")}),
        ({"headers": {"m": re.compile("a+")}}, {"headers": {"M": re.compile("a+")}}),
        ({"headers": {"m": re.compile("a+")}}, {"headers": {"m": "aa"}}),
        ({"query": {"m": True, "n": "1"}}, {"query": {"n": "1", "m": re.compile("a+")}}),
        (
            {"path": re.compile("/a+"), "methods": ["GET"], "cookies": {"m": re.compile("a")}},
            {"path": re.compile("/a+"), "methods": ["GET"], "cookies": {"m": re.compile("a")}},
        ),
    ],
)
def test_a_route_behind_equal_patterns_is_refused(first: Arguments, second: Arguments) -> None:
    with pytest.raises(InvalidSetting, match=r"'second'.* is never reached behind .*'first'"):
        Router([Route("first", **first), Route("second", **second)], precedence="gateway")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": re.compile("/.*")}, {"prefix": "/a"}),
        ({"path": re.compile("/.*")}, {"path": re.compile("/a.*")}),
        ({"path": re.compile("/a")}, {"path": re.compile("/a", re.IGNORECASE)}),
        ({"path": re.compile("/a")}, {"path": re.compile("/a"), "host": "a.x"}),
        ({"headers": {"m": re.compile(".*")}}, {"headers": {"m": re.compile("a*")}}),
        ({"headers": {"m": re.compile("a+")}}, {"headers": {"m": "b"}}),
        ({"headers": {"m": re.compile("a+")}}, {"headers": {"m": True}}),
    ],
)
def test_other_patterns_are_not_compared(first: Arguments, second: Arguments) -> None:
    for table in ((first, second), (second, first)):
        Router([Route(place, **one) for place, one in enumerate(table)])


ALL: Arguments = {
    "host": "a.x",
    "path": re.compile("/(?P<x>.*)", re.IGNORECASE),
    "headers": {"m": re.compile("[ab]")},
    "cookies": {"n": re.compile("c")},
    "query": {"q": re.compile("d|e")},
}


def test_the_descriptions_of_a_route_with_patterns() -> None:
    route = Route("v", **ALL)
    assert eval(repr(route)).rank == route.rank  # noqa: S307 - the repr evaluates to an equal route
    assert "path=re.compile('/(?P<x>.*)', re.IGNORECASE)" in repr(route)
    assert route.conditions == (
        "host a.x, path matches '/(?P<x>.*)', header m matches '[ab]', "
        "cookie n with a value that is not shown, query q matches 'd|e'"
    )
    missed = Router([route]).match(Request("GET", "/", "a.x", [("m", "value")]))
    assert missed.why == "header m does not match the pattern"


def test_copies_of_a_router_with_patterns_route_alike() -> None:
    router = Router([Route("v", **ALL), Route("w", path=re.compile("/w"))], precedence="gateway")
    again = pickle.loads(pickle.dumps(router))  # noqa: S301 - own pickle
    sent = Request("GET", "/u?q=e", "a.x", [("m", "a"), ("Cookie", "n=c")])
    for copied in (copy(router), deepcopy(router), again):
        assert copied.match(sent)[1:] == router.match(sent)[1:]
        assert copied.match(sent).captures == {"x": "u"}
        assert [route.value for route in copied] == [route.value for route in router]
    route = pickle.loads(pickle.dumps(Route("v", **ALL)))  # noqa: S301 - own pickle
    assert repr(route) == repr(Route("v", **ALL))
    assert route.rank == Route("v", **ALL).rank


def lines(router: Router[Any], request: Request) -> int:
    return work_of(partial(router.match, request)).lines


def test_patterns_cost_nothing_where_an_earlier_route_matches() -> None:
    def cost(patterns: int, precedence: Any) -> int:
        routes = [Route(i, path=re.compile(f"/api/x{i}")) for i in range(patterns)]
        others = [Route(-1, path="/api/users"), Route(-2, host="a.x", prefix="/api")]
        router = Router([*routes, *others], precedence=precedence)
        sent = [Request("GET", "/api/users"), Request("GET", "/api/z", "a.x")]
        return sum(lines(router, one) for one in sent)

    for precedence in ("specific", "gateway"):
        assert cost(1000, precedence) <= cost(10, precedence) + 2000


def test_routes_of_other_hosts_and_names_pay_nothing_for_patterns() -> None:
    def cost(patterns: int) -> int:
        routes: list[Route[Any]] = [
            Route(i, host="p.x", path=re.compile(f"/{i}")) for i in range(patterns)
        ]
        routes += [Route(i, headers={f"x-{i}": re.compile("a")}) for i in range(patterns)]
        router = Router([*routes, Route("web", headers={"m": "1"})])
        return lines(router, Request("GET", "/a", "a.x", [("m", "1")]))

    assert cost(1000) == cost(10)


def test_patterns_are_tried_one_by_one() -> None:
    def cost(patterns: int) -> int:
        routes = [Route(i, path=re.compile(f"/{i}")) for i in range(patterns)]
        return lines(Router(routes), Request("GET", "/none"))

    assert 50 <= cost(200) - cost(100) <= 1000


OCTETS = [f"%{number:02X}" for number in range(256)]


@pytest.mark.parametrize("octet", OCTETS)
def test_an_octet_in_a_pattern_is_refused_if_no_path_contains_it(octet: str) -> None:
    """All octets, in both cases.  An octet from 80 to FF is a part of a character."""
    rules = PathRules("keep", "keep", "keep")
    path = compared(read_target(f"/x{octet}y", rules).path)
    for text in {octet, octet.lower()}:
        possible = text in path or (text == octet and octet >= "%80")
        for before in ("", "\\"):
            pattern = re.compile(f"/x{before}{text}y")
            if possible:
                Route("a", path=pattern)
                continue
            with pytest.raises(InvalidSetting, match=re.escape(repr(pattern.pattern))) as refused:
                Route("a", path=pattern)
            assert text in str(refused.value)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("/%40me", "write @ instead of %40"),
        ("/a%2bb", r"write \+ instead of %2b"),
        ("/(%3B|;)x", "write ; instead of %3B"),
        (r"/\%41", "write A instead of %41"),
        (r"/\[%41", "write A instead of %41"),
        ("/%2Ehidden", r"write \. instead of %2E"),
        ("/caf%c3%a9", "write %C3 instead of %c3"),
        ("/v2/library%2falpine", "write %2F instead of %2f"),
        ("(?i)/%40", "write @ instead of %40"),
        ("/%00", "no path contains %00"),
    ],
)
def test_a_pattern_that_cannot_match_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Route("guard", path=re.compile(text))
    assert str(refused.value).endswith(advice)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "/@me",
            "/caf%C3%A9",
            "/v2/library%2Falpine",
            "/a%5Cb",
            "/a%20b",
            "/%2541",
            "/100%",
            "/%4",
        ),
        *(
            "/[%41]+",
            "/[^]%41]",
            r"/[\]%40]",
            "(?i)/caf%c3%a9",
            "(?x)/a  # not %40",
            "/%7B",
            "/%zz",
            "",
        ),
    ],
)
def test_other_patterns_with_percent_signs_are_accepted(text: str) -> None:
    Route("guard", path=re.compile(text))


def test_a_guard_with_the_decoded_delimiter_holds_for_both_spellings() -> None:
    router = Router([Route("guard", path=re.compile("/@me")), Route("public")])
    for target in ("/@me", "/%40me"):
        assert router.match(Request("GET", target)).value == "guard"


def test_a_pattern_guards_one_path_with_an_encoded_slash() -> None:
    guard = Route("guard", path=re.compile(r"/v2/library%2Falpine"))
    rules = PathRules(encoded_slash="keep")
    router = Router([guard, Route("public", prefix="/v2")], path_rules=rules)
    for target, value in {
        "/v2/library%2Falpine": "guard",
        "/v2/library%2falpine": "guard",
        "/v2//librar%79%2falpine": "guard",
        "/v2/library/alpine": "public",
        "/v2/library%2Fdebian": "public",
    }.items():
        assert router.match(Request("GET", target)).value == value


@pytest.mark.parametrize("argument", ["path", "prefix"])
@pytest.mark.parametrize("text", ["/a%2fb", "/a%2Fb", "/a%5Cb", "/{x}/a%5cb/c", "/a//b"])
def test_a_route_says_how_to_match_what_a_router_may_keep(argument: str, text: str) -> None:
    arguments: dict[str, Any] = {argument: text}
    with pytest.raises(
        InvalidSetting, match=r"if the router keeps them, use .*regular expression"
    ) as refused:
        Route("a", **arguments)
    assert repr(text) in str(refused.value)
