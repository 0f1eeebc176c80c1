"""Which conditions a route refuses, and which requests the accepted ones match."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import Request
from balancers.routing import Route, Router


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"path": "/a", "prefix": "/b"}, "'/a' and '/b'"),
        ({"path": ""}, "''"),
        ({"prefix": ""}, "''"),
        ({"path": "a/b"}, "'a/b'"),
        ({"path": "*"}, "'*'"),
        ({"path": "/a?b"}, "'/a?b'"),
        ({"path": "/a#b"}, "fragment"),
        ({"path": "/a b"}, "space"),
        ({"path": "/é"}, "non-ASCII"),
        ({"path": "/\ud800"}, "non-ASCII"),
        ({"path": "/a\\b"}, "backslash"),
        ({"path": "/a%2fb"}, "encoded slash"),
        ({"path": "/%zz"}, "bad percent-encoding"),
        ({"path": "/%00"}, "NUL"),
        ({"path": "/a/../b"}, "climbs out"),
        ({"path": "/a/./b"}, "'/a/./b' (.)"),
        ({"path": "/a/%2e"}, "'/a/%2e' (%2e)"),
        ({"path": "/a/..;/b"}, "ambiguous dot segment"),
        ({"path": "/a//b"}, "'/a//b'"),
        ({"path": "//"}, "'//'"),
        ({"path": "//{rest...}"}, "'//{rest...}'"),
        ({"prefix": "/a//"}, "'/a//'"),
        ({"prefix": "/a/./"}, "'/a/./' (.)"),
        ({"prefix": "//"}, "'//'"),
        ({"prefix": "/a/{rest...}"}, "'/a/{rest...}'"),
        ({"path": "/{rest...}/a"}, "'{rest...}'"),
        ({"path": "/a{x}"}, "'a{x}'"),
        ({"path": "/{}"}, "'{}'"),
        ({"path": "/{1}"}, "'{1}'"),
        ({"path": "/{x"}, "'{x'"),
        ({"path": "/{x..}"}, "'{x..}'"),
        ({"path": "/{x}/{x}"}, "'/{x}/{x}'"),
        ({"path": "/{x}/{x...}"}, "'/{x}/{x...}'"),
        ({"path": "/api/*"}, "use prefix= or {rest...}"),
        ({"prefix": "/**"}, "no wildcards, not '/**'"),
        ({"host": ""}, "''"),
        ({"host": "*"}, "'*'"),
        ({"host": "*."}, "'*.'"),
        ({"host": "*.*.x"}, "'*.*.x'"),
        ({"host": "a.*.x"}, "'a.*.x'"),
        ({"host": "*a.x"}, "'*a.x'"),
        ({"host": "a.x:80"}, "'a.x:80'"),
        ({"host": "*.a.x:80"}, "'*.a.x:80'"),
        ({"host": "[::1]:80"}, "'[::1]:80'"),
        ({"host": "*.[::1]"}, "'*.[::1]'"),
        ({"host": "::1"}, "'::1'"),
        ({"host": "münchen.example"}, "münchen"),
        ({"host": "*." + "a" * 252}, "host must be a host name"),
        ({"methods": [""]}, "''"),
        ({"methods": ["GET "]}, "'GET '"),
        ({"methods": [7]}, "7"),
        ({"headers": {"": "1"}}, "''"),
        ({"headers": {"a b": "1"}}, "'a b'"),
        ({"headers": {7: "1"}}, "7"),
        ({"headers": {"a": 7}}, "7"),
        ({"headers": {"a": False}}, "False"),
        ({"headers": {"a": None}}, "None"),
        ({"methods": ["GET", "CONNECT"]}, "'CONNECT'"),
        ({"headers": {"a": " 1"}}, "' 1'"),
        ({"headers": {"a": "1\n"}}, "'1\\n'"),
        ({"headers": {"a": "€"}}, "'€'"),
        ({"headers": {"A": "1", "a": "2"}}, "'a'"),
        ({"headers": {"Cookie": "a=1"}}, "cookies="),
        ({"headers": {"Host": "a.x"}}, "host="),
        ({"cookies": {"a=": "1"}}, "'a='"),
        ({"cookies": {"a": "1;"}}, "'1;'"),
        ({"cookies": {"a": '"1"'}}, '"1"'),
        ({"cookies": {"a": " 1"}}, "' 1'"),
        ({"query": {"": "1"}}, "''"),
        ({"query": {"a": "\ud800"}}, "ud800"),
        ({"query": {"\ud800": "1"}}, "ud800"),
    ],
)
def test_a_condition_that_no_request_meets_is_refused_with_its_value(
    arguments: Any, named: str
) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Route("value", **arguments)
    assert named in str(refusal.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"methods": "GET"},
        {"methods": b"GET"},
        {"methods": 7},
        {"path": b"/a"},
        {"prefix": 7},
        {"host": b"a.x"},
        {"headers": "a=1"},
        {"query": [("a", "1")]},
    ],
)
def test_a_value_of_another_type_is_refused(arguments: Any) -> None:
    with pytest.raises(TypeError):
        Route("value", **arguments)


parts = st.text("ab{}.*%2e/x", max_size=6)


@given(st.sampled_from(["path", "prefix", "host"]), parts | st.text(max_size=8))
def test_an_accepted_route_is_reachable(kind: str, text: str) -> None:
    """With ``x`` in place of each capture, a pattern matches its own text."""
    arguments: Any = {kind: text if kind == "host" else f"/{text}"}
    try:
        route = Route("value", **arguments)
    except InvalidSetting:
        return
    path = "/" + "/".join("x" if part is None else part for part in route.segments)
    path += "/x" if route.ending == "rest" else ""
    host = "" if route.host is None else route.host.replace("*", "x")
    assert Router([route]).match(Request("GET", path, host)).value == "value"


def test_captures_are_decoded_and_a_rest_may_be_empty() -> None:
    router = Router([Route("file", path="/{user}/files/{rest...}")])

    def captured(target: str) -> dict[str, str]:
        return router.match(Request("GET", target)).captures

    assert captured("/a%20b/files/x%3Fy//z%25/") == {"user": "a b", "rest": "x?y/z%/"}
    assert captured("/%C3%A9/files/") == {"user": "é", "rest": ""}
    assert not router.match(Request("GET", "/a/files"))
    assert not router.match(Request("GET", "//files/x"))


@pytest.mark.parametrize(
    ("arguments", "target", "matches"),
    [
        ({"prefix": "/api"}, "/api", True),
        ({"prefix": "/api"}, "/api/", True),
        ({"prefix": "/api"}, "/api/x/y", True),
        ({"prefix": "/api"}, "/apix", False),
        ({"prefix": "/api"}, "/Api", False),
        ({"prefix": "/api"}, "/x/../%61pi", True),
        ({"prefix": "/api/"}, "/api", True),
        ({"prefix": "/api/"}, "/api/", True),
        ({"prefix": "/api/"}, "/api/x/y", True),
        ({"prefix": "/api/"}, "/apix", False),
        ({"prefix": "/{tenant}/"}, "/acme", True),
        ({"prefix": "/{tenant}/"}, "/", False),
        ({"prefix": "/"}, "/", True),
        ({"prefix": "/"}, "/x/y", True),
        ({"prefix": "/{tenant}/api"}, "/acme/api/x", True),
        ({"prefix": "/{tenant}/api"}, "/acme", False),
        ({"path": "/api"}, "/api/", False),
        ({"path": "/api/"}, "/api", False),
        ({"path": "/api/"}, "/api//", True),
        ({"path": "/"}, "/", True),
        ({"path": "/"}, "/x", False),
        ({"path": "/a|b"}, "/a%7cb", True),
        ({"path": "/%7Bx%7D"}, "/{x}", True),
        ({"path": "/{x}"}, "/", False),
        ({"path": "/{x}"}, "/a/", False),
        ({"path": "/{x...}"}, "/", True),
        ({"host": "*.x"}, "/", False),
        ({"host": "A.X."}, "/", False),
    ],
)
def test_which_paths_match(arguments: Any, target: str, matches: bool) -> None:
    assert bool(Router([Route(1, **arguments)]).match(Request("GET", target, "x"))) == matches


def test_a_final_slash_of_a_prefix_is_ignored() -> None:
    one, two = Route("v", prefix="/api/{x}/"), Route("v", prefix="/api/{x}")
    assert (one.prefix, one.rank, one.conditions) == (two.prefix, two.rank, two.conditions)
    assert repr(one) == repr(two)
    with pytest.raises(InvalidSetting, match="never reached behind"):
        Router([one, two])


@pytest.mark.parametrize(
    ("host", "matches"),
    [("a.x.y", True), ("b.a.x.y:80", True), ("A.X.Y.", True), ("x.y", False), ("ax.y", False)],
)
def test_which_hosts_match_a_wildcard(host: str, matches: bool) -> None:
    assert bool(Router([Route(1, host="*.x.y")]).match(Request("GET", "/", host))) == matches


def test_hosts_are_matched_in_their_normalised_form() -> None:
    routes = [Route(1, host="xn--mnchen-3ya.example"), Route(2, host="[2001:DB8:0::1]")]
    router = Router(routes)
    assert router.match(Request("GET", "/", "XN--mnchen-3ya.example")).value == 1
    assert router.match(Request("GET", "/", "[2001:db8::1]:80")).value == 2


def test_a_copy_of_a_route_is_the_same_object() -> None:
    route = Route(["a value"], prefix="/api")
    assert deepcopy([route])[0] is route


@pytest.mark.parametrize("name", Route.__slots__)
def test_a_route_is_immutable(name: str) -> None:
    route = Route("a", host="a.example", path="/{x}", headers={"n": "1"})
    shown = repr(route)
    with pytest.raises(AttributeError, match=f"immutable: {name} cannot be deleted"):
        delattr(route, name)
    with pytest.raises(AttributeError, match=f"immutable: {name} cannot be set"):
        setattr(route, name, getattr(route, name))
    assert repr(route) == shown
