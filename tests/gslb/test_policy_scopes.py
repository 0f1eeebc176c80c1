"""The scope of a policy is right: every client within it has the same ranking."""

from ipaddress import IPv4Address, IPv6Address, ip_network
from random import Random
from typing import Any

import pytest

from balancers.addresses import Address
from balancers.errors import InvalidKey, InvalidSetting
from balancers.gslb import (
    Client,
    ClientSubnet,
    Distance,
    Failover,
    Geolocation,
    Latency,
    LatencyTable,
    Multivalue,
    NetworkTable,
    Part,
    Place,
    Region,
    SpillOver,
    Weighted,
)
from tests.depth import runs
from tests.gslb.networks import EMBEDDING, Model, edges, embedded, random_networks, same_within

PLACES = {
    1: Place("EU", "FR", latitude=48.9, longitude=2.4),
    2: Place("AS", "JP", latitude=35.7, longitude=139.7),
    3: Place("NA", "US", "TX", latitude=32.8, longitude=-96.8),
}


def regions(rng: Random) -> list[Region]:
    count = rng.randrange(1, 4)
    return [
        Region(f"r{i}", [f"m{i}"], place=PLACES[rng.choice((1, 2, 3))], capacity=10.0)
        for i in range(count)
    ]


def policy_of(rng: Random, parts: list[Region], places: Any, networks: Model, depth: int) -> Part:
    """Return a policy over policies, up to a depth."""
    inner: list[Any] = [
        policy_of(rng, parts, places, networks, depth - 1) if depth and rng.random() < 0.5 else part
        for part in parts
    ]
    kind = rng.choice(("geolocation", "distance", "failover", "latency", "weighted", "multivalue"))
    if kind == "distance":
        return Distance(parts, places=places)
    if kind == "latency":
        table = LatencyTable(ipv4_prefix=rng.choice((8, 24)), ipv6_prefix=48)
        for network in networks:
            table.record(network.partition("/")[0], rng.choice(parts).name, rng.random(), now=0.0)
        return Latency(parts, table=table, places=places)
    if kind == "geolocation":
        listed: dict[str, Any] = {
            code: rng.sample(inner, len(inner)) for code in ("EU", "AS", "JP", "default")
        }
        own = {network: rng.sample(inner, 1) for network in networks if rng.random() < 0.5}
        return Geolocation(listed, networks=own, places=places, widen=rng.random() < 0.5)
    if kind == "failover":
        return Failover(inner)
    return Weighted(inner, rng=rng) if kind == "weighted" else Multivalue(inner, rng=rng)


def ranked(part: Any, client: Client, now: float) -> Any:
    """Return the ranking of a part with the rankings within it; of one that draws, as a set."""
    if isinstance(part, Region):
        return part.name
    inner = [ranked(one, client, now) for one in part.rank(client, now).parts]
    return frozenset(inner) if part.draws else tuple(inner)


class Reader:
    """Finds the network of a tree, as a reader of a MaxMind database does.

    The tree does not know that some IPv6 addresses are looked up as IPv4.
    """

    def __init__(self, places: dict[str, Place]) -> None:
        self._table = NetworkTable(places)
        self._networks = [ip_network(text) for text in places]

    def get(self, address: Address) -> Place | None:
        return self._table.get(address)

    def get_with_prefix_len(self, address: Address) -> tuple[Place | None, int]:
        for length in range(address.max_prefixlen):
            around: Any = ip_network((int(address), length), strict=False)
            same = [each for each in self._networks if each.version == address.version]
            if all(not around.overlaps(each) or around.subnet_of(each) for each in same):
                return self.get(address), length
        return self.get(address), address.max_prefixlen


def spilling(policy: Part, rng: Random) -> Part:
    """Return a policy of which some regions are full."""
    if policy.draws:
        return policy
    try:
        found = SpillOver(policy)  # type: ignore[arg-type]  # all of them are policies
    except InvalidSetting:  # two parts have the same name
        return policy
    regions = {part.name for part in policy.rank(Client(), 0.0).parts if isinstance(part, Region)}
    found.set_demand({name: rng.choice((0.0, 5.0, 20.0, 40.0)) for name in sorted(regions)})
    return found


@pytest.mark.parametrize("seed", range(runs(200)))
def test_every_client_in_the_scope_has_the_same_ranking(seed: int) -> None:
    rng = Random(seed)
    networks, placed = (random_networks(rng, rng.randrange(5), 2) for _ in range(2))
    where = {network: PLACES[rng.choice((1, 2, 3))] for network in placed}
    places = rng.choice((NetworkTable(where), Reader(where)))
    policy = spilling(policy_of(rng, regions(rng), places, networks, 2), rng)
    changes = [*networks, *placed]
    for _ in range(3):
        at = edges(changes)
        ipv4 = IPv4Address(rng.choice((rng.choice([*at[4]]), rng.getrandbits(32))))
        ipv6 = IPv6Address(rng.choice([*at[6]]))
        for address in (ipv4, embedded(ipv4, rng.choice(EMBEDDING)), ipv6):
            scope = policy.scope(Client(address))
            points = edges(changes, int(address))[address.version]

            def lookup(one: Address) -> Any:
                return ranked(policy, Client(one), 1.0)

            assert same_within(lookup, points, address, scope)


