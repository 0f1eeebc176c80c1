"""Hostile packets: no two flows share a key, and a flood stays inside the table."""

from collections import Counter
from fractions import Fraction
from itertools import combinations, product
from random import Random
from typing import Any

import pytest

from balancers import HashRing
from balancers.errors import InvalidKey, InvalidSetting, InvalidTime
from balancers.flows import FlowKey, FlowTable
from tests.depth import runs
from tests.hostile.shown import shown

ADDRESSES = ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "::1.2.3.4", "fe80::1"]  # noqa: S104 - data
PORTS = [0, 1, 255, 256, 65535]
BAD_ADDRESSES: list[object] = [
    *("", " ", "10.0.0.256", "10.1", "010.0.0.1", "10.0.0.1 ", "10.0.0.1:80", "[::1]", "localhost"),
    *("1.2.3.4\0", "\u0661.2.3.4", "::g", "\ud800", "9" * 5000, "::1/128", "1::2::3", "fe80::1%"),
    *(
        b"",
        b"abc",
        b"12345",
        bytes(15),
        bytes(17),
        bytearray(4),
        memoryview(bytes(4)),
        b"192.0.2.1",
    ),
    *(0, -1, 2**32, 1.5, True, None, ("10.0.0.1", 80), [10, 0, 0, 1], object()),
]
BAD_PORTS: list[object] = [
    *(
        -1,
        65536,
        2**64,
        True,
        False,
        80.0,
        "80",
        b"\0\x50",
        None,
        Fraction(80),
        float("nan"),
        (80,),
    ),
]
BAD_PROTOCOLS: list[object] = [
    *(
        "TCP",
        "",
        "tcp ",
        "http",
        "6",
        -1,
        256,
        2**70,
        True,
        6.0,
        None,
        b"tcp",
        ["tcp"],
        Fraction(6),
    ),
]


def flow(number: int) -> bytes:
    return FlowKey("tcp", number.to_bytes(4, "big"), 1, bytes(4), 443)


def test_different_flows_have_different_keys() -> None:
    keys: Counter[bytes] = Counter()
    for protocol in ("tcp", 17, 0, 255):
        for ends in product(ADDRESSES, PORTS, ADDRESSES, PORTS):
            keys[FlowKey(protocol, *ends)] += 1
    assert set(keys.values()) == {1}


def test_symmetric_keys_are_equal_for_the_two_directions_only() -> None:
    ends = list(product(ADDRESSES, PORTS))
    keys: Counter[bytes] = Counter()
    for first, second in combinations(ends, 2):
        there = FlowKey("udp", *first, *second, symmetric=True)
        assert there == FlowKey("udp", *second, *first, symmetric=True)
        keys[there] += 1
    assert set(keys.values()) == {1}


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=shown)
def test_what_is_no_address_is_refused(address: Any) -> None:
    for ends in ((address, 1, "::1", 2), ("::1", 1, address, 2)):
        with pytest.raises(InvalidKey):
            FlowKey("tcp", *ends)


@pytest.mark.parametrize("port", BAD_PORTS, ids=shown)
def test_what_is_no_port_is_refused(port: Any) -> None:
    for ends in (("::1", port, "::1", 2), ("::1", 1, "::1", port)):
        with pytest.raises(InvalidKey):
            FlowKey("tcp", *ends)


@pytest.mark.parametrize("protocol", BAD_PROTOCOLS, ids=shown)
def test_what_is_no_protocol_is_refused(protocol: object) -> None:
    with pytest.raises(InvalidKey):
        FlowKey(protocol, "::1", 1, "::1", 2)  # type: ignore[arg-type]  # the test


@pytest.mark.parametrize(
    "data", [b"", bytes(36), bytes(38), bytearray(37), "x" * 37, None, 37, memoryview(bytes(37))]
)
def test_bytes_of_another_length_or_type_are_no_key(data: object) -> None:
    with pytest.raises(InvalidKey):
        FlowKey.from_bytes(data)  # type: ignore[arg-type]  # the test


def test_any_37_bytes_are_a_key_that_can_be_shown() -> None:
    rng = Random(1)
    for _ in range(runs(2000)):
        key = FlowKey.from_bytes(rng.randbytes(37))
        assert FlowKey.from_bytes(bytes(key)) == key
        fields = (key.protocol, key.source, key.source_port, key.destination, key.destination_port)
        again = FlowKey(*fields)
        assert again.key(2) == key.key(2)
        assert again == key
        assert key.source in repr(key)


@pytest.mark.parametrize("fields", [0, 1, 4, 6, -2, True, 2.0, "2", None])
def test_a_key_of_other_fields_is_refused(fields: object) -> None:
    with pytest.raises(InvalidSetting):
        FlowKey("tcp", "::1", 1, "::1", 2).key(fields)  # type: ignore[arg-type]  # the test


def test_a_flood_of_handshakes_evicts_at_most_one_connection() -> None:
    table: FlowTable[str] = FlowTable(max_flows=100)
    for number in range(100):
        table.keep(flow(number), "a", 0.0, "established")
    for number in range(runs(50_000)):
        table.keep(flow(1000 + number), "b", 1.0, "new")
        assert len(table) <= 100
    assert sum(flow(number) in table for number in range(100)) >= 99
    assert table.backends["a"] >= 99


def test_a_flood_of_every_state_stays_inside_the_table() -> None:
    rng = Random(2)
    ring = HashRing(["a", "b", "c"])
    table: FlowTable[str] = FlowTable(max_flows=50)
    now = 0.0
    for _ in range(runs(20_000)):
        now += rng.uniform(-5, 5)
        state = rng.choice(("new", "established", "closing"))
        key = flow(rng.randrange(500)) if rng.randrange(2) else rng.randbytes(rng.randrange(2000))
        if rng.randrange(3):
            assert table.route(key, ring.pick, now, state) in ring.weights  # type: ignore[arg-type]  # one of them
        else:
            table.discard(key)
        assert len(table) <= 50
        assert sum(table.states.values()) == sum(table.backends.values()) == len(table)


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -float("inf"), 1e301, -1e301])
def test_a_hostile_time_changes_nothing(now: float) -> None:
    table: FlowTable[str] = FlowTable(max_flows=2)
    table.keep(b"flow", "a", 0.0, "new")
    before = repr(table), table.counts, table.due
    for call in (
        lambda: table.find(b"flow", now),
        lambda: table.keep(b"other", "b", now, "new"),
        lambda: table.route(b"other", lambda _: "b", now, "new"),
        lambda: table.expire(now),
    ):
        with pytest.raises(InvalidTime):
            call()
        assert (repr(table), table.counts, table.due) == before
