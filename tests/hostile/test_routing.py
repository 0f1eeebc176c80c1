"""Hostile requests for a router: no secret in a message, no error, and a cost that is linear."""

import re
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest

from balancers.http import PathRules, Request
from balancers.routing import Match, Route, Router
from balancers.routing._conditions import is_secret
from tests.work import work_of

SENT = "s3cr3t-0f-a-cl1ent"
CASES: list[tuple[dict[str, Any], dict[str, str], str]] = [
    *(
        ({"headers": {name: "x"}}, {name: SENT}, "")
        for name in (
            *("Authorization", "authorization", "Proxy-Authorization", "X-Auth", "X-Api-Key"),
            *("X-Token", "X-Access-Token", "X-Amz-Security-Token", "X-CSRF-Token", "X-Secret"),
            *("X-Password", "X-Session-Id", "Set-Cookie", "Cookie2", "X-Signature", "X-JWT"),
        )
    ),
    ({"cookies": {"beta": "x"}}, {"Cookie": f"beta={SENT}"}, ""),
    ({"cookies": {"sid": "x", "a": "1"}}, {"Cookie": f"a=1; sid={SENT}"}, ""),
    ({"query": {"access_token": "x"}}, {}, f"access_token={SENT}"),
    ({"query": {"apiKey": "x"}}, {}, f"apiKey={SENT}"),
]


def matched(routes: list[Route[str]], headers: dict[str, str], query: str) -> Match[str]:
    return Router(routes).match(Request("GET", f"/?{query}", "a.x", [*headers.items()]))


def with_values(arguments: dict[str, Any], value: Any) -> dict[str, Any]:
    return {
        kind: {name: value if wanted == "x" else wanted for name, wanted in pairs.items()}
        for kind, pairs in arguments.items()
    }


@pytest.mark.parametrize(("arguments", "headers", "query"), CASES)
def test_why_contains_no_secret_of_a_client(
    arguments: dict[str, Any], headers: dict[str, str], query: str
) -> None:
    """Whether the value is wrong, is repeated, has a wrong method, or is the wanted one."""
    own = with_values(arguments, SENT)
    tables = [
        [Route("one", **arguments)],
        [Route("one", **arguments), Route("two", **with_values(arguments, "y"))],
        [Route("one", **arguments, methods=["PUT"])],
        [Route("one", **own)],
        [Route("one", **own), Route("web")],
        [Route("one", **with_values(arguments, re.compile("[a-b]+")))],
        [Route("one", **with_values(arguments, re.compile(f"{SENT}|{SENT}-2")))],
        [Route("one", **with_values(arguments, True), path="/other"), Route("two", **own)],
    ]
    for routes in tables:
        found = matched(routes, headers, query)
        assert found.why
        for text in (found.why, repr(found), str(found), f"{found}"):
            assert SENT not in text
        for name, value in headers.items():
            again = Request("GET", f"/?{query}&{query}", "a.x", [(name, value)] * 2)
            assert SENT not in Router(routes).match(again).why


def test_the_route_shows_what_its_author_wrote() -> None:
    route = Route("one", headers={"Authorization": SENT}, cookies={"sid": SENT})
    assert repr(route).count(SENT) == 2
    assert route.conditions == (
        "prefix /, header authorization with a value that is not shown, "
        "cookie sid with a value that is not shown"
    )


def test_why_contains_no_value_that_no_route_asks_for() -> None:
    headers = {"Authorization": SENT, "Cookie": f"a={SENT}", "x-other": SENT, "m": "2"}
    for routes in ([Route("one", headers={"m": "1"})], [Route("one", headers={"m": "2"})]):
        found = matched(routes, headers, f"other={SENT}")
        assert SENT not in f"{found.why} {found!r}"


def test_a_value_that_is_no_secret_is_shown() -> None:
    routes = [Route("one", headers={"x-v": "2"}, query={"q": "1"})]
    assert matched(routes, {"x-v": "3"}, "q=9").why == (
        "no route for GET asks for header x-v '3', query q '9'"
    )


