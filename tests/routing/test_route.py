"""What no route may say, and what is made of what it may."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import Request
from balancers.routing import Route, Router


@pytest.mark.parametrize(
    ("told", "named"),
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
        ({"prefix": "/a/"}, "'/a/'"),
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
        ({"path": "/api/*"}, "say prefix= or {rest...}"),
        ({"prefix": "/**"}, "no wildcards in '/**'"),
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
        ({"host": "*." + "a" * 252}, "no host to match"),
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
def test_what_can_match_no_request_is_refused_by_name(told: Any, named: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Route("value", **told)
    assert named in str(refusal.value)


@pytest.mark.parametrize(
    "told",
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
def test_what_is_of_another_type_is_refused(told: Any) -> None:
    with pytest.raises(TypeError):
        Route("value", **told)


parts = st.text("ab{}.*%2e/x", max_size=6)


@given(st.sampled_from(["path", "prefix", "host"]), parts | st.text(max_size=8))
def test_whatever_is_taken_for_a_route_is_reached(kind: str, text: str) -> None:
    """Written down with ``x`` for what it captures, a pattern takes its own path."""
    told: Any = {kind: text if kind == "host" else f"/{text}"}
    try:
        route = Route("value", **told)
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
    ("told", "target", "taken"),
    [
        ({"prefix": "/api"}, "/api", True),
        ({"prefix": "/api"}, "/api/", True),
        ({"prefix": "/api"}, "/api/x/y", True),
        ({"prefix": "/api"}, "/apix", False),
        ({"prefix": "/api"}, "/Api", False),
        ({"prefix": "/api"}, "/x/../%61pi", True),
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
def test_what_a_path_takes(told: Any, target: str, taken: bool) -> None:
    assert bool(Router([Route(1, **told)]).match(Request("GET", target, "x"))) == taken


@pytest.mark.parametrize(
    ("host", "taken"),
    [("a.x.y", True), ("b.a.x.y:80", True), ("A.X.Y.", True), ("x.y", False), ("ax.y", False)],
)
def test_what_a_wildcard_takes(host: str, taken: bool) -> None:
    assert bool(Router([Route(1, host="*.x.y")]).match(Request("GET", "/", host))) == taken


def test_an_international_host_is_written_in_ascii_and_an_address_in_one_form() -> None:
    routes = [Route(1, host="xn--mnchen-3ya.example"), Route(2, host="[2001:DB8:0::1]")]
    router = Router(routes)
    assert router.match(Request("GET", "/", "XN--mnchen-3ya.example")).value == 1
    assert router.match(Request("GET", "/", "[2001:db8::1]:80")).value == 2


def test_a_copy_of_a_route_is_the_route() -> None:
    route = Route(["a value"], prefix="/api")
    assert deepcopy([route])[0] is route
