"""Equivalent paths get one normalised form; targets that servers read differently are refused."""

import pickle
import re
from copy import deepcopy
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import Path, PathRules, read_target
from balancers.http.hosts import read_host
from tests.work import work_of

NORMAL = re.compile(
    r"(?:/(?:[0-9A-Za-z\-._~!$&'()*+,;=:@]|%[0-9A-F]{2})+)+/?|/",
)
UNRESERVED = "abcxyzABC019-._~"
PIECES = [
    *("/", "//", ".", "..", "a", "b", "%2e", "%2E", "%41", "%7e", "%2f", "%5C", "%00", "%25"),
    *("%252e", "%c3%a9", "%C0%AF", "%ff", "%", "%4", "%zz", ";", "\\", "\0", "\x7f", " ", "é"),
    *("?", "#", "|", "{", "%3f", "%C2%85", "*", ":", "@", "http://", "h:80", "\ud800"),
]

targets = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
any_targets = targets | targets.map("/".__add__) | st.text(max_size=30)


@given(any_targets)
def test_a_target_is_either_accepted_or_refused(target: str) -> None:
    read = read_target(target)
    assert bool(read.path) != bool(read.reason)
    assert read.query == target.partition("?")[2]
    if read.path:
        assert NORMAL.fullmatch(read.path)
        assert not {".", "..", "%2E"} & {*read.path.split("/")}


@given(any_targets)
def test_a_normalised_path_is_unchanged(target: str) -> None:
    read = read_target(target)
    if read.path:
        assert read_target(read.path) == Path(read.path, "")


segments = st.lists(
    st.text(UNRESERVED, min_size=1).filter(lambda text: not text.startswith(".")), min_size=1
)


@given(segments, st.randoms(use_true_random=False), st.sampled_from(["", "/"]))
def test_every_spelling_of_a_path_is_normalised_to_the_same(
    names: list[str], rng: Random, slash: str
) -> None:
    def disguised(character: str) -> str:
        octet = f"%{ord(character):02x}"
        return rng.choice([character, character, octet, octet.upper()])

    target = ""
    for name in names:
        target += rng.choice(["/", "/./", "//", "/%2e/", "/away/../", "/x/%2E./", "///./"])
        target += "".join(disguised(character) for character in name)
    target += slash and rng.choice(["/", "/.", "/%2e", "/gone/..", "//"])
    assert read_target(target) == Path("/" + "/".join(names) + slash, "")


def decoded(path: bytes) -> bytes:
    return unquote_to_bytes(path)


def merged(path: bytes) -> bytes:
    return re.sub(rb"/+", b"/", path)


def without_dots(path: bytes) -> bytes:
    stack: list[bytes] = []
    parts = path.split(b"/")[1:]
    for part in parts:
        if part == b"..":
            stack = stack[:-1]
        elif part != b".":
            stack.append(part)
    last = parts[-1] in {b".", b".."}
    return b"/" + b"/".join([*stack, b""] if last and stack else stack)


SERVERS = [
    (decoded, merged, without_dots),
    (merged, decoded, without_dots),
    (decoded, without_dots, merged),
]


