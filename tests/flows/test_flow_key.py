"""Flow keys distinguish connections, by the same bytes in every process."""

import copy
import pickle
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import HashRing
from balancers.errors import InvalidKey, InvalidSetting
from balancers.flows import FlowKey

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(0, 65535)
FIELDS = st.tuples(st.integers(0, 255), ADDRESSES, PORTS, ADDRESSES, PORTS)
NEAR: st.SearchStrategy[IPv4Address | IPv6Address] = st.sampled_from(
    [ip_address(text) for text in ("1.2.3.4", "::ffff:1.2.3.4", "::1.2.3.4", "1.2.3.5", "::1")]
)
"""Two of these addresses are equal."""
NEAR_PORTS = st.sampled_from([0, 1, 256, 257])
ALIKE = st.tuples(st.sampled_from([0, 1, 6]), NEAR, NEAR_PORTS, NEAR, NEAR_PORTS)

Fields = tuple[int, IPv4Address | IPv6Address, int, IPv4Address | IPv6Address, int]


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return getattr(address, "ipv4_mapped", None) or address


def plain(fields: Fields) -> Fields:
    protocol, source, source_port, destination, destination_port = fields
    return protocol, unmapped(source), source_port, unmapped(destination), destination_port


@given(ALIKE, ALIKE)
def test_two_flows_are_one_key_iff_their_fields_are_equal(one: Fields, other: Fields) -> None:
    assert (FlowKey(*one) == FlowKey(*other)) is (plain(one) == plain(other))
    hosts = all(plain(one)[i] == plain(other)[i] for i in (1, 3))
    assert (FlowKey(*one).key(2) == FlowKey(*other).key(2)) is hosts
    protocols = one[0] == other[0]
    assert (FlowKey(*one).key(3) == FlowKey(*other).key(3)) is (hosts and protocols)


@given(FIELDS)
def test_a_key_has_the_fields_it_was_made_of(fields: Fields) -> None:
    key = FlowKey(*fields)
    assert (
        key.protocol,
        unmapped(ip_address(key.source)),
        key.source_port,
        unmapped(ip_address(key.destination)),
        key.destination_port,
    ) == plain(fields)
    assert eval(repr(key), {"FlowKey": FlowKey}) == key  # noqa: S307 - own
    assert f"{key}" == str(key) == repr(key)
    assert [len(key.key(2)), len(key.key(3)), len(key.key(5))] == [32, 33, 37]
    assert isinstance(key, bytes)
    assert hash(key) == hash(bytes(key))


@given(FIELDS)
def test_every_form_of_an_address_gives_the_same_key(fields: Fields) -> None:
    protocol, source, port, destination, other_port = fields
    key = FlowKey(*fields)
    assert key == FlowKey(protocol, str(source), port, destination.packed, other_port)
    if source.version == 4:
        mapped = f"::ffff:{source}"
        assert key == FlowKey(protocol, mapped, port, destination, other_port)
        assert key == FlowKey(protocol, IPv6Address(mapped).packed, port, destination, other_port)


@given(FIELDS)
def test_both_directions_have_one_symmetric_key(fields: Fields) -> None:
    protocol, source, port, destination, other_port = fields
    there = FlowKey(*fields, symmetric=True)
    back = FlowKey(protocol, destination, other_port, source, port, symmetric=True)
    assert there == back
    assert (there.key(2), there.key(3)) == (back.key(2), back.key(3))
    assert there in {FlowKey(*fields), FlowKey(protocol, destination, other_port, source, port)}


@given(FIELDS)
def test_copies_and_pickles_equal_the_key(fields: Fields) -> None:
    key = FlowKey(*fields)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copied = pickle.loads(pickle.dumps(key, protocol))  # noqa: S301 - own pickle
        assert copied == key
        assert type(copied) is FlowKey
    assert copy.copy(key) == copy.deepcopy(key) == FlowKey.from_bytes(bytes(key)) == key


def test_a_protocol_name_equals_its_number() -> None:
    numbers = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}
    for name, value in numbers.items():
        key = FlowKey(name, "::1", 0, "::2", 0)
        assert key == FlowKey(value, "::1", 0, "::2", 0)
        assert key.protocol == value
        assert repr(key) == f"FlowKey({name!r}, '::1', 0, '::2', 0)"
    assert repr(FlowKey(99, "::1", 0, "::2", 0)) == "FlowKey(99, '::1', 0, '::2', 0)"


def test_a_zone_is_ignored() -> None:
    assert FlowKey("tcp", "fe80::1%eth0", 1, "::1", 2) == FlowKey("tcp", "fe80::1", 1, "::1", 2)


def test_a_key_is_the_same_in_every_process() -> None:
    """Expected bytes: addresses, protocol, ports, big-endian."""
    key = FlowKey("tcp", "192.0.2.1", 50123, "2001:db8::7", 443)
    assert key.hex() == (
        "00000000000000000000ffffc000020120010db800000000000000000000000706c3cb01bb"
    )


def test_a_key_is_hashed_like_its_bytes() -> None:
    ring = HashRing(["a", "b", "c"])
    keys = [FlowKey("tcp", "192.0.2.1", i, "198.51.100.7", 443) for i in range(50)]
    assert [ring.pick(key) for key in keys] == [ring.pick(bytes(key)) for key in keys]
    assert {ring.pick(key) for key in keys} == {"a", "b", "c"}
    assert len({ring.pick(key.key(2)) for key in keys}) == 1


VALID: Any = ("tcp", "192.0.2.1", 1, "192.0.2.2", 2)
INVALID_ADDRESSES: list[Any] = [
    "", " ", "localhost", "192.0.2", "192.0.2.1:80", "[::1]", "192.0.2.1 ", "192.0.2.01",
    "1.2.3.4.5", "::1::", "fe80::1%", "\u0661.2.3.4", "\ud800", "1" * 10_000, b"",
    b"12345", bytes(15), bytes(17), bytearray(4), None, 7, True, 1.5, ["::1"], ("::1", 80),
]  # fmt: skip
INVALID_PORTS: list[Any] = [-1, 65536, 10**400, 1.0, nan, "80", b"80", True, None, [80]]
INVALID_PROTOCOLS: list[Any] = [
    "",
    "TCP ",
    "quic",
    "6",
    -1,
    256,
    6.0,
    True,
    None,
    b"tcp",
    ["tcp"],
    "\ud800",
]


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        *((0, bad) for bad in INVALID_PROTOCOLS),
        *((place, bad) for place in (1, 3) for bad in INVALID_ADDRESSES),
        *((place, bad) for place in (2, 4) for bad in INVALID_PORTS),
    ],
    ids=lambda value: f"{value!r:.20}".encode("ascii", "backslashreplace").decode(),
)
def test_an_invalid_field_is_refused_with_its_value(place: int, bad: Any) -> None:
    fields = [*VALID]
    fields[place] = bad
    for symmetric in (False, True):
        with pytest.raises(InvalidKey) as raised:
            FlowKey(*fields, symmetric=symmetric)
        assert repr(bad) in str(raised.value)


@pytest.mark.parametrize("bad", [b"", bytes(36), bytes(38), "x" * 37, bytearray(37), None, 37])
def test_data_that_is_not_a_flow_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidKey, match="37 bytes"):
        FlowKey.from_bytes(bad)


@pytest.mark.parametrize("bad", [0, 1, 4, 6, -2, 5.0, None, "5"])
def test_another_number_of_fields_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidSetting, match=repr(bad)):
        FlowKey(*VALID).key(bad)
