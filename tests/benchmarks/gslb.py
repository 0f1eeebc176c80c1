"""Rows for global balancing with 100 000 networks and 50 regions."""

from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address
from itertools import cycle, islice
from random import Random

from balancers.gslb import (
    Client,
    ClientSubnet,
    Distance,
    Geolocation,
    NetworkTable,
    Place,
    Ranking,
    Region,
)
from tests.benchmarks.floors import attribute
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["networks", "rows"]

MANY, REGIONS, CLIENTS = 100_000, 50, 1000


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    yield Row("NetworkTable, value and scope of a client", MANY, "U", 100, _find)
    yield Row("ClientSubnet, an option parsed", 1, "U", 120, _parse)
    for down, where in ((0, "first"), (REGIONS - 1, "last")):
        name = f"Ranking, kept, the {where} is healthy"
        yield Row(name, REGIONS, "U", 60, partial(_kept, down))
    yield Row("Geolocation, a ranking by a table of networks", MANY, "U", 250, _by_table)
    yield Row("Distance, a ranking by a table of places", MANY, "U", 800, _by_distance)
    yield Row("Geolocation, a ranking, all reasons as text", MANY, "U", 2500, _texts_by_table)
    yield Row("Distance, a ranking, all reasons as text", MANY, "U", 3000, _texts_by_distance)


def networks(count: int) -> dict[str, int]:
    """Return networks with one of 50 values each, as many as are asked for."""
    rng = Random(count)
    made: dict[str, int] = {}
    while len(made) < count:
        length = rng.choice((12, 16, 20, 22, 24, 24, 24, 32))
        first = rng.getrandbits(32) >> 32 - length << 32 - length
        made[f"{IPv4Address(first)}/{length}"] = rng.randrange(50)
    return made


def _find() -> tuple[Run, Run]:
    """Find clients in turn, most of them in a network."""
    given = networks(MANY)
    table = NetworkTable(given)
    clients = [IPv4Address(text.partition("/")[0]) for text in islice(given, 10_000)]
    assert {table.find(client).value for client in clients} == {*range(50)}

    def run(times: int) -> None:
        find = table.find
        for client in islice(cycle(clients), times):
            find(client)

    return run, attribute()


def _parse() -> tuple[Run, Run]:
    option = bytes.fromhex("0001 1800 c00002")
    assert ClientSubnet.parse(option).encode() == option
    return repeated(lambda: ClientSubnet.parse(option)), attribute()


def _regions() -> list[Region]:
    """Return regions all over the world, the first one in London."""
    rng = Random(1)
    places = [Place(latitude=51.5, longitude=-0.1), *(_place(rng) for _ in range(1, REGIONS))]
    return [
        Region(f"region {number}", [f"192.0.2.{number}"], place=place)
        for number, place in enumerate(places)
    ]


def _place(rng: Random) -> Place:
    return Place(latitude=rng.uniform(-60, 70), longitude=rng.uniform(-180, 180))


def _clients() -> list[Client]:
    """Return clients in networks all over the table, without a place."""
    rng = Random(2)
    addresses = [text.partition("/")[0] for text in networks(MANY)]
    return [Client(rng.choice(addresses)) for _ in range(CLIENTS)]


def _kept(down: int) -> tuple[Run, Run]:
    """Find the first healthy region of a ranking, of which some are down."""
    regions = _regions()
    ranking = Distance(regions).rank(Client(place=Place(latitude=48.9, longitude=2.4)), 0.0)
    by_name = {region.name: region for region in regions}
    for name in ranking.names[:down]:
        by_name[name].set_up(by_name[name].members[0], False, now=1.0)
    assert ranking.first(2.0) is ranking[down].part
    return repeated(lambda: ranking.first(2.0)), attribute()


def _by_table() -> tuple[Run, Run]:
    """Rank by 100 000 networks, each with an order of all regions, and read all facts."""
    return _ranked(_geolocation(), _facts)


def _texts_by_table() -> tuple[Run, Run]:
    return _ranked(_geolocation(), _texts)


def _by_distance() -> tuple[Run, Run]:
    """Rank by distance from the places of 100 000 networks, and read all facts."""
    return _ranked(_distance(), _facts)


def _texts_by_distance() -> tuple[Run, Run]:
    return _ranked(_distance(), _texts)


def _geolocation() -> Geolocation:
    rng, regions = Random(3), _regions()
    orders = [rng.sample(regions, REGIONS) for _ in range(REGIONS)]
    table = {network: orders[number] for network, number in networks(MANY).items()}
    return Geolocation({"default": regions}, networks=table)


def _distance() -> Distance:
    rng = Random(4)
    places = NetworkTable({network: _place(rng) for network in networks(MANY)})
    return Distance(_regions(), places=places)


def _facts(ranking: Ranking) -> None:
    """Read each part and the value of its reason."""
    for _part, _fact in zip(ranking.parts, ranking.facts, strict=True):
        pass


def _texts(ranking: Ranking) -> None:
    """Read each part and the text of its reason."""
    for _part, _reason in ranking:
        pass


def _ranked(policy: Geolocation | Distance, read: Callable[[Ranking], None]) -> tuple[Run, Run]:
    """Rank for clients in turn, and read the ranking."""
    clients = _clients()
    for client in clients[:100]:
        ranking: Ranking = policy.rank(client, 0.0)
        assert len({*ranking.names}) == len(ranking.facts) == REGIONS
        assert all("network " in reason or " km away" in reason for _, reason in ranking)

    def run(times: int) -> None:
        rank = policy.rank
        for client in islice(cycle(clients), times):
            read(rank(client, 0.0))

    return run, attribute()
