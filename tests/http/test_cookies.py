"""Cookies: any header is parsed in one pass; nothing ambiguous is written."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import cookie, cookies, set_cookie
from balancers.http.cookies import cookie_values, path_covers
from tests.work import work_of

NAMES = st.sampled_from(["a", "b", "ab", "aa", "session-server"])
HEADERS = st.text("ab= ;\t\",'$", max_size=40) | st.text(max_size=60)
VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='";,\\'), max_size=9
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.sampled_from(["; ", ";", " ;\t", ";;"]))
def test_cookies_are_parsed_and_the_first_of_a_name_is_used(
    pairs: list[tuple[str, str]], between: str
) -> None:
    expected = dict(reversed(pairs))
    assert cookies(between.join(f"{name}={value}" for name, value in pairs)) == expected


@given(HEADERS, NAMES)
@example("a = 1", "a")
@example("b=a=1; a=2", "a")
@example('a=" x "', "a")
@example("a;a=1", "a")
@example("aa=1;a=2", "a")
def test_one_cookie_equals_that_of_the_complete_parse(header: str, name: str) -> None:
    assert cookie(header, name) == cookies(header).get(name)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), NAMES)
def test_every_cookie_of_a_name_is_returned_in_order(
    pairs: list[tuple[str, str]], wanted: str
) -> None:
    header = "; ".join(f"{name}={value}" for name, value in pairs)
    assert list(cookie_values(header, wanted)) == [v for name, v in pairs if name == wanted]


@given(HEADERS)
def test_no_header_raises(header: str) -> None:
    for name, value in cookies(header).items():
        assert name
        assert ";" not in name + value
        assert name == name.strip(" \t")


def test_a_header_of_64_kilobytes_and_hundreds_of_cookies() -> None:
    header = "; ".join(f"cookie-{number}={'x' * 100}" for number in range(600))
    header += '; session-server="the token"; session-server=another'
    assert len(header) > 1 << 16
    assert cookie(header, "session-server") == cookies(header)["session-server"] == "the token"
    assert len(cookies(header)) == 601
    assert cookie(header, "session") is None


@pytest.mark.parametrize(
    "piece",
    ["session-server ", "session-server", " ", ";", "=", "; session-server", ";\tsession-server ",
     "a=session-server;", '"', "session-server session-server=", "s"],
)  # fmt: skip
@pytest.mark.parametrize(
    "read", [cookies, partial(cookie, name="session-server")], ids=["every", "by name"]
)
def test_parsing_takes_one_pass(read: Callable[[str], object], piece: str) -> None:
    """Compares the lines of code run at one length and at twice that length."""
    work, double = work_of(partial(read, piece * 2000)), work_of(partial(read, piece * 4000))
    assert double.lines <= 2.1 * work.lines + 10


def test_a_set_cookie_with_every_attribute_and_one_with_none() -> None:
    written = set_cookie(
        "id", "42", path="/shop", domain="shop.example", max_age=60, same_site="Strict"
    )
    assert written == (
        "id=42; Path=/shop; Domain=shop.example; Max-Age=60; HttpOnly; Secure; SameSite=Strict"
    )
    bare = set_cookie("id", "", http_only=False, secure=False, same_site=None)
    assert bare == "id=; Path=/"
    assert set_cookie("__Host-id", "1").startswith("__Host-id=1; Path=/; HttpOnly; Secure")
    assert "Max-Age=0" in set_cookie("id", "", max_age=0)


def test_a_partitioned_cookie_and_further_attributes() -> None:
    """Partitioned needs Secure, and nothing else: not the path, the domain or SameSite."""
    attributes = {"Priority": "High", "Later": None, "X": 'a="b, c"'}
    written = set_cookie("id", "42", same_site="None", partitioned=True, attributes=attributes)
    assert written == (
        "id=42; Path=/; HttpOnly; Secure; SameSite=None; Partitioned; "
        'Priority=High; Later; X=a="b, c"'
    )
    others: list[dict[str, Any]] = [{"path": "/shop"}, {"domain": "a.b"}, {"same_site": None}]
    for settings in others:
        assert set_cookie("id", "1", partitioned=True, **settings).endswith("; Partitioned")
    with pytest.raises(InvalidSetting, match="partitioned"):
        set_cookie("id", "1", partitioned=True, secure=False)
    assert set_cookie("id", "1", attributes={}) == set_cookie("id", "1")


@pytest.mark.parametrize(
    ("name", "missing"),
    [("__Http-id", {"http_only": False}), ("__HTTP-id", {"secure": False}),
     ("__Host-Http-id", {"http_only": False}), ("__host-http-id", {"secure": False}),
     ("__Host-Http-id", {"path": "/shop"}), ("__HOST-HTTP-id", {"domain": "a.example"})],
)  # fmt: skip
def test_the_prefixes_that_require_http_only(name: str, missing: dict[str, Any]) -> None:
    assert set_cookie(name, "1") == f"{name}=1; Path=/; HttpOnly; Secure; SameSite=Lax"
    with pytest.raises(InvalidSetting, match=name):
        set_cookie(name, "1", **missing)
    assert set_cookie(f"x{name}", "1", **missing)


INJECTIONS = [
    "a;b",
    "a\r\nSet-Cookie: x=y",
    "a\nb",
    "a\rb",
    "a\0b",
    "a\x7fb",
    "a\tb",
    "é",
    "\ud800",
]


@pytest.mark.parametrize("text", [*INJECTIONS, "a b", 'a"b', "a,b", "a\\b", "a\n"])
def test_a_value_or_name_cannot_inject_anything(text: str) -> None:
    with pytest.raises(InvalidSetting, match="value must be") as refusal:
        set_cookie("id", text)
    assert len(text) == 1 or repr(text) not in str(refusal.value), "a value may be a secret"
    with pytest.raises(InvalidSetting) as refusal:
        set_cookie(text, "1")
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize("text", [*INJECTIONS, "", "shop", "a\n", " /"])
def test_a_path_or_domain_cannot_inject_anything(text: str) -> None:
    with pytest.raises(InvalidSetting):
        set_cookie("id", "1", path="/" + text if text in INJECTIONS else text)
    if text != "shop":
        with pytest.raises(InvalidSetting):
            set_cookie("id", "1", domain=text)


INVALID: list[dict[str, Any]] = [
    {"name": ""}, {"name": "a=b"}, {"name": None}, {"value": None}, {"value": b"1"},
    {"domain": "a..b"}, {"domain": "-a"}, {"domain": "a.-b"},
    {"path": "/a "}, {"domain": "a/b"}, {"domain": "a:80"},
    {"max_age": -1}, {"max_age": 1.5}, {"max_age": True}, {"max_age": "60"},
    {"same_site": "lax"}, {"same_site": "Lax; Domain=evil"}, {"same_site": ""},
    {"same_site": "None", "secure": False},
    {"name": "__Secure-a", "secure": False}, {"name": "__Host-a", "secure": False},
    {"name": "__Host-a", "path": "/a"}, {"name": "__host-a", "domain": "a.example"},
]  # fmt: skip


@pytest.mark.parametrize("invalid", INVALID, ids=str)
def test_a_cookie_that_browsers_refuse_is_refused(invalid: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"name": "id", "value": "1", **invalid}
    with pytest.raises(InvalidSetting):
        set_cookie(**settings)


@given(st.text(), st.text(), st.text(), st.text())
def test_a_set_cookie_is_one_line_with_the_given_parts(
    name: str, value: str, path: str, domain: str
) -> None:
    try:
        written = set_cookie(name, value, path=path, domain=domain)
    except InvalidSetting:
        return
    assert written.isprintable()
    assert written.split("; ")[:3] == [f"{name}={value}", f"Path={path}", f"Domain={domain}"]
    assert cookies(written.partition(";")[0]) == {name: value}


@pytest.mark.parametrize(
    ("path", "target", "covers"),
    [("/", "/", True), ("/", "/a?b", True), ("/a", "/a", True), ("/a", "/a/", True),
     ("/a", "/a/b", True), ("/a", "/a?b", True), ("/a", "/ab", False), ("/a/", "/a", False),
     ("/a/", "/a/b", True), ("/a", "/", False), ("/a", "/b/a", False), ("/", "*", False),
     ("/a", "http://x.example/a?b=/", True), ("/a", "HTTPS://x.example:1/ab", False),
     ("/", "http://x.example?/a", True), ("/a", "http://x.example?/a", False)],
)  # fmt: skip
def test_which_targets_a_cookie_path_covers(path: str, target: str, covers: bool) -> None:
    assert path_covers(path, target) == covers