@given(targets.map("/".__add__))
def test_an_accepted_target_means_the_same_in_every_order_of_normalisation(
    target: str,
) -> None:
    read = read_target(target)
    if read.reason:
        return
    for server in SERVERS:
        path = target.partition("?")[0].encode()
        for step in server:
            path = step(path)
        assert path == unquote_to_bytes(read.path)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("", "empty"),
        ("*", "asterisk-form"),
        ("example.com:443", "authority-form"),
        ("[::1]:443", "authority-form"),
        ("index.html", "no path"),
        ("ftp://example.com/", "no path"),
        ("http:///x", "no path"),
        ("?a=1", "empty"),
        ("http://user@example.com/", "userinfo"),
        ("/a#b", "fragment"),
        ("/a?b#c", "fragment"),
        ("/a\0", "NUL"),
        ("/a%00b", "NUL"),
        ("/a?b\0", "NUL"),
        ("/a\r\nHost: b", "control character"),
        ("/a%0d%0aHost:%20b", "control character"),
        ("/a%7f", "control character"),
        ("/a%C2%85", "control character"),
        ("/a b", "space"),
        ("/a?b c", "space"),
        ("/é", "non-ASCII"),
        ("/\ud800", "non-ASCII"),
        ("/\uff0e\uff0e/", "non-ASCII"),
        ("/a\\b", "backslash"),
        ("/a%2fb", "encoded slash"),
        ("/a%2F..%2Fb", "encoded slash"),
        ("/a%5cb", "encoded backslash"),
        ("/%", "bad percent-encoding"),
        ("/%4", "bad percent-encoding"),
        ("/%zz", "bad percent-encoding"),
        ("/%u002e", "bad percent-encoding"),
        ("/%FF", "no UTF-8"),
        ("/%c0%af", "no UTF-8"),
        ("/%ed%a0%80", "no UTF-8"),
        ("/..", "climbs out"),
        ("/a/../..", "climbs out"),
        ("/%2e%2E/etc/passwd", "climbs out"),
        ("http://example.com/../a", "climbs out"),
        ("/a//../b", "ambiguous dot segment"),
        ("//../b", "ambiguous dot segment"),
        ("/a/..;/b", "ambiguous dot segment"),
        ("/a/..%3bx/b", "ambiguous dot segment"),
        ("/a/.%3B/b", "ambiguous dot segment"),
        ("/a/..;x=1/b", "ambiguous dot segment"),
        ("/a/.;/b", "ambiguous dot segment"),
        ("/admin;x/users", "path parameter"),
        ("/;x/admin/users", "path parameter"),
        ("/admin%3Bx/users", "path parameter"),
        ("/admin%3bx/users", "path parameter"),
        ("/a;v=1", "path parameter"),
        ("/a;", "path parameter"),
        ("/;", "path parameter"),
        ("/a;x/..", "path parameter"),
        ("/;x/../b", "path parameter"),
        ("http://a.x/;", "path parameter"),
    ],
)
def test_refused_targets(target: str, reason: str) -> None:
    read = read_target(target)
    assert (read.path, read.reason) == ("", reason)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/.", "/"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a/", "/a/"),
        ("/...", "/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/%24%3a", "/%24%3A"),
        ("/$:", "/$:"),
        ("/%252e%252e/", "/%252e%252e/"),
        ("/a|b", "/a%7Cb"),
        ("/a%7cb", "/a%7Cb"),
        ("/{x}", "/%7Bx%7D"),
        ("/a%3Fb", "/a%3Fb"),
        ("/a+b", "/a+b"),
        ("//example.com/a", "/example.com/a"),
    ],
)
def test_accepted_targets(target: str, path: str) -> None:
    assert read_target(target) == Path(path, "")


Given = dict[str, Any]
STRIP, KEEP = {"parameters": "strip"}, {"parameters": "keep"}
SLASH, BACKSLASH = {"encoded_slash": "keep"}, {"encoded_backslash": "keep"}
EMPTY, NO_EMPTY = {"repeated_slashes": "keep"}, {"repeated_slashes": "refuse"}


@pytest.mark.parametrize(
    ("rules", "target", "result"),
    [
        (STRIP, "/admin;x/users", "/admin/users"),
        (STRIP, "/admin%3bx/users", "/admin/users"),
        (STRIP, "/;x/admin/users", "/admin/users"),
        (STRIP, "/a;x;y/b;", "/a/b"),
        (STRIP, "/a/;x", "/a/"),
        (STRIP, "/;", "/"),
        (STRIP, "/a/b/..;x/c", "/a/c"),
        (STRIP, "/a/b/.%3Bx/c", "/a/b/c"),
        (STRIP, "/a/b/%2e.;x", "/a/"),
        (STRIP, "/..;x/a", "climbs out"),
        (STRIP, "/a/;x/../b", "ambiguous dot segment"),
        (STRIP | NO_EMPTY, "/;x/a", "empty segment"),
        (STRIP | EMPTY, "/;x/a;/;", "//a/"),
        (STRIP, "/a%253Bx", "/a%253Bx"),
        (KEEP, "/a;x/b%3bx", "/a;x/b%3Bx"),
        (KEEP, "/a;x/../b", "/b"),
        (KEEP, "/..;x/a", "ambiguous dot segment"),
        (KEEP, "/b/..%3b/a", "ambiguous dot segment"),
        (KEEP, "/a/.;/b", "ambiguous dot segment"),
        (KEEP, "/a/;x/../b", "ambiguous dot segment"),
        (KEEP, "/...;x", "/...;x"),
        (SLASH, "/v2/library%2falpine", "/v2/library%2Falpine"),
        (SLASH, "/%2F", "/%2F"),
        (SLASH, "/a%5cb", "encoded backslash"),
        (SLASH, "/a\\b", "backslash"),
        (SLASH, "/a/..%2fb", "ambiguous dot segment"),
        (SLASH, "/a/b%2f..", "ambiguous dot segment"),
        (SLASH, "/a/%2e%2e%2f", "ambiguous dot segment"),
        (SLASH, "/a/b%2f.%2fc", "ambiguous dot segment"),
        (SLASH, "/a/b%2f.%2ec%2fd", "/a/b%2F..c%2Fd"),
        (SLASH, "/a%2Fb/../c", "ambiguous dot segment"),
        (SLASH | KEEP, "/a%2F..;x%2Fb", "ambiguous dot segment"),
        (SLASH | STRIP, "/a;x%2F../b", "/a/b"),
        (SLASH | BACKSLASH, "/a%5C..%2Fb", "ambiguous dot segment"),
        (BACKSLASH, "/a%5cb", "/a%5Cb"),
        (BACKSLASH, "/a\\b", "backslash"),
        (BACKSLASH, "/a%2fb", "encoded slash"),
        (BACKSLASH, "/..%5cb", "ambiguous dot segment"),
        (BACKSLASH, "/a%5cb/../c", "ambiguous dot segment"),
        (NO_EMPTY, "/a//b", "empty segment"),
        (NO_EMPTY, "//", "empty segment"),
        (NO_EMPTY, "/a/", "/a/"),
        (NO_EMPTY, "/", "/"),
        (NO_EMPTY, "/a/./b/..", "/a/"),
        (NO_EMPTY, "//../b", "ambiguous dot segment"),
        (EMPTY, "//a///b//", "//a///b//"),
        (EMPTY, "/a//.", "/a//"),
        (EMPTY, "/.", "/"),
        (EMPTY, "/a/..", "/"),
        (EMPTY, "/a//../b", "ambiguous dot segment"),
        (EMPTY, "/a/..//b", "//b"),
    ],
)
def test_the_rules_of_a_path(rules: Given, target: str, result: str) -> None:
    read = read_target(target, PathRules(**rules))
    assert (read.path or read.reason) == result
    if read.path:
        assert read_target(read.path, PathRules(**rules)) == Path(result, "")


