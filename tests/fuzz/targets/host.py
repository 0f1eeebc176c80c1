"""A ``Host`` header: one normalised form per host, and two spellings never reach two routes."""

import re
from ipaddress import IPv6Address

from balancers.http import Request
from balancers.http.hosts import read_host
from balancers.routing import Route, Router
from tests.fuzz.choices import Choices
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"shop.example", b"[::1]", b":80", b":65536", b"a.shop.example", b"xn--", b"@", b"%00"),
    *(b"[fd00::1%eth0]", b"..", b"[::ffff:1.2.3.4]", b"]", b",", b"\t", b"\r\n", b":"),
)

NORMAL = re.compile(r"[0-9a-z_-]+(\.[0-9a-z_-]+)*|\[[0-9a-f:.]+\]")
ROUTER = Router(
    [
        Route("any"),
        Route("shop", host="shop.example"),
        Route("below", host="*.shop.example"),
        Route("six", host="[2001:db8::1]"),
    ]
)


def check(data: bytes) -> None:
    """The bytes are the header, as latin-1, and the decisions about a spelling of the host."""
    authority = data.decode("latin-1")
    name = read_host(authority)
    assert work_of(lambda: read_host(authority)).lines <= 2 * len(data) + 80
    match = ROUTER.match(Request(host=authority))
    assert (match.reason == "bad host") == (name is None)
    if name:
        assert NORMAL.fullmatch(name)
        assert read_host(name) == name
        check_spellings(name, Choices(data))
    for sent in (f"{authority}@shop.example", f"shop.example@{authority}", f"a,{authority}"):
        assert read_host(sent) is None
    absolute = ROUTER.match(Request(target=f"http://{authority}/", host="shop.example"))
    assert absolute.value != "shop" or read_host(re.split("[/?]", authority)[0]) == "shop.example"


def check_spellings(name: str, choices: Choices) -> None:
    """Assert that every spelling of a host has the same normalised form and the same route."""
    value = ROUTER.match(Request(host=name)).value
    for _ in range(3):
        sent = "".join(letter.upper() if choices.below(2) else letter for letter in name)
        if name[0] == "[":
            sent = f"[{IPv6Address(name[1:-1]).exploded}]" if choices.below(2) else sent
        else:
            sent += "." * choices.below(2)
        sent += ("", ":", ":80", ":0", ":00443", f":{choices.below(65536)}")[choices.below(6)]
        if len(sent) < 250:
            assert read_host(sent) == name, sent
            assert ROUTER.match(Request(host=sent)).value == value, sent
