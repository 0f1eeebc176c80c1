"""Two spellings of one path never reach two routes, and what is sent on is what was matched.

The readers are models of how servers read a path.  Each is an order of a few steps: it removes path
parameters (servlet containers), decodes, merges slashes and removes dot segments (nginx).
"""

import re
from collections.abc import Callable, Iterator
from itertools import permutations, product
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers.http import Path, PathRules, Request, read_target
from balancers.routing import Route, Router
from tests.depth import DEEP, runs

CHOICES: dict[str, list[str]] = {
    "parameters": ["refuse", "keep", "strip"],
    "encoded_slash": ["refuse", "keep"],
    "encoded_backslash": ["refuse", "keep"],
    "repeated_slashes": ["merge", "refuse", "keep"],
}


def rules_of(*values: str) -> PathRules:
    given: Any = dict(zip(CHOICES, values, strict=True))
    return PathRules(**given)


RULES = [rules_of(*values) for values in product(*CHOICES.values())]
rules_drawn = st.sampled_from(RULES)

Step = Callable[[str], str]


def decoded(path: str) -> str:
    return unquote(path)


def merged(path: str) -> str:
    return re.sub("/+", "/", path)


def stripped(path: str) -> str:
    return re.sub(";[^/]*", "", path)


def without_dots(path: str) -> str:
    stack: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            stack = stack[:-1]
        elif part != ".":
            stack.append(part)
    if parts[-1] in {".", ".."}:
        stack.append("")
    return "/" + "/".join(stack)


STEPS = (decoded, merged, stripped, without_dots)
READERS = [steps for length in range(5) for steps in permutations(STEPS, length)]


def read_by(steps: tuple[Step, ...], path: str) -> str:
    for step in steps:
        path = step(path)
    return path


def alphabet(length: int) -> Iterator[str]:
    pieces = ("/", "..", ".", "a", ";", "%2f", "%5C", "%3b")
    for parts in product(pieces, repeat=length):
        yield "/" + "".join(parts)


TARGETS = [target for length in range(5) for target in alphabet(length)]
LONGER = [*TARGETS, *alphabet(5)] if DEEP else TARGETS


@pytest.mark.parametrize("rules", RULES, ids=repr)
def test_what_is_sent_on_is_what_was_matched(rules: PathRules) -> None:
    for target in TARGETS:
        read = read_target(target, rules)
        assert bool(read.path) != bool(read.reason)
        if read.path:
            assert read_target(read.path, rules) == Path(read.path, "")
            assert (";" in read.path or "%3B" in read.path) <= (rules.parameters == "keep")
            assert ("%2F" in read.path) <= (rules.encoded_slash == "keep")
            assert ("%5C" in read.path) <= (rules.encoded_backslash == "keep")
            assert ("//" in read.path) <= (rules.repeated_slashes == "keep")


@pytest.mark.parametrize("rules", RULES, ids=repr)
def test_no_server_finds_a_dot_segment_in_what_is_sent_on(rules: PathRules) -> None:
    """Whatever it decodes, removes or takes for a slash."""
    paths = {read_target(target, rules).path for target in TARGETS}
    for path in paths:
        for seen in {path, decoded(path), stripped(path), stripped(decoded(path))}:
            for text in (seen, decoded(stripped(path))):
                assert not {".", ".."}.intersection(re.split(r"[/\\]", text))


def test_all_servers_agree_about_what_the_default_rules_accept() -> None:
    """Those that get the target as it came, and those that get the normalised path."""
    for target in LONGER:
        read = read_target(target)
        if read.path:
            seen = {
                read_by(steps, text)
                for steps in permutations(STEPS)
                for text in (target, read.path)
            }
            assert seen == {decoded(read.path)}


@pytest.mark.parametrize("slashes", ["merge", "refuse"])
def test_all_servers_agree_about_what_is_left_without_parameters(slashes: str) -> None:
    rules = rules_of("strip", "refuse", "refuse", slashes)
    for path in {read_target(target, rules).path for target in LONGER} - {""}:
        assert {read_by(steps, path) for steps in READERS} <= {path, decoded(path)}


def test_removing_parameters_is_what_a_servlet_container_does() -> None:
    rules = PathRules(parameters="strip")
    for target in LONGER:
        read = read_target(target, rules)
        if read.path and "%3b" not in target:
            assert read_by((stripped, decoded, merged, without_dots), target) == decoded(read.path)


