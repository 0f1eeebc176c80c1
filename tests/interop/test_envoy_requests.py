"""The request hashes of Envoy, rule by rule."""

import platform
import re
import socket
from ipaddress import IPv6Address
from typing import Any

import pytest

pytest.importorskip("xxhash")

from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidKey
from balancers.http import Request
from balancers.interop.envoy import (
    Cookie,
    HashPolicy,
    Header,
    Maglev,
    QueryParameter,
    SourceIP,
    request_hash,
)
from tests.interop.envoy_rules import xxh64

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(VALUES, max_size=4), st.randoms(use_true_random=False))
def test_lines_of_a_header_are_chained_in_sorted_order(values: list[str], rng: Any) -> None:
    digest: int | None = None
    for value in sorted(value.encode() for value in values):
        digest = xxh64(value, digest or 0)
    rng.shuffle(values)
    request = Request(headers=[("X-Key", value) for value in values])
    assert request_hash([Header("x-key")], request) == digest


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=4))
def test_hashes_are_combined_in_order_up_to_a_terminal_one(
    policies: list[tuple[str, bool]],
) -> None:
    request = Request(headers=[("a", "1"), ("b", "2")])
    known = {"a": xxh64(b"1"), "b": xxh64(b"2")}
    digest: int | None = None
    for name, terminal in policies:
        if name in known:
            rotated = 0 if digest is None else (digest * 2 % (1 << 64)) + (digest >> 63)
            digest = rotated ^ known[name]
        if terminal and digest is not None:
            break
    assert request_hash([Header(name, terminal=end) for name, end in policies], request) == digest


@pytest.mark.parametrize(
    ("policy", "request_", "hashed"),
    [
        (Header("x"), Request(headers=[("X", "")]), ""),
        (Header("x"), Request(headers=[("X", "a, b")]), "a, b"),
        (Header("x"), Request(), None),
        (Header("x", re.compile("[0-9]"), "<>"), Request(headers=[("x", "a1b22")]), "a<>b<><>"),
        (Header("x", re.compile("u-(.*)"), r"\1"), Request(headers=[("x", "u-7")]), "7"),
        (Cookie("s"), Request(headers=[("cookie", "a=1; s=2;s=3")]), "2"),
        (Cookie("s"), Request(headers=[("cookie", "a=1"), ("Cookie", 's="q"')]), "q"),
        (Cookie("s"), Request(headers=[("cookie", 's="')]), '"'),
        (Cookie("s"), Request(headers=[("cookie", 's=""')]), None),
        (Cookie("s"), Request(headers=[("cookie", "s; ss=1; S=2")]), None),
        (Cookie("s"), Request(headers=[("cookie", "s=a=b ")]), "a=b "),
        (QueryParameter("id"), Request(target="/p?x=1&id=a%20b&id=2"), "a%20b"),
        (QueryParameter("id"), Request(target="/p?id=a+b"), "a+b"),
        (QueryParameter("id"), Request(target="/p?id=a=b?c"), "a=b?c"),
        (QueryParameter("id"), Request(target="/p?id"), ""),
        (QueryParameter("id"), Request(target="/p?ID=1"), None),
        (QueryParameter("id"), Request(target="/id=1"), None),
        (QueryParameter(""), Request(target="/p?"), None),
        (SourceIP(), Request(client="192.0.2.1"), "192.0.2.1"),
        (SourceIP(), Request(client="2001:0DB8:0:0:F3:0:0:1"), "2001:db8::f3:0:0:1"),
        (SourceIP(), Request(client="::ffff:192.0.2.1"), "::ffff:192.0.2.1"),
        (SourceIP(), Request(client="::FFFF:c000:201"), "::ffff:192.0.2.1"),
        (SourceIP(), Request(client="::c000:201"), "::192.0.2.1"),
        (SourceIP(), Request(client="::192.0.2.1"), "::192.0.2.1"),
        (SourceIP(), Request(client="::1:0"), "::0.1.0.0"),
        (SourceIP(), Request(client="::ffff"), "::ffff"),
        (SourceIP(), Request(client="::1"), "::1"),
        (SourceIP(), Request(client="fe80::1%2"), "fe80::1%2"),
        (SourceIP(), Request(client="@socket"), None),
    ],
)
def test_each_policy_hashes_the_right_part_of_a_request(
    policy: HashPolicy, request_: Request, hashed: str | None
) -> None:
    digest = None if hashed is None else xxh64(hashed.encode())
    assert request_hash([policy], request_) == digest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the rule of glibc")
@given(st.ip_addresses(v=6) | st.integers(0, 0xFFFFFFFF).map(IPv6Address))
def test_an_address_is_hashed_as_inet_ntop_writes_it(address: IPv6Address) -> None:
    text = socket.inet_ntop(socket.AF_INET6, address.packed)
    for client in (text, str(address), address.exploded):
        assert request_hash([SourceIP()], Request(client=client)) == xxh64(text.encode())


def test_recorded_picks_of_addresses_that_end_in_ipv4() -> None:
    """Picks of Envoy 1.40.0 for ``MAGLEV`` and ``source_ip``."""
    hosts = {11099: 30, 24642: 5, 22084: 3, 18659: 25, 28175: 1, 24971: 5}
    recorded = {
        "::ffff:56.87.222.8": 18659, "::ffff:153.215.87.97": 24642, "::ffff:99.205.168.21": 22084,
        "::ffff:84.121.116.89": 18659, "::ffff:126.110.30.5": 11099, "::ee97": 18659,
        "::c251": 18659, "::72fb:d368": 11099, "::49c1:d205": 18659,
    }  # fmt: skip
    table = Maglev({f"127.0.0.1:{port}": weight for port, weight in hosts.items()})
    picks: dict[str, int] = {}
    for client in recorded:
        digest = request_hash([SourceIP()], Request(client=client))
        assert digest is not None
        picks[client] = int(table.pick_hashed(digest).rpartition(":")[2])
    assert picks == recorded


def test_a_header_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidKey):
        request_hash([Header("x")], Request(headers=[("x", "\ud800")]))
