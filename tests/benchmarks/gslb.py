"""Rows for global balancing with 100 000 networks."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import cycle, islice
from random import Random

from balancers.gslb import ClientSubnet, NetworkTable
from tests.benchmarks.floors import attribute
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["networks", "rows"]

MANY = 100_000


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    yield Row("NetworkTable, value and scope of a client", MANY, "U", 100, _find)
    yield Row("ClientSubnet, an option parsed", 1, "U", 120, _parse)


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
