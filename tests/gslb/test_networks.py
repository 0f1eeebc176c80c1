"""Tables of networks agree with a plain search; scopes are right, and as large as they can be."""

import copy
import pickle
from collections.abc import Callable
from functools import partial
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from math import nan
from random import Random
from typing import Any

import numpy as np
import pytest

from balancers.addresses import Address
from balancers.errors import InvalidKey, InvalidSetting
from balancers.gslb import Found, NetworkTable, narrowest
from balancers.gslb._prefixes import prefix_of
from balancers.gslb._space import Space, ranges
from tests.depth import runs
from tests.gslb.networks import (
    EMBEDDING,
    Model,
    check_scope,
    edges,
    embedded,
    random_networks,
    value_of,
)
from tests.work import Counted, work_of


def addresses(rng: Random, entries: Model, count: int) -> list[Address]:
    """Return addresses at the edges of networks, next to them, and anywhere."""
    points = edges(entries)
    found: list[Address] = []
    for _ in range(count):
        ipv4 = rng.choice([*points[4]]) + rng.choice((-1, 0, 0, 1))
        ipv6 = rng.choice([*points[6]]) + rng.choice((-1, 0, 0, 1))
        inner = IPv4Address(rng.choice((ipv4, rng.getrandbits(32))) & 0xFFFFFFFF)
        found += [
            inner,
            IPv6Address(rng.choice((ipv6, rng.getrandbits(128))) & ((1 << 128) - 1)),
            embedded(inner, rng.choice(EMBEDDING), rng.getrandbits(128)),
        ]
    return found


@pytest.mark.parametrize("seed", range(runs(100)))
def test_values_and_scopes_are_those_of_a_plain_search(seed: int) -> None:
    rng = Random(seed)
    entries = random_networks(rng, rng.choice((0, 1, 2, 5, 12)), rng.choice((1, 2, 4)))
    table = NetworkTable(entries)
    for address in addresses(rng, entries, 6):
        found = table.find(address)
        assert found.value == table.get(address) == value_of(entries, address)
        check_scope(lambda one: value_of(entries, one), entries, address, found.scope)


@pytest.mark.parametrize("seed", range(runs(100)))
def test_a_combined_table_has_the_values_and_the_largest_scopes_of_the_function(seed: int) -> None:
    rng = Random(seed)
    parts = [random_networks(rng, rng.randrange(8), 4) for _ in range(rng.randrange(1, 4))]
    results: dict[tuple[Any, ...], int | None] = {}

    def function(*values: int | None) -> int | None:
        return results.setdefault(values, rng.randrange(3) or None)

    table = NetworkTable.combined(function, *map(NetworkTable, parts))

    def expected(address: Address) -> int | None:
        return results[tuple(value_of(part, address) for part in parts)]

    entries = {network: None for part in parts for network in part}
    for address in addresses(rng, entries, 6):
        found = table.find(address)
        assert found.value == expected(address)
        check_scope(expected, entries, address, found.scope)
        scopes = [NetworkTable(part).find(address).scope for part in parts]
        assert found.scope <= narrowest(*scopes)
        check_right(expected, entries, address, narrowest(*scopes))


def check_right(
    lookup: Callable[[Address], Any], entries: Model, address: Address, scope: int
) -> None:
    """Assert that all addresses within a scope have the same value."""
    host_bits = address.max_prefixlen - scope
    first = int(address) >> host_bits << host_bits
    points = edges(entries, int(address))[address.version]
    within = {point for point in points if point ^ first < 1 << host_bits}
    assert len({lookup(type(address)(point)) for point in within | {first}}) == 1


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(runs(120)))
def test_every_address_of_a_small_space(bits: int, seed: int) -> None:
    """All addresses are tried, and every scope."""
    rng = Random(seed)
    networks: dict[tuple[int, int], int] = {}
    for owner in range(1, rng.randrange(1, 9)):
        length = rng.randrange(bits + 1)
        networks[rng.getrandbits(bits) >> bits - length << bits - length, length] = owner
    values = [0, *(rng.randrange(3) for _ in range(9))]
    triples = sorted((first, length, owner) for (first, length), owner in networks.items())
    space = Space(bits, *ranges(bits, triples), values.__getitem__)
    owners = [
        max(
            (
                (length, owner)
                for first, length, owner in triples
                if first ^ at < 1 << bits - length
            ),
            default=(0, 0),
        )[1]
        for at in range(1 << bits)
    ]
    for at in range(1 << bits):
        scopes = [
            scope
            for scope in range(bits + 1)
            if len(
                {values[o] for a, o in enumerate(owners) if a >> bits - scope == at >> bits - scope}
            )
            == 1
        ]
        assert space.find(at) == (owners[at], min(scopes))
        assert space.owner(at) == owners[at]
    assert space.uniform == (len({values[owner] for owner in owners}) == 1)


