"""Texts of addresses: those of inet_ntop, and the same on every version of Python."""

import platform
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers.addresses import Address, address_text, ntop_text
from balancers.flows import FlowKey
from balancers.http import Node, Request, TrustedProxies
from balancers.http.forwarded import forwarded_element
from balancers.http.hosts import read_host
from balancers.interop.caddy import client_ip_key, ip_key
from balancers.proxy_protocol import Endpoint, ProxyHeader
from tests.depth import runs

GLIBC = platform.libc_ver()[0] == "glibc"
TEXTS = [
    # the address, as RFC 5952 and as inet_ntop
    ("::", "::", "::"),
    ("::1", "::1", "::1"),
    ("::2", "::2", "::2"),
    ("::ffff", "::ffff", "::ffff"),
    ("::1:0", "::1:0", "::0.1.0.0"),
    ("::1:1", "::1:1", "::0.1.0.1"),
    ("::192.0.2.1", "::c000:201", "::192.0.2.1"),
    ("::255.255.255.255", "::ffff:ffff", "::255.255.255.255"),
    ("::1:0:0", "::1:0:0", "::1:0:0"),
    ("::1:192.0.2.1", "::1:c000:201", "::1:c000:201"),
    ("::ffff:0:0", "::ffff:0.0.0.0", "::ffff:0.0.0.0"),
    ("::ffff:0:1", "::ffff:0.0.0.1", "::ffff:0.0.0.1"),
    ("::FFFF:C000:201", "::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ("::ffff:255.255.255.255", "::ffff:255.255.255.255", "::ffff:255.255.255.255"),
    ("::ffff:0:192.0.2.1", "::ffff:0:c000:201", "::ffff:0:c000:201"),
    ("::1:ffff:192.0.2.1", "::1:ffff:c000:201", "::1:ffff:c000:201"),
    ("1::ffff:192.0.2.1", "1::ffff:c000:201", "1::ffff:c000:201"),
    ("64:ff9b::192.0.2.1", "64:ff9b::c000:201", "64:ff9b::c000:201"),
    ("2001:DB8:0:0:F3:0:0:1", "2001:db8::f3:0:0:1", "2001:db8::f3:0:0:1"),
    ("1:0:2:0:3:0:4:0", "1:0:2:0:3:0:4:0", "1:0:2:0:3:0:4:0"),
    ("fe80::1%eth0", "fe80::1%eth0", "fe80::1%eth0"),
    ("::ffff:192.0.2.1%7", "::ffff:192.0.2.1%7", "::ffff:192.0.2.1%7"),
    ("::192.0.2.1%7", "::c000:201%7", "::192.0.2.1%7"),
    ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ("10.0.0.0", "10.0.0.0", "10.0.0.0"),
]


def hexadecimal(address: Any) -> str:
    """The text of an IPv6 address before Python 3.13."""
    zone = address.scope_id
    text = address._string_from_ip_int(int(address))
    return text if zone is None else f"{text}%{zone}"


def dotted(address: Any) -> str:
    """The text of an IPv6 address since Python 3.13."""
    mapped, zone = address.ipv4_mapped, address.scope_id
    text = hexadecimal(IPv6Address(int(address))) if mapped is None else f"::ffff:{mapped}"
    return text if zone is None else f"{text}%{zone}"


@pytest.fixture(params=[hexadecimal, dotted])
def spelling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let addresses spell themselves as on an old and on a new version of Python."""
    spelled: Callable[[Any], str] = request.param
    monkeypatch.setattr(IPv6Address, "__str__", spelled)
    assert str(IPv6Address("::ffff:1.2.3.4")) == spelled(IPv6Address("::ffff:1.2.3.4"))


def patterns() -> Iterator[bytes]:
    """Every pattern of zero words and of words that matter, 8 words each."""
    for words in product((0, 1, 0xFFFF, 0xA0B), repeat=3):
        for zeros in product((0, 1), repeat=5):
            for fill in (0xFFFF, 0x1):
                whole = [fill * bit for bit in zeros] + [*words]
                yield b"".join(word.to_bytes(2, "big") for word in whole)


@pytest.mark.usefixtures("spelling")
@pytest.mark.parametrize(("text", "rfc5952", "ntop"), TEXTS)
def test_the_texts_of_an_address(text: str, rfc5952: str, ntop: str) -> None:
    address = ip_address(text)
    assert (address_text(address), ntop_text(address)) == (rfc5952, ntop)
    assert ip_address(rfc5952) == ip_address(ntop) == address


@pytest.mark.skipif(not GLIBC, reason="inet_ntop of another C library has another rule")
def test_every_pattern_of_zeros_is_written_as_by_inet_ntop() -> None:
    for packed in patterns():
        assert ntop_text(IPv6Address(packed)) == socket.inet_ntop(socket.AF_INET6, packed)


@pytest.mark.skipif(not GLIBC, reason="inet_ntop of another C library has another rule")
def test_addresses_near_the_limits_are_written_as_by_inet_ntop() -> None:
    rng = Random(11)
    edges = [1 << bits for bits in range(129)] + [0xFFFF << 32, 0xFFFF << 33, 0xFFFE << 32]
    numbers = {edge + offset for edge in edges for offset in range(-3, 4)}
    numbers |= {rng.getrandbits(rng.randrange(1, 129)) for _ in range(2000)}
    for number in numbers:
        if 0 <= number < 1 << 128:
            packed = number.to_bytes(16, "big")
            assert ntop_text(IPv6Address(packed)) == socket.inet_ntop(socket.AF_INET6, packed)


@settings(max_examples=runs(1000))
@given(st.ip_addresses())
def test_a_text_is_parsed_as_the_same_address(address: Address) -> None:
    assert ip_address(address_text(address)) == ip_address(ntop_text(address)) == address
    if isinstance(address, IPv4Address):
        assert address_text(address) == ntop_text(address) == str(address)


@pytest.mark.usefixtures("spelling")
@pytest.mark.parametrize(
    ("source", "destination", "line"),
    [
        ("::ffff:192.0.2.1", "::ffff:c000:202", b"TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2"),
        ("::ffff:192.0.2.1", "2001:db8::1", b"TCP6 ::ffff:192.0.2.1 2001:db8::1"),
        ("192.0.2.1", "2001:DB8::1", b"TCP6 ::ffff:192.0.2.1 2001:db8::1"),
        ("2001:db8::1", "192.0.2.1", b"TCP6 2001:db8::1 ::ffff:192.0.2.1"),
        ("192.0.2.1", "::ffff:192.0.2.2", b"TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2"),
        ("192.0.2.1", "192.0.2.2", b"TCP4 192.0.2.1 192.0.2.2"),
        ("::1.2.3.4", "::1", b"TCP6 ::1.2.3.4 ::1"),
        pytest.param("::2", "::1:0", b"TCP6 ::2 ::0.1.0.0", id="haproxy-2.6.12"),
    ],
)
def test_version_1_has_the_same_bytes_on_every_python(
    source: str, destination: str, line: bytes
) -> None:
    first, second = (Endpoint(ip_address(text), 1) for text in (source, destination))
    assert ProxyHeader(first, second, version=1).build() == b"PROXY " + line + b" 1 1\r\n"


@pytest.mark.usefixtures("spelling")
def test_texts_of_http_are_the_same_on_every_python() -> None:
    mapped = IPv6Address("::ffff:192.0.2.1")
    assert read_host("[::FFFF:192.0.2.1]:80") == read_host("[::ffff:c000:201]")
    assert read_host("[::ffff:c000:201]") == "[::ffff:192.0.2.1]"
    assert read_host("[::192.0.2.1]") == read_host("[::c000:201]") == "[::c000:201]"
    assert str(Node(mapped, port=1)) == "[::ffff:192.0.2.1]:1"
    assert forwarded_element(Node(mapped)) == 'for="[::ffff:192.0.2.1]"'
    proxies = TrustedProxies(["::ffff:0:0/96"], header="X-Forwarded-For")
    request = Request(client="::ffff:c000:201", headers=[("X-Forwarded-For", "::c000:201")])
    assert proxies.forwarded(request) == "::c000:201, 192.0.2.1"
    assert repr(proxies.client(request).hops[0]) == "IPv4Address('192.0.2.1')"


@pytest.mark.usefixtures("spelling")
def test_texts_of_a_flow_are_the_same_on_every_python() -> None:
    flow = FlowKey("tcp", "::ffff:c000:201", 1, "::c000:201", 2)
    assert (flow.source, flow.destination) == ("192.0.2.1", "::c000:201")
    assert repr(flow) == "FlowKey('tcp', '192.0.2.1', 1, '::c000:201', 2)"


@pytest.mark.usefixtures("spelling")
def test_texts_that_caddy_hashes_are_those_of_go() -> None:
    assert ip_key("::ffff:c000:201") == ip_key("::ffff:192.0.2.1%eth0") == "192.0.2.1"
    assert client_ip_key([], "::ffff:c000:201") == "192.0.2.1"
    assert client_ip_key(["::ffff:c000:201"], "::1") == "::ffff:192.0.2.1"
    assert ip_key("::192.0.2.1") == client_ip_key(["::c000:201"], "::1") == "::c000:201"
    assert ip_key("2001:DB8::1%eth0") == client_ip_key(["2001:DB8::1%eth0"], "::1") == "2001:db8::1"
