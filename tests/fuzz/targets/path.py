"""Paths: two spellings of one path never reach two routes, and what is sent on is what matched."""

import re
from typing import get_args, get_type_hints
from urllib.parse import unquote

from balancers.http import PathRules, Request, read_target
from balancers.routing import Route, Router
from tests.fuzz.choices import Choices
from tests.hostile.spellings import READERS, spelled

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"/admin", b"/users", b"/items/", b"/files/", b"/@team", b"/a+b", b"%2f", b"%5c", b"%3b"),
    *(b"/..;", b"/;x", b"//", b"/../", b"/./", b"%2e", b"/%2e%2e", b"%40", b"\\", b"%25", b"?x"),
)

ROUTES = [
    Route("any"),
    Route("admin", prefix="/admin"),
    Route("users", path="/admin/users"),
    Route("team", prefix="/@team"),
    Route("sum", path="/a+b"),
    Route("me", path=re.compile(r"/v[0-9]+/@(?P<name>[a-z~]+)")),
    Route("item", path="/items/{id}"),
    Route("file", path="/files/{name...}"),
    Route("café", path="/caf%C3%A9/menu"),
]
RULES = [
    PathRules(parameters, slash, backslash, repeated)
    for parameters in get_args(get_type_hints(PathRules)["parameters"])
    for slash in get_args(get_type_hints(PathRules)["encoded_slash"])
    for backslash in get_args(get_type_hints(PathRules)["encoded_backslash"])
    for repeated in get_args(get_type_hints(PathRules)["repeated_slashes"])
]
ROUTERS = {rules: Router(ROUTES, path_rules=rules) for rules in RULES}
PATHS = [
    *(["admin", "users"], ["admin", ""], ["admin"], ["@team", "x"], ["a+b"], ["items", "é ~(1)"]),
    *(["files", "a", "b"], ["files", ""], ["café", "menu"], ["x", "admin"], [""], ["items", "%41"]),
    *(["v1", "@me"], ["v2", "@me~"]),
]


def check(data: bytes) -> None:
    """The bytes are a target, as latin-1, and the decisions about spellings of one path."""
    target = data.decode("latin-1")
    check_readers(target)
    choices = Choices(data)
    rules = RULES[choices.below(len(RULES))]
    segments = list(PATHS[choices.below(len(PATHS))])
    name = re.sub(r"[/\\;\x00-\x1f\x7f-\x9f]", "", choices.text())
    if choices.below(2) and name not in {"", ".", ".."}:
        segments[-1] = name
    parameters = choices.below(2) and rules.parameters != "keep"
    slashes = choices.below(2) and rules.repeated_slashes != "keep"
    spellings = [
        spelled(segments, choose, slashes=bool(slashes), parameters=bool(parameters))
        for choose in (plainly, choices.below, choices.below, choices.below)
    ]
    check_one_route(ROUTERS[rules], spellings)
    for used in {RULES[0], rules}:
        check_sent_on(ROUTERS[used], target)


def plainly(limit: int) -> int:
    """Choose the plain form of each character."""
    return min(1, limit - 1)


def check_one_route(router: Router[str], spellings: list[str]) -> None:
    """Assert that spellings of one path match one route with the same captures."""
    matches = [router.match(Request(target=target)) for target in spellings]
    found = [match for match in matches if not match.reason]
    for match in found:
        assert (match.value, match.captures) == (found[0].value, found[0].captures), spellings
        assert unquote(match.path) == unquote(found[0].path), spellings


def check_sent_on(router: Router[str], target: str) -> None:
    """Assert that the path that is sent on matches the same route with the same captures."""
    match = router.match(Request(target=target))
    if match:
        again = router.match(Request(target=match.path))
        assert again[:4] == match[:4], target


def check_readers(target: str) -> None:
    """Assert that all servers read a target that is accepted by default like the router."""
    found = read_target(target)
    if not found.path:
        return
    segments = [unquote(segment).encode() for segment in found.path.split("/") if segment]
    path = target.partition("?")[0]
    sent = re.sub(r"\A(?i:https?)://[^/]*", "", path)
    for reader in READERS:
        assert reader(sent) == reader(found.path) == segments, (reader.__name__, target)