WHOLE = {"0.0.0.0/0": "v4", "::/0": "v6"}


@pytest.mark.parametrize(
    ("entries", "address", "value", "scope", "network"),
    [
        ({}, "192.0.2.1", None, 0, None),
        ({}, "2001:db8::1", None, 0, None),
        ({}, "::ffff:192.0.2.1", None, 96, None),
        ({"0.0.0.0/0": "a"}, "192.0.2.1", "a", 0, "0.0.0.0/0"),
        ({"0.0.0.0/0": "a", "::/0": "a"}, "2001:db8::1", "a", 0, "::/0"),
        (WHOLE, "2001:db8::1", "v6", 21, "::/0"),  # 2001:0::/32 (Teredo) is v4
        (WHOLE, "2003::", "v6", 16, "::/0"),  # 2002::/16 (6to4) is v4
        (WHOLE, "8000::", "v6", 1, "::/0"),
        (WHOLE, "2002:c000:201::", "v4", 16, "0.0.0.0/0"),
        (WHOLE, "2001:0:1:2:3:4:5:6", "v4", 96, "0.0.0.0/0"),
        ({"192.0.2.1/32": "a"}, "192.0.2.1", "a", 32, "192.0.2.1/32"),
        ({"192.0.2.1/32": "a"}, "192.0.2.0", None, 32, None),
        ({"192.0.2.1/32": "a"}, "192.0.2.2", None, 31, None),
        ({"192.0.2.1": "a"}, "192.0.2.1", "a", 32, "192.0.2.1/32"),
        ({"2001:db8::1/128": "a"}, "2001:db8::1", "a", 128, "2001:db8::1/128"),
        ({"255.255.255.255/32": "a"}, "255.255.255.254", None, 32, None),
        ({"0.0.0.0/32": "a"}, b"\0\0\0\0", "a", 32, "0.0.0.0/32"),
        ({"0.0.0.0/1": "a", "128.0.0.0/1": "a"}, "1.2.3.4", "a", 0, "0.0.0.0/1"),
        ({"12.2.0.0/16": "a", "12.3.0.0/16": "a"}, "12.3.4.5", "a", 15, "12.3.0.0/16"),
        ({"12.1.0.0/16": "a", "12.2.0.0/16": "a"}, "12.2.4.5", "a", 16, "12.2.0.0/16"),
        ({"10.0.0.0/8": "a", "10.1.0.0/16": "a"}, "10.1.2.3", "a", 8, "10.1.0.0/16"),
        ({"10.0.0.0/8": "a", "10.1.0.0/16": None}, "10.1.2.3", None, 16, "10.1.0.0/16"),
        ({"::ffff:10.0.0.0/104": "a"}, "10.1.2.3", "a", 8, "10.0.0.0/8"),
        ({"11.1.0.0/16": "us", "11.1.7.0/24": "de"}, "11.1.0.0", "us", 22, "11.1.0.0/16"),
    ],
)
def test_examples(
    entries: Model, address: str | bytes, value: object, scope: int, network: str | None
) -> None:
    found = NetworkTable(entries).find(address)
    assert (found.value, found.scope) == (value, scope)
    assert found.network == (None if network is None else ip_network(network))