def test_a_parent_that_servers_split_is_ambiguous() -> None:
    """A server that decodes first reads /a/b/../c as /a/c, and one that does not as /c."""
    rules = PathRules(encoded_slash="keep", encoded_backslash="keep", parameters="keep")
    for parent in ("a%2Fb", "a%5cb", "%2F", ";x", "%3Bx"):
        assert read_target(f"/{parent}/../c", rules).reason == "ambiguous dot segment"
        assert read_target(f"/{parent}/c/../d", rules).path


@pytest.mark.parametrize(
    "name", ["parameters", "encoded_slash", "encoded_backslash", "repeated_slashes"]
)
@pytest.mark.parametrize("value", ["", "Keep", "drop", True, None, 1, b"keep", float("nan")])
def test_a_rule_is_one_of_its_values(name: str, value: object) -> None:
    arguments: Given = {name: value}
    with pytest.raises(InvalidSetting, match=f"^{name} must be .* not {value!r}$"):
        PathRules(**arguments)


def test_rules_are_values() -> None:
    rules = PathRules(parameters="keep")
    assert pickle.loads(pickle.dumps(rules)) == rules == deepcopy(rules)  # noqa: S301 - own pickle
    assert len({rules, PathRules(parameters="keep"), PathRules()}) == 2
    assert eval(repr(rules)) == rules  # noqa: S307 - the repr evaluates to equal rules
    with pytest.raises(AttributeError):
        rules.parameters = "strip"  # type: ignore[misc]  # the assignment is the test


def test_the_query_is_split_off_first_and_unchanged() -> None:
    assert read_target("/a?b/../%2f\\%zz?c") == Path("/a", "b/../%2f\\%zz?c")


def test_the_host_of_an_absolute_form_is_returned() -> None:
    read = read_target("HTTP://Example.com:80/a/../b?c")
    assert read == Path("/b", "c", "", "Example.com:80")
    assert read_target("https://example.com?c") == Path("/", "c", "", "example.com")


def test_the_cost_is_linear() -> None:
    for piece in ("/../a", "/a", "%41", "/%2e/", "//", "%c3%a9", "|"):
        lines = [work_of(partial(read_target, "/a" + piece * n)).lines for n in (1000, 2000, 4000)]
        assert all(after <= 2.1 * before + 20 for before, after in pairwise(lines)), piece


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("", ""),
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("example.com:443", "example.com"),
        ("example.com.:443", "example.com"),
        ("example.com:", "example.com"),
        ("a_b.example", "a_b.example"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[0:0::1]:80", "[::1]"),
        ("[::1]x", None),
        ("[::1%25eth0]", None),
        ("[::1%eth0]:80", None),
        ("[1.2.3.4]", None),
        ("[::1", None),
        ("::1", None),
        ("example.com:65536", None),
        ("example.com:8o", None),
        ("example.com:٣", None),
        ("a..b", None),
        (".", None),
        (".a", None),
        ("a b", None),
        ("a,b", None),
        ("*.example.com", None),
        ("user@example.com", None),
        ("\u212aelvin", None),
        ("a\n", None),
        ("a" * 254, None),
        ("\ud800", None),
    ],
)
def test_the_normalised_form_of_a_host(authority: str, host: str | None) -> None:
    assert read_host(authority) == host


@given(st.text("a.:[]0123*%A- ", max_size=12) | st.text(max_size=12))
def test_a_normalised_host_is_unchanged(authority: str) -> None:
    host = read_host(authority)
    assert host is None or read_host(host) == host