names = st.lists(st.text("abAB01-._~", min_size=1), min_size=1, max_size=5).filter(
    lambda names: not any(name in {".", ".."} for name in names)
)


@st.composite
def spellings(draw: st.DrawFn, names: list[str], slash: str, rules: PathRules) -> str:
    """One spelling of a path that is equivalent under the rules."""

    def disguised(character: str) -> str:
        octet = f"%{ord(character):02x}"
        return draw(st.sampled_from([character, character, octet, octet.upper()]))

    joints = ["/", "/", "/./", "/%2e/", "/away/../", "/x/%2E./"]
    joints += ["//", "///./", "/.//"] if rules.repeated_slashes == "merge" else []
    ends = [""] if not slash else ["/", "/.", "/%2e", "/gone/.."]
    parameters = [""]
    if rules.parameters == "strip":
        parameters = ["", "", ";", ";v=1", "%3bx", "%3B..;y"]
        joints += ["/.;x/", "/away;a/..%3b/"]
    target = ""
    for name in names:
        target += draw(st.sampled_from(joints))
        target += "".join(map(disguised, name)) + draw(st.sampled_from(parameters))
    return target + draw(st.sampled_from(ends))


ROUTES = [
    *(Route(f"literal {name}", path=f"/{name}") for name in "ab"),
    *(Route(f"prefix {name}", prefix=f"/{name}/b") for name in ("a", "b", "A", "{x}")),
    Route("pattern", path=re.compile("/[ab]+/.*")),
    Route("capture", path="/{x}/{y}"),
    Route("rest", path="/a/{rest...}"),
    Route("web"),
]
ROUTERS = {rules: Router(ROUTES, path_rules=rules) for rules in RULES}


@settings(max_examples=runs(1000))
@given(rules_drawn, names, st.sampled_from(["", "/"]), st.data())
def test_every_spelling_of_a_path_reaches_the_same_route(
    rules: PathRules, names: list[str], slash: str, data: st.DataObject
) -> None:
    plain = "/" + "/".join(names) + slash
    wanted = ROUTERS[rules].match(Request("GET", plain))
    assert wanted.path == plain
    for _ in range(3):
        spelling = data.draw(spellings(names, slash, rules))
        found = ROUTERS[rules].match(Request("GET", spelling))
        assert (found.route, found.path, found.captures) == (wanted.route, plain, wanted.captures)


PIECES = [
    *("/", "//", ".", "..", "a", "b", "%2e", "%41", "%7e", "%2f", "%5C", "%25", "%252e", "%c3%a9"),
    *(";", ";x", "%3b", "%3B..", "..;", "?", "|", "*", ":", "@", "//h/", "http:"),
]
targets = st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: "/" + "".join(parts))


@settings(max_examples=runs(1000))
@given(rules_drawn, targets)
def test_a_forwarded_path_matches_the_same_route_again(rules: PathRules, target: str) -> None:
    found = ROUTERS[rules].match(Request("GET", target))
    if found.path:
        again = ROUTERS[rules].match(Request("GET", found.path))
        assert again == found
        assert read_target(found.path, rules) == Path(found.path, "")


@settings(max_examples=runs(1000))
@given(rules_drawn, targets, st.data())
def test_the_case_of_hexadecimal_digits_has_no_effect(
    rules: PathRules, target: str, data: st.DataObject
) -> None:
    other = re.sub(
        "%[0-9a-fA-F]{2}",
        lambda octet: data.draw(st.sampled_from([octet[0].lower(), octet[0].upper()])),
        target.partition("?")[0],
    )
    one, two = (read_target(text.partition("?")[0], rules) for text in (target, other))
    assert one == two


@settings(max_examples=runs(500))
@given(rules_drawn, st.lists(st.text("ab/;\\.|é", min_size=1), min_size=1, max_size=2))
def test_captures_that_are_quoted_again_are_the_same(rules: PathRules, texts: list[str]) -> None:
    """A capture may contain a slash if the rules keep %2F, and only then."""
    router = Router([Route("v", path="/x/{a}/{b}"), Route("v", path="/x/{a}")], path_rules=rules)
    found = router.match(Request("GET", "/x/" + "/".join(quote(text, safe="") for text in texts)))
    if found:
        assert ("/" in "".join(found.captures.values())) <= (rules.encoded_slash == "keep")
        quoted = "/".join(quote(text, safe="") for text in found.captures.values())
        again = router.match(Request("GET", "/x/" + quoted))
        assert again.captures == found.captures
