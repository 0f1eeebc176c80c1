"""Hostile targets: each is refused with its reason, at a cost that is linear in its length."""

from functools import partial
from itertools import pairwise, product
from typing import Any

import pytest

from balancers.http import PathRules, read_target
from tests.work import work_of

PARAMETERS = [
    *("/admin;x/users", "/;x/admin/users", "/admin%3Bx/users", "/admin%3bx/users", "/;/admin"),
    *("/admin;/users", "/%3b/admin", "/a/;/b", "/;", "/;;", "/a;", "/a;=", "/a;jsessionid=1"),
    *("/a;..", "/a;/..", "/a;%2e%2e", "/a;a=1;b=2/c", "http://a.x/;x/admin", "http://a.x/a;x"),
]
DOTS = [
    *("/..;/admin", "/..;x/admin", "/a/..;/b", "/a/.;/b", "/a/%2e%2e;/b", "/a/%2e.;x/b"),
    *("/a/..%3b/b", "/a/..%3B;/b", "/a/.%3bx/b", "//../a", "/a//../b", "/a//%2e%2e/b"),
]
OUTSIDE = [
    *("/..", "/../", "/../a", "/%2e%2e/a", "/.%2E/a", "/a/../../b", "/./../a", "/a/%2e%2e/%2e%2e"),
    *("http://a.x/..", "http://a.x/%2e%2e/a"),
]
ENCODED = ["/a%2fb", "/%2F", "/a/..%2fb", "/%2e%2e%2f", "/a%2f..%2fb", "/%2f%2fa.x/"]
OTHERS: dict[str, list[str]] = {
    "encoded backslash": ["/a%5cb", "/..%5Cb", "/%5c%5Ca"],
    "backslash": ["/a\\b", "/..\\b", "/\\\\a.x/"],
    "NUL": ["/\0", "/a%00", "/a%00.html", "/?\0"],
    "control character": ["/\r\n", "/%0d%0aA:b", "/a%7f", "/a\t", "/?a\x1f", "/%C2%85"],
    "space": ["/ ", "/a b", "/a HTTP/1.1"],
    "non-ASCII": ["/é", "/\uff0e\uff0e/", "/\u2215", "/\ud800", "/\u202e"],
    "no UTF-8": ["/%ff", "/%c0%ae%c0%ae/", "/%c0%af", "/%e0%80%af", "/%ed%a0%80", "/%f5%80%80%80"],
    "bad percent-encoding": ["/%", "/%2", "/%zz", "/%u002e", "/%%32%65", "/%+1", "/%-1"],
    "fragment": ["/#", "/a#/../b", "/a?b#c"],
    "userinfo": ["http://a@b.x/", "http://a:b@c.x/", "http://@/"],
    "empty": ["", "?", "?a"],
    "asterisk-form": ["*"],
    "authority-form": ["a.x:80", "[::1]:80"],
    "no path": [
        "a",
        "a/b",
        "//".strip("/") + "x",
        "ftp://a.x/",
        "http:/a",
        "http:a",
        "javascript:a",
    ],
}
BATTERY = [
    *(("path parameter", target) for target in PARAMETERS),
    *(("ambiguous dot segment", target) for target in DOTS),
    *(("climbs out", target) for target in OUTSIDE),
    *(("encoded slash", target) for target in ENCODED),
    *((reason, target) for reason, targets in OTHERS.items() for target in targets),
]  # fmt: skip
ALL: Any = product(
    ("refuse", "keep", "strip"),
    ("refuse", "keep"),
    ("refuse", "keep"),
    ("merge", "refuse", "keep"),
)
RULES = [PathRules(*values) for values in ALL]
LENIENT = PathRules("keep", "keep", "keep", "keep")


@pytest.mark.parametrize(("reason", "target"), BATTERY)
def test_a_hostile_target_is_refused_with_its_reason(reason: str, target: str) -> None:
    read = read_target(target)
    assert (read.path, read.reason) == ("", reason)


@pytest.mark.parametrize(
    "target", [*OUTSIDE, *DOTS, *(f"/a{one}" for one in ENCODED if ".." in one)]
)
def test_no_rule_accepts_a_dot_segment_that_some_servers_miss(target: str) -> None:
    """With one exception: without its parameter, it is a dot segment for all servers."""
    for rules in RULES:
        read = read_target(target, rules)
        if rules.parameters == "strip" and read.path:
            assert ";" in target or "%3b" in target.lower()
            assert read_target(read.path) == read
        else:
            assert read.reason


ALWAYS = [
    target for reason, targets in OTHERS.items() if "encoded" not in reason for target in targets
]


@pytest.mark.parametrize("target", ALWAYS)
def test_the_rules_accept_nothing_else(target: str) -> None:
    wanted = read_target(target)
    assert {read_target(target, rules) for rules in RULES} == {wanted}


BOMBS = [
    *(
        "/",
        "a",
        "/a",
        ";",
        "/;",
        "/a;x",
        "%3B",
        "/%3b",
        "%2f",
        "%5c",
        "%2e",
        "/../a",
        "/./",
        "/..;",
    ),
    *("/..;/", "%2f..", "%25", "%c3%a9", "%c3", "%", "|", "/a%2f", "//..", "\\", ".%2f", "?", "\0"),
]


@pytest.mark.parametrize("piece", BOMBS)
def test_the_cost_of_a_long_target_is_linear(piece: str) -> None:
    for rules in (PathRules(), PathRules("strip"), LENIENT):
        counts = [
            work_of(partial(read_target, "/a" + piece * n, rules)).lines for n in (200, 400, 800)
        ]
        assert all(after <= 2.1 * before + 40 for before, after in pairwise(counts)), counts


@pytest.mark.parametrize("piece", ["/", "/a;x", "/..;/", "/../a", "%2f", ".%2f", "%c3%a9", "//.."])
def test_a_target_of_many_segments_and_characters_is_read(piece: str) -> None:
    for rules in (PathRules(), PathRules("strip"), LENIENT):
        read = read_target("/" + piece * (100_000 // len(piece)), rules)
        assert bool(read.path) != bool(read.reason)
        assert read.path == "" or read_target(read.path, rules).path == read.path


def test_ten_thousand_parameters_are_removed() -> None:
    target = "/a;x%3By;z" * 10_000
    assert read_target(target).reason == "path parameter"
    assert read_target(target, PathRules("strip")).path == "/a" * 10_000
    assert read_target("/;x" * 10_000, PathRules("strip")).path == "/"
    assert (
        read_target("/;x" * 10_000, PathRules("strip", repeated_slashes="keep")).path
        == "/" * 10_000
    )


WRONG: list[Any] = [
    "",
    "KEEP",
    "keep ",
    b"keep",
    None,
    True,
    0,
    1.5,
    float("nan"),
    [],
    {},
    "merge\0",
]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("place", range(4))
def test_rules_of_another_value_are_refused_and_named(place: int, value: Any) -> None:
    values: list[Any] = ["refuse"] * 4
    values[place] = value
    with pytest.raises(ValueError, match="must be") as refusal:
        PathRules(*values)
    assert repr(value) in str(refusal.value)


@pytest.mark.parametrize("target", ["/a", "/%61", "", "*", "/;x", "/a//b", "/a b", "http://h/a"])
@pytest.mark.parametrize("rules", [None, {}, "keep", PathRules])
def test_rules_of_another_type_are_refused_with_every_target(target: str, rules: Any) -> None:
    with pytest.raises(TypeError, match="rules must be PathRules, not"):
        read_target(target, rules)
