"""Hostile ``Host`` headers: one form per host, and no text that two programs read differently."""

import re
from functools import partial
from ipaddress import IPv6Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.http import Request
from balancers.http.hosts import read_host
from balancers.routing import Route, Router
from tests.depth import runs
from tests.hostile.shown import shown
from tests.work import work_of

REFUSED = [
    *("a@b", "user:pw@shop.example", "@", "shop.example@evil.example", "a@"),
    *("a:80:80", "a:65536", "a:-1", "a:+80", "a: 80", "a:80 ", "a:0x50", "a:8_0", "a:٨٠", "a:1e1"),
    *("a:000080", ":80", ":", "a::80", "a/b", "a/", "/", "a?b", "a#b", "a\\b", "http://a"),
    *("a b", " a", "a ", "\ta", "a\t", "a\r\nb", "a\n", "\n", "a\0", "\0", "a\x7f", "a\x0bb"),
    *("a%2eb", "a%00", "%61", "a;b", "a,b", "a, b", "a&b", "a=b", "a'b", 'a"b', "a`b", "a$b"),
    *("a..b", ".", "..", ".a", "a..", "..a", "a.:80.", "a.b..:80", "*", "*.example", "a*b", "a|b"),
    *("shоp.example", "ｓｈｏｐ.example", "shop。example", "shop．example", "\u212a.example"),  # noqa: RUF001 - meant
    *("é.example", "İ", "ß", "a\u200b", "a\u00ad", "\ud800", "\ufeffa", "a\u2024b"),
    *("[::1", "::1]", "[]", "[::1]]", "[[::1]]", "[::1]a", "[::1].", "[::1]:65536", "[::1]:a"),
    *("[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1%]", "[1.2.3.4]", "[v1.a]", "[::g]", "[:::]"),
    *(
        "[::1.2.3.256]",
        "[::1.2.3]",
        "[1:2:3:4:5:6:7:8:9]",
        "[12345::]",
        "[::1 ]",
        "[ ::1]",
        "[::\u0661]",
    ),
    *("::1", "fe80::1", "::", "a" * 254, "a." * 127 + "a", "[" + "0" * 100_000 + "::1]"),
]
ROUTER = Router(
    [
        Route("any"),
        Route("shop", host="shop.example"),
        Route("below", host="*.shop.example"),
        Route("six", host="[2001:db8::1]"),
        Route("four", host="192.0.2.1"),
    ]
)
HOSTS = {
    "shop.example": "shop",
    "a.shop.example": "below",
    "a.b.shop.example": "below",
    "[2001:db8::1]": "six",
    "192.0.2.1": "four",
    "shopping.example": "any",
    "evilshop.example": "any",
}
FORM = re.compile(r"[0-9a-z_-]+(?:\.[0-9a-z_-]+)*|\[[0-9a-f:.]+\]|")


@pytest.mark.parametrize("authority", REFUSED, ids=shown)
def test_an_authority_that_is_no_host_is_refused(authority: str) -> None:
    assert read_host(authority) is None
    for target in ("/", "/admin"):
        match = ROUTER.match(Request(target=target, host=authority))
        assert (match.reason, match.value) == ("bad host", None)


@pytest.mark.parametrize("host", HOSTS)
def test_every_spelling_of_a_host_reaches_its_route(host: str) -> None:
    rng = Random(host)
    for _ in range(runs(2000)):
        sent = "".join(rng.choice((letter.upper(), letter)) for letter in host)
        if host[0] != "[":
            sent += rng.choice(("", "."))
        elif rng.randrange(2):
            sent = f"[{IPv6Address(host[1:-1]).exploded.upper()}]"
        sent += rng.choice(("", ":", ":80", ":0", ":00443", ":65535"))
        assert read_host(sent) == host
        assert ROUTER.match(Request(host=sent)).value == HOSTS[host]
        absolute = Request(target=f"HTTP://{sent}/x", host="other.example")
        assert ROUTER.match(absolute).value == HOSTS[host]


@given(st.text(max_size=30) | st.text("aA.:[]%-@/\\ 01f", max_size=30))
def test_a_host_has_one_form_and_only_harmless_characters(authority: str) -> None:
    name = read_host(authority)
    assert (name == "") == (authority == "")
    if name is not None:
        assert FORM.fullmatch(name)
        assert read_host(name) == name
        assert read_host(authority.swapcase()) == name


@given(st.text(max_size=20), st.sampled_from(sorted(HOSTS)))
def test_no_text_beside_a_host_reaches_its_route(text: str, host: str) -> None:
    for sent in (f"{text}@{host}", f"{host}@{text}", f"{host},{text}", f"{host}/{text}"):
        assert read_host(sent) is None
    for sent in (f"{text}{host}", f"{host}{text}"):
        name = read_host(sent)
        value = ROUTER.match(Request(host=sent)).value
        assert value == (None if name is None else HOSTS.get(name, value))
        if name is not None and name not in HOSTS:
            assert value == ("below" if name.endswith(".shop.example") else "any")


@pytest.mark.parametrize(
    "unit", ["a", "a.", "a:", "[", "]", ":", "0:", "[::1]", "a@", "-", "_", "1.", "\ud800"]
)
def test_a_long_host_costs_no_more_than_its_length(unit: str) -> None:
    for count in (1, 100, 20_000):
        authority = unit * count
        assert work_of(partial(read_host, authority)).lines <= 40
        read_host(f"[{authority}]")
