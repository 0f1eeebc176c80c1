"""Hostile headers and queries: a condition cannot be met, or avoided, by a second spelling."""

from functools import partial
from itertools import product
from random import Random
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.http import Request
from balancers.http.fields import RequestFields, parameters
from balancers.routing import Route, Router
from tests.depth import runs
from tests.work import work_of

ROUTER = Router(
    [
        Route("any"),
        Route("beta", query={"beta": "1"}),
        Route("canary", headers={"X-Canary": "always"}),
        Route("member", cookies={"role": "member"}),
    ]
)


def value_of(query: str = "", *headers: tuple[str, str]) -> str | None:
    return ROUTER.match(Request(target=f"/?{query}", headers=[*headers])).value


@pytest.mark.parametrize(
    "query",
    [
        "beta=1",
        "%62eta=1",
        "beta=%31",
        "%62%65%74%61=%31",
        "x=2&beta=1",
        "beta=1&&",
        "beta=1&betaa=2",
    ],
)
def test_one_parameter_meets_its_condition_in_every_spelling(query: str) -> None:
    assert value_of(query) == "beta"


@pytest.mark.parametrize(
    "query",
    [
        *("beta=1&beta=1", "beta=1&beta=2", "beta=2&beta=1", "beta=1&%62eta=2", "%62eta=2&beta=1"),
        *("beta=1&beta", "beta&beta=1", "beta=1&beta=%FF", "beta=%zz&beta=1", "beta=1&beta="),
        *("beta=1;beta=1", "beta=1;x=2", "Beta=1", "beta[]=1", "beta%20=1", "+beta=1", "beta=+1"),
        *("beta=1%00", "beta%00=1", "beta=01", "beta=1.0", "beta==1", "=beta=1", "beta%3D1"),
        *("beta=%ff1", "beta=1%", "beta=%31%", "beta%=1", "?beta=1", "beta=1?", "beta%2500=1"),
        *("amp;beta=1", "beta%26=1", "%26beta=1", "x=%26beta=1", "x%26beta=1", "%2562eta=1"),
    ],
)
def test_another_or_a_repeated_parameter_meets_no_condition(query: str) -> None:
    assert value_of(query) == "any"


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Canary", "always"), ("x-canary", "never")],
        [("X-CANARY", "never"), ("X-Canary", "always")],
        [("X-Canary", "always"), ("X-Canary", "always")],
        [("X_Canary", "always")],
        [("X-Canary ", "always")],
        [(" X-Canary", "always")],
        [("X-Canary\0", "always")],
        [("X-Canary", "always, never")],
        [("X-Canary", "Always")],
        [("X-Canary", "always\0")],
        [("X-Canary", "")],
        [("X\u2010Canary", "always")],
        [("X-\u212aanary", "always")],
    ],
)
def test_another_or_a_repeated_header_meets_no_condition(headers: list[tuple[str, str]]) -> None:
    assert value_of("", *headers) == "any"


def test_every_case_of_a_header_is_one_header() -> None:
    rng = Random(1)
    for _ in range(runs(1000)):
        names = [
            "".join(rng.choice((letter.upper(), letter.lower())) for letter in "X-Canary")
            for _ in range(2)
        ]
        assert value_of("", (names[0], "always")) == "canary"
        assert value_of("", (names[0], "always"), (names[1], "no")) == "any"


@pytest.mark.parametrize(
    "cookies",
    [
        ["role=member; role=guest"],
        ["role=guest; role=member"],
        ["role=member", "role=guest"],
        ["role=member", "x=1; role=member"],
        ['role="member', "role=member"],
        ["ROLE=member"],
        ["role=Member"],
        ["role=member, role=member"],
        ["xrole=member"],
        ["role"],
        ["role =member;role=\tguest"],
        ["=member; role=member\x00"],
        ["$role=member"],
    ],
)
def test_another_or_a_repeated_cookie_meets_no_condition(cookies: list[str]) -> None:
    assert value_of("", *[("Cookie", line) for line in cookies]) == "any"


@pytest.mark.parametrize(
    "sent", ["role=member", 'role="member"', "x=1;role=member", " role = member"]
)
def test_one_cookie_meets_its_condition_in_every_spelling(sent: str) -> None:
    for name in ("Cookie", "cookie", "COOKIE"):
        assert value_of("", (name, sent), ("Cookie", "theme=dark")) == "member"


@given(st.text("ab=&+;#é", max_size=24) | st.text(max_size=24).filter(lambda text: "%" not in text))
def test_a_query_is_parsed_like_the_standard_library(query: str) -> None:
    found = [(name, value) for name, values in parameters(query).items() for value in values]
    pairs = parse_qsl(query, keep_blank_values=True)
    assert sorted(found) == sorted((name, value) for name, value in pairs if name)


def test_two_names_are_one_only_if_they_decode_to_one_text() -> None:
    spellings = {"a": ["a", "%61"], "+": ["%2B", "%2b"], " ": ["+", "%20"], "é": ["%C3%A9", "é"]}
    names = list(product(spellings, repeat=2))
    for name in names:
        for sent in product(*(spellings[letter] for letter in name)):
            assert parameters(f"{''.join(sent)}=x") == {"".join(name): ["x"]}


@pytest.mark.parametrize(
    "unit", ["&", "a=1&", "=", "%", "+", "%FF", "%C3%A9", "a", ";", "a&%61=1&"]
)
def test_a_long_query_costs_no_more_than_its_length(unit: str) -> None:
    lines = [work_of(partial(parameters, unit * count)).lines for count in (1000, 4000)]
    assert lines[1] <= 4.2 * lines[0] + 100


def test_a_request_with_very_many_fields_is_read_once() -> None:
    headers = [(f"X-{number}", "x" * 20) for number in range(20_000)]
    headers += [("Cookie", "a=1; " * 1000), ("X-Canary", "always")]
    fields = RequestFields(Request(headers=headers), "")
    assert work_of(lambda: fields.values("header", "x-canary")).lines <= 4 * len(headers) + 100
    assert work_of(lambda: fields.values("header", "x-1")).lines <= 10
    assert fields.values("cookie", "a") == ["1"] * 1000


def test_a_surrogate_or_a_control_character_raises_no_error() -> None:
    for text in ("\ud800", "\0", "\r\n", "\x1b", "\udfff=1", "é", "\U0010ffff"):
        assert value_of(text) in {"any", None}
        assert value_of("", (text, text), ("Cookie", text)) == "any"
        assert isinstance(parameters(text), dict)