@pytest.mark.parametrize(
    ("client", "scope"),
    [
        ("::ffff:12.1.7.0", 112),
        ("::ffff:0:12.1.7.0", 112),
        ("64:ff9b::c01:700", 112),
        ("2002:c01:700::", 32),
        ("2002:c01:7ff:1:2:3:4:5", 32),
        ("2001:0:ffff:ffff:1:2:f3fe:f8ff", 112),  # Teredo: the inverted address
    ],
)
def test_ipv4_in_ipv6_is_looked_up_as_ipv4(client: str, scope: int) -> None:
    table = NetworkTable({"12.0.0.0/8": "other", "12.1.0.0/16": "de", "::/0": "v6"})
    assert table.find(client) == Found("de", scope, prefix_of("12.1.0.0/16"))
    assert table.get(client) == "de"


@pytest.mark.parametrize("client", ["64:ff9b:1::1", "::12.1.7.0", "2001:1::", "1:ff9b::", "::1"])
def test_other_ipv6_addresses_are_not_ipv4(client: str) -> None:
    table = NetworkTable({"0.0.0.0/0": "v4", "::/0": "v6"})
    assert table.get(client) == "v6"


def test_an_address_is_a_text_or_bytes_or_an_object() -> None:
    table = NetworkTable({IPv4Network("10.0.0.0/8"): 1, IPv6Network("fe80::/10"): 2})
    assert (
        table.get("10.1.2.3") == table.get(IPv4Address("10.1.2.3")) == table.get(b"\n\1\2\3") == 1
    )
    assert table.get("fe80::1%eth0") == table.get(ip_address("fe80::1").packed) == 2
    assert table.get("192.0.2.1") is None
    assert table.get("192.0.2.1", 7) == 7


@pytest.mark.parametrize("address", ["", "10.0.0.0/8", 5, None, b"abc", 1.5, "::g", ["10.0.0.1"]])
def test_a_value_that_is_no_address_is_refused(address: Any) -> None:
    table = NetworkTable({"10.0.0.0/8": 1})
    for lookup in (table.get, table.find):
        with pytest.raises(InvalidKey):
            lookup(address)