EU, US = Region("eu", ["a"], place=PLACES[1]), Region("us", ["b"], place=PLACES[3])


def test_the_scopes_of_policies() -> None:
    client = Client("12.3.4.5")
    places = NetworkTable({"12.3.0.0/16": PLACES[1], "12.4.0.0/16": PLACES[3]})
    assert EU.scope(client) == Failover([EU, US]).scope(client) == 0
    assert Distance([EU, US]).scope(client) == 0
    assert Distance([EU, US], places=places).scope(client) == 16
    table = LatencyTable(ipv4_prefix=20)
    assert Latency([EU, US], table=table).scope(client) == 20
    assert Latency([EU, US], table=table, places=places).scope(client) == 20
    assert Latency([EU, US]).scope(client) == 0
    by_place = Geolocation(
        {"EU": EU, "default": US}, networks={"12.3.4.0/24": US}, places=places, widen=False
    )
    assert by_place.scope(client) == 24
    assert by_place.scope(Client("12.3.128.1")) == 17
    assert by_place.scope(Client("12.4.0.1")) == 16
    assert by_place.scope(Client("::ffff:12.4.0.1")) == 112
    assert Failover([by_place, Latency([EU], table=table)]).scope(Client("12.3.128.1")) == 20
    assert by_place.scope(Client()) == 0


def test_a_network_whose_list_goes_on_by_place_has_the_scope_of_the_place_too() -> None:
    places = NetworkTable({"12.3.64.0/20": PLACES[1]})
    for widen, scope in ((True, 20), (False, 16)):
        policy = Geolocation(
            {"EU": EU, "default": US}, networks={"12.3.0.0/16": US}, places=places, widen=widen
        )
        assert policy.scope(Client("12.3.64.1")) == scope


def test_the_scope_of_an_answer_to_a_subnet() -> None:
    places = NetworkTable({"12.3.0.0/16": PLACES[1], "12.4.0.0/16": PLACES[3]})
    policy = Distance([EU, US], places=places)
    for subnet, scope in (
        (ClientSubnet("12.3.4.0", 24), 16),
        (ClientSubnet("12.0.0.0", 8), 15),
        (ClientSubnet(bytes(4), 0), 0),
    ):
        client = Client("192.0.2.53", subnet)
        assert subnet.answer(policy.scope(client)).scope == scope


class Database:
    """Finds a place for every address."""

    def get(self, address: object) -> Place:
        del address
        return PLACES[1]


class Known(Database):
    """Finds also the length of the network, as a reader of a MaxMind database does."""

    def get_with_prefix_len(self, address: object) -> tuple[Place, int]:
        return self.get(address), 22


def test_the_scope_of_a_place_that_is_known_for_the_client_only_is_the_whole_subnet() -> None:
    subnet = ClientSubnet("12.3.4.0", 24)
    queries = (Client("12.3.4.5"), 32), (Client("::1", subnet), 24), (Client("2001:db8::1"), 128)
    for client, longest in queries:
        assert client.longest_scope == longest
        assert Distance([EU, US], places=Database()).scope(client) == longest
        assert Distance([EU, US], places=Known()).scope(client) == 22
        placed = Client(client.address, client.subnet, place=PLACES[2])
        assert Distance([EU, US], places=Known()).scope(placed) == longest
        measured = Client(client.address, client.subnet, latencies={"eu": 0.1})
        assert Latency([EU, US]).scope(measured) == longest
    assert Distance([EU, US], places=Database()).scope(Client()) == 0


def test_a_part_of_your_own_has_the_longest_scope() -> None:
    class Own(Failover):
        scope = Part.scope

    assert Own([EU, US]).scope(Client("12.3.4.5")) == 32


def test_the_scope_of_latencies_is_that_of_the_networks_that_share_them() -> None:
    table = LatencyTable(ipv4_prefix=20, ipv6_prefix=40)
    texts = "192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::1", "2001:db8::1"
    assert [table.scope(text) for text in texts] == [20, 116, 116, 36, 40]
    table.record("192.0.2.1", "eu", 0.1, now=0.0)
    assert all(table.latencies(text, 0.0) == {"eu": 0.1} for text in texts[:-1])
    assert [table.scope(text) for text in ("::", "64:ff9b:0:1::", "2003::")] == [81, 64, 40]
    table.record("64:ff9b::198.51.100.1", "eu", 0.5, now=0.0)
    assert table.latencies("198.51.100.1", 0.0) == {"eu": 0.5}
    with pytest.raises(InvalidKey):
        table.scope("a")