def test_the_user_in_a_host_is_not_shown() -> None:
    for host in (f"user:{SENT}@a.x", f"{SENT}@", f"a@{SENT}@b.x"):
        for request in (Request("GET", "/", host), Request("GET", f"http://{host}/", "a.x")):
            found = Router([Route("one")]).match(request)
            assert not found
            assert SENT not in f"{found.why} {found!r}"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x1b[2J", "\u2028", "\0"])
def test_why_is_one_line_of_visible_characters(end: str) -> None:
    """What a client sends cannot forge a line of a log."""
    text = f"x{end}forged"
    headers = [("m", text), ("Cookie", f"c={text}")]
    router = Router([Route("one", path="/a", methods=["GET"]), Route("two", headers={"m": "1"})])
    for request in (
        Request(text, "/a", "a.x", headers),
        Request("GET", "/b", "a.x", headers),
        Request(text, "/b", text, headers),
        Request("GET", f"/{text}", "a.x", headers),
        Request("GET", f"http://{text}/", "a.x", headers),
        Request("GET", "/b?q=%0aforged", "a.x", headers),
    ):
        found = router.match(request)
        assert not found
        for character in f"{found.why}{found!r}":
            assert character.isprintable()


PATTERN = re.compile("/(?P<a>[^/]+)(/(?P<b>.*))?")
ROUTES = [
    Route(1, path="/{a}/{b...}", query={"q": "1"}),
    Route(2, prefix="/a/{b}", headers={"m": re.compile("a+")}),
    Route(3, path=PATTERN, cookies={"c": "1"}),
    Route(4, host="*.x", path="/a/b/c/"),
    Route(5, host="a.x", query={"q": re.compile("[0-9]+"), "token": True}),
]
KEEP = PathRules("keep", "keep", "keep", "keep")
PIECES = ["/", "a", "/a", ";", "/;x", "%2f", "%3B", "%2e", "/..;/", "%c3", "|", "?q=", "&", "//.."]


@pytest.mark.parametrize("rules", [PathRules(), PathRules("strip"), KEEP], ids=repr)
@pytest.mark.parametrize("piece", PIECES)
def test_the_cost_of_a_long_path_is_linear(piece: str, rules: PathRules) -> None:
    for precedence in ("specific", "gateway"):
        kind: Any = precedence
        router = Router(ROUTES, path_rules=rules, precedence=kind)
        counts = [
            work_of(partial(router.match, Request("GET", "/" + piece * n, "b.a.x"))).lines
            for n in (200, 400, 800)
        ]
        assert all(after <= 2.1 * before + 60 for before, after in pairwise(counts)), counts


@pytest.mark.parametrize("piece", PIECES)
def test_a_path_of_many_characters_is_answered(piece: str) -> None:
    router = Router(ROUTES, path_rules=KEEP, precedence="gateway")
    found = router.match(Request("GET", "/" + piece * (100_000 // len(piece)), "b.a.x"))
    assert bool(found) == (not found.reason)


def test_many_prefixes_of_one_path_cost_no_more_than_their_number() -> None:
    """With the precedence of the Gateway API, all routes for a path are looked at."""

    def lines(depth: int, precedence: Any) -> int:
        routes = [Route(i, prefix="/a" * i, methods=["PUT"]) for i in range(1, depth + 1)]
        router = Router([*routes, Route(0)], precedence=precedence)
        return work_of(partial(router.match, Request("GET", "/a" * depth))).lines

    for precedence in ("specific", "gateway"):
        counts = [lines(depth, precedence) for depth in (50, 100, 200)]
        assert all(after <= 2.1 * before + 60 for before, after in pairwise(counts))


@pytest.mark.parametrize("target", ["/admin;x/users", "/;x/admin/users", "/admin%3Bx/users"])
def test_a_guarded_prefix_cannot_be_passed_by_a_parameter(target: str) -> None:
    routes = [Route("admin", prefix="/admin"), Route("public")]
    assert Router(routes).match(Request("GET", target)).reason == "path parameter"
    stripping = Router(routes, path_rules=PathRules(parameters="strip"))
    found = stripping.match(Request("GET", target))
    assert (found.value, found.path) == ("admin", "/admin/users")


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb: c", "\0", "a\u2028b", "\x1b[31m", "\u202eb"])
@pytest.mark.parametrize("value", ["1", True, re.compile("1")])
@pytest.mark.parametrize("sent", ["", "1", "2", "twice"])
def test_a_name_that_is_not_printable_is_shown_as_a_literal(
    name: str, value: Any, sent: str
) -> None:
    router = Router([Route("a", query={name: value})])
    pair = urlencode({name: sent})
    target = f"/?{pair}&{pair}" if sent == "twice" else f"/?{pair if sent else ''}"
    match = router.match(Request("GET", target))
    for text in (match.why, repr(match), next(iter(router)).conditions):
        assert text.isprintable()
        assert f"query {name!r} " in text


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(
            (name, True)
            for name in (
                "pwd",
                "user_pwd",
                "otp",
                "totp",
                "X-OTP",
                "bearer",
                "X-Bearer",
                "sig",
                "X-Sig",
                "sig2",
                "sid",
                "connect.sid",
                "_sid_",
                "pin",
                "user-pin",
                "code",
                "oauth_code",
                "CODE",
            )
        ),
        *(
            (name, False)
            for name in (
                "design",
                "signal",
                "sigma",
                "side",
                "inside",
                "shipping",
                "pinned",
                "opinion",
                "zipcode",
                "encoder",
                "v",
                "",
            )
        ),
    ],
)
def test_names_of_secrets_are_recognised(name: str, secret: bool) -> None:
    assert is_secret("query", name) is is_secret("header", name) is secret
    assert is_secret("cookie", name)