@pytest.mark.parametrize(
    "network",
    [
        *("10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "010.0.0.0/8", "10.0.0.0/8/8"),
        *("256.0.0.0/8", "10.0.0.0/ 8", " 10.0.0.0/8", "10.0.0.0/8\n", "10.0.0.0/", "", "/8", "a"),
        *("2001:db8::1/32", "::/129", "1::2::/64", "12345::/16", "::g/128", ":1::/16", "1:2/32"),
        *(
            "1:2:3:4:5:6:7:8:9/128",
            "1:2:3:4:5:6:7::8/128/1",
            "\uff110.0.0.0/8",
            "::\uff11/128",
            ":::/0",
        ),
        *(5, None, b"\n\0\0\0", 1.5, True, ("10.0.0.0", 8), frozenset({"10.0.0.0/8"})),
        *("2002::/16", "2002:c000::/24", "2001::/32", "2001:0:1::/48", "64:ff9b::/96"),
        *("64:ff9b::a00:0/104", "::ffff:0:10.0.0.0/104", "::ffff:10.0.0.1/104"),
    ],
)
def test_a_malformed_network_is_refused(network: Any) -> None:
    with pytest.raises(InvalidSetting):
        NetworkTable([("192.0.2.0/24", 1), (network, 2)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10.0.0.0/8", IPv4Network("10.0.0.0/8")),
        ("10.0.0.0/8", "10.0.0.0/255.0.0.0"),
        ("10.0.0.0/8", "::ffff:10.0.0.0/104"),
        ("2001:db8::/32", "2001:0DB8:0:0::/32"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("::/0", "0::/0"),
    ],
)
def test_a_network_that_occurs_twice_is_refused(one: Any, other: Any) -> None:
    with pytest.raises(InvalidSetting, match="occurs twice"):
        NetworkTable([(one, 1), ("192.0.2.0/24", 2), (other, 1)])


@pytest.mark.parametrize(
    "entries",
    [
        "10.0.0.0/8",
        b"ab",
        5,
        None,
        IPv4Network("10.0.0.0/8"),
        ["10.0.0.0/8"],
        [5],
        [("a",)],
        ["ab"],
    ],
)
def test_other_entries_are_refused(entries: Any) -> None:
    with pytest.raises(TypeError, match="entries"):
        NetworkTable(entries)


@pytest.mark.parametrize("tables", [(), ({},), (NetworkTable[int](), None)])
def test_only_tables_are_combined(tables: Any) -> None:
    with pytest.raises(TypeError, match="tables"):
        NetworkTable.combined(first, *tables)
    with pytest.raises(TypeError, match="function"):
        NetworkTable.combined(5, NetworkTable())  # type: ignore[arg-type]  # invalid


def test_text_is_read_like_ipaddress_reads_it() -> None:
    rng = Random(5)
    for _ in range(runs(12_000)):
        pieces = [
            "::",
            ":",
            "0",
            "ff",
            "db8",
            "12345",
            "10",
            "1.2.3.4",
            ".",
            "/",
            "/64",
            "/8",
            "%1",
        ]
        text = "".join(rng.choices(pieces, k=rng.randrange(1, 14)))
        try:
            expected = ip_network(text)
        except ValueError:
            with pytest.raises(InvalidSetting):
                prefix_of(text)
            continue
        if expected.version == 6 and int(expected.network_address) >> 96 == 0:
            continue  # perhaps mapped, which is read as IPv4
        first = int(expected.network_address)
        assert prefix_of(text) == (expected.version, first, expected.prefixlen)
    for bits in range(128):
        wide = IPv6Network((rng.getrandbits(128) >> 128 - bits << 128 - bits, bits))
        for text in (wide.exploded, wide.compressed, str(wide).upper()):
            assert prefix_of(text) == (6, int(wide.network_address), bits)


def test_values_need_not_be_hashable_and_are_returned_as_they_are() -> None:
    one, other = {"city": "Paris"}, {"city": "Paris"}
    table = NetworkTable(
        {"12.2.0.0/16": one, "12.3.0.0/16": other, "12.4.0.0/16": {"city": "Rome"}}
    )
    assert table.get("12.2.0.0") is one
    assert table.find("12.3.0.0").value is other
    assert table.find("12.3.0.0").scope == 15
    odd = NetworkTable({"12.2.0.0/16": nan, "12.2.4.0/24": nan})
    assert odd.find("12.2.0.0").scope == 16


def test_values_that_cannot_be_compared_are_different() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise TypeError

        __hash__ = None  # type: ignore[assignment]  # not hashable

    one, other = np.arange(3), np.arange(3)
    pairs: list[tuple[Any, Any, int]] = [(one, other, 16), (one, one, 15), (Odd(), Odd(), 16)]
    for first_value, second_value, scope in pairs:
        table = NetworkTable([("12.2.0.0/16", first_value), ("12.3.0.0/16", second_value)])
        assert table.find("12.3.0.0").value is second_value
        assert table.find("12.3.0.0").scope == scope
    numbers = NetworkTable([("12.2.0.0/16", np.float64(2)), ("12.3.0.0/16", np.float64(2))])
    assert numbers.find("12.3.0.0").scope == 15


def test_the_table_does_not_depend_on_the_order_and_is_not_changed_with_its_source() -> None:
    entries = random_networks(Random(3), 30, 5)
    table = NetworkTable(entries)
    reverse = NetworkTable([*entries.items()][::-1])
    tried = addresses(Random(4), entries, 40)
    before = [table.find(address) for address in tried]
    assert before == [reverse.find(address) for address in tried]
    assert len(table) == len(reverse) == len(entries)
    entries.clear()
    for same in (table, copy.copy(table), copy.deepcopy(table), pickled(table)):
        assert [same.find(address) for address in tried] == before
    assert repr(table) == f"<NetworkTable: {len(table)}>"


def pickled(table: NetworkTable[Any]) -> NetworkTable[Any]:
    again: NetworkTable[Any] = pickle.loads(pickle.dumps(table))  # noqa: S301 - its own
    return again


def test_the_function_of_a_combined_table_is_called_once_for_each_combination() -> None:
    calls: list[tuple[Any, ...]] = []
    tables = [
        NetworkTable({"10.0.0.0/8": 1, "10.1.0.0/16": 2}),
        NetworkTable({"10.0.0.0/8": 3, "2001:db8::/32": 4}),
    ]
    table = NetworkTable.combined(lambda *values: calls.append(values), *tables)
    assert sorted(calls, key=str) == [(1, 3), (2, 3), (None, 4), (None, None)]
    networks = [str(table.find(client).network) for client in ("10.1.2.3", "10.2.3.4", "1.2.3.4")]
    assert networks == ["10.1.0.0/16", "10.0.0.0/8", "None"]
    assert len(table) == 3


def test_the_function_of_a_combined_table_may_raise() -> None:
    def inverse(value: int | None) -> int:
        return 1 // (1 if value is None else value)

    with pytest.raises(ZeroDivisionError):
        NetworkTable.combined(inverse, NetworkTable({"10.0.0.0/8": 0}))


def many(count: int) -> dict[str, int]:
    """Return as many different IPv4 networks, some within others."""
    rng = Random(count)
    made: dict[str, int] = {}
    while len(made) < count:
        length = rng.choice((12, 16, 20, 22, 24, 24, 24, 32))
        first = rng.getrandbits(32) >> 32 - length << 32 - length
        made[f"{IPv4Address(first)}/{length}"] = rng.randrange(50)
    return made


def first(one: int | None, _: int | None) -> int | None:
    return one


def test_the_cost_of_a_table_is_linear_and_that_of_a_lookup_does_not_grow() -> None:
    """Lines are counted; the sort and the binary search have none."""
    small, large = many(500), many(4000)
    tables = NetworkTable(small), NetworkTable(large)
    address = IPv4Address("10.1.2.3")

    def lines(call: Callable[..., object], *arguments: object) -> int:
        return work_of(partial(call, *arguments)).lines

    assert lines(NetworkTable, large) < 8.5 * lines(NetworkTable, small)
    ours, theirs = (lines(NetworkTable.combined, first, table, table) for table in tables)
    assert theirs < 8.5 * ours
    for lookup in (NetworkTable[int].find, NetworkTable[int].get):
        assert lines(lookup, tables[0], address) == lines(lookup, tables[1], address) <= 25


def test_values_are_compared_once_per_range_and_never_hashed() -> None:
    entries = {network: Counted(str(value)) for network, value in many(1000).items()}
    work = work_of(lambda: NetworkTable(entries))
    assert work.hashes == 0
    assert 0 < work.comparisons <= 2 * 1000
    table = NetworkTable(entries)
    assert work_of(lambda: table.find("10.1.2.3")).comparisons == 0


def test_nested_networks_are_no_worse_than_others() -> None:
    chain = {f"0.0.0.0/{length}": length for length in range(33)}
    table = NetworkTable(chain)
    assert [table.get(IPv4Address(1 << at)) for at in range(32)] == [31 - at for at in range(32)]
    assert table.get(IPv4Address(0)) == 32


def test_a_place_database_of_maxmind_becomes_a_table(tmp_path: Any) -> None:
    mmdb_writer = pytest.importorskip("mmdb_writer")
    maxminddb = pytest.importorskip("maxminddb")
    netaddr = pytest.importorskip("netaddr")
    places = {"12.2.0.0/16": "Paris", "12.3.0.0/16": "London", "2001:db8::/32": "Tokyo"}
    writer = mmdb_writer.MMDBWriter(ip_version=6, ipv4_compatible=True)
    for network, city in places.items():
        writer.insert_network(netaddr.IPSet([network]), {"city": city})
    path = tmp_path / "places.mmdb"
    writer.to_db_file(str(path))
    with maxminddb.open_database(str(path)) as reader:
        table: NetworkTable[Any] = NetworkTable(reader)
        for network, city in places.items():
            address = ip_network(network)[1]
            assert table.get(address) == reader.get(address) == {"city": city}
            assert table.find(address).network == ip_network(network)
