"""Rows for pools of 3 and 10 members, against the plainest code that does the same.

The plainest code has no weight 0, no ``avoid``, no limits and no errors of its own; where the
comment says so, it does less than the balancer.
"""

from bisect import bisect
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from itertools import accumulate, cycle
from random import Random
from typing import Any

from mmh3 import mmh3_x64_128_utupledigest

from balancers import Balancer
from tests.benchmarks.floors import KEYS, keyed, names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row
from tests.kinds import KINDS, Kind

__all__ = ["PLAIN", "UNCOMPARED", "rows"]

SMALL = (3, 10)
PLAINEST = "the plainest code"
CLIENTS = [f"10.0.{i >> 8}.{i & 255}" for i in range(2000)]
UNWEIGHTED = {"RoundRobin", "LeastConnections", "IPHash", "Maglev", "Jump", "Anchor", "Memento"}
Pick = Callable[..., Any]


class Peer:
    """A member of a plain scan."""

    __slots__ = ("current", "in_flight", "name", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.name, self.weight, self.current, self.in_flight = name, weight, 0.0, 0


def hash_of(key: bytes) -> int:
    """Return 64 bits of murmur3, which the balancers use too."""
    digest: int = mmh3_x64_128_utupledigest(key, 0)[0]
    return digest


def smooth(peers: list[Peer]) -> Peer:
    """Do one step of nginx's smooth weighted round robin."""
    total, best = 0.0, None
    for peer in peers:
        total += peer.weight
        peer.current += peer.weight
        if best is None or peer.current > best.current:
            best = peer
    assert best is not None
    best.current -= total
    return best


def plain_round_robin(n: int) -> Pick:
    return partial(next, cycle(names(n)))


def plain_weighted_round_robin(n: int) -> Pick:
    peers = [Peer(*item) for item in weights(n).items()]
    return lambda: smooth(peers).name


def plain_random_choice(n: int) -> Pick:
    members, rng = list(weights(n)), Random(1)
    sums = list(accumulate(weights(n).values()))
    return lambda: rng.choices(members, cum_weights=sums)[0]


def plain_least_connections(n: int) -> Pick:
    """Ties go to the first member, which makes this code faster and less even than ours."""
    counts = dict.fromkeys(names(n), 0)
    count: Any = counts.get

    def request() -> None:
        chosen = min(counts, key=count)
        counts[chosen] += 1
        counts[chosen] -= 1

    return request


def plain_weighted_least(n: int) -> Pick:
    """Return a request with nginx's scan of ``least_conn``."""
    peers = [Peer(*item) for item in weights(n).items()]
    by_name = {peer.name: peer for peer in peers}

    def request() -> None:
        best, tied = peers[0], [peers[0]]
        for peer in peers[1:]:
            mine, least = peer.in_flight * best.weight, best.in_flight * peer.weight
            if mine < least:
                best, tied = peer, [peer]
            elif mine == least:
                tied.append(peer)
        chosen = smooth(tied).name
        by_name[chosen].in_flight += 1
        by_name[chosen].in_flight -= 1

    return request


def plain_shortest_delay(n: int) -> Pick:
    peers = [Peer(*item) for item in weights(n).items()]
    by_name = {peer.name: peer for peer in peers}

    def request() -> None:
        chosen = min(peers, key=lambda peer: (peer.in_flight + 1) / peer.weight).name
        by_name[chosen].in_flight += 1
        by_name[chosen].in_flight -= 1

    return request


def plain_choices(n: int, choices: int) -> Pick:
    """Sample without weights, which is less than the balancer does."""
    members, rng = names(n), Random(1)
    counts = dict.fromkeys(members, 0)

    def request() -> None:
        chosen = min(rng.sample(members, choices), key=counts.__getitem__)
        counts[chosen] += 1
        counts[chosen] -= 1

    return request


def plain_modulo(n: int) -> Pick:
    """Move nearly all keys when a member leaves, which is less than Maglev and Anchor promise."""
    members = names(n)

    def pick(key: bytes) -> str:
        return members[hash_of(key) % n]

    return pick


def plain_ring(n: int, points: int = 8) -> Pick:
    owners = {hash_of(f"{name}-{i}".encode()): name for name in names(n) for i in range(points)}
    circle = sorted(owners)

    def pick(key: bytes) -> str:
        return owners[circle[bisect(circle, hash_of(key)) % len(circle)]]

    return pick


def plain_bounded_ring(n: int) -> Pick:
    owners = {hash_of(f"{name}-{i}".encode()): name for name in names(n) for i in range(8)}
    circle = sorted(owners)
    counts = dict.fromkeys(names(n), 0)

    def pick(key: bytes) -> str:
        bound, place = 1.25 * (sum(counts.values()) + 1) / n, bisect(circle, hash_of(key))
        while counts[owner := owners[circle[place % len(circle)]]] + 1 > max(1, bound):
            place += 1
        return owner

    return pick


def plain_rendezvous(n: int) -> Pick:
    members = names(n)

    def pick(key: bytes) -> str:
        return max(members, key=lambda name: hash_of(name.encode() + key))

    return pick


def plain_multi_probe(n: int) -> Pick:
    owners = {hash_of(name.encode()): name for name in names(n)}
    circle = sorted(owners)
    wrapped = [*circle, circle[0] + (1 << 64)]
    probes = [hash_of(bytes([i])) | 1 for i in range(21)]

    def pick(key: bytes) -> str:
        digest = hash_of(key)
        places = [digest * probe & (1 << 64) - 1 for probe in probes]
        nearest = min(places, key=lambda place: wrapped[bisect(circle, place)] - place)
        return owners[circle[bisect(circle, nearest) % n]]

    return pick


def plain_jump(n: int) -> Pick:
    members = names(n)

    def pick(key: bytes) -> str:
        digest, bucket, step = hash_of(key), -1, 0
        while step < n:
            bucket = step
            digest = (digest * 2862933555777941757 + 1) & (1 << 64) - 1
            step = int((bucket + 1) * ((1 << 31) / ((digest >> 33) + 1)))
        return members[bucket]

    return pick


def of_address(plain: Pick) -> Pick:
    """Pick by the address of a client."""

    def pick(key: str) -> Any:
        return plain(ip_address(key).packed)

    return pick


PLAIN: dict[str, tuple[Callable[[int], Pick], float, float]] = {
    "RoundRobin": (plain_round_robin, 3, 3),
    "WeightedRoundRobin": (plain_weighted_round_robin, 0.3, 0.15),
    "RandomChoice": (plain_random_choice, 0.15, 0.15),
    "LeastConnections": (plain_least_connections, 2.2, 1.3),
    "WeightedLeastConnections": (plain_weighted_least, 1.7, 1.5),
    "WeightedLeastConnections-sed": (plain_shortest_delay, 1.7, 1.5),
    "LeastLoaded": (plain_weighted_least, 2.9, 2.7),
    "LeastLoaded-PeakEwma": (plain_weighted_least, 3, 3),
    "PowerOfTwoChoices": (partial(plain_choices, choices=2), 0.35, 0.35),
    "PowerOfTwoChoices-3-load": (partial(plain_choices, choices=3), 1, 1),
    "IPHash": (lambda n: of_address(plain_modulo(n)), 1.8, 1.8),
    "IPHash-over-HashRing": (lambda n: of_address(plain_ring(n)), 1.7, 1.7),
    "HashRing": (plain_ring, 1.4, 1.4),
    "Maglev": (plain_modulo, 1.7, 1.7),
    "Rendezvous": (plain_rendezvous, 4.5, 2),
    "MultiProbe": (plain_multi_probe, 2, 2),
    "Jump": (plain_jump, 2.7, 2.3),
    "Anchor": (plain_modulo, 7.5, 6.5),
    "Memento": (plain_jump, 3.5, 2.6),
    "BoundedLoad-over-HashRing": (plain_bounded_ring, 1, 1),
}
"""The plainest code of each kind, and how much longer ours may take with 3 and 10 members."""

UNCOMPARED = {
    "LeastConnections-ties",
    "OwnerOnly",
    "PrefixAffinity",
    "Tiers",
    "Tiers-keyed",
    "Zones",
}
"""Balancers over others, or with caches, for which no plain code is short.

Tiers and PrefixAffinity have rows in U, in ``load_aware``.
"""


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for kind in (kind for kind in KINDS if kind.name not in UNCOMPARED):
        plain, *reaches = PLAIN[kind.name]
        what = "a request" if kind.least or kind.lighter_of_two or "Least" in kind.name else "pick"
        for n, reach in zip(SMALL, reaches, strict=True):
            name = f"{kind.name}, {what}, small"
            yield Row(name, n, PLAINEST, reach, partial(_small, kind, plain, n))


def _small(kind: Kind, plain: Callable[[int], Pick], n: int) -> tuple[Run, Run]:
    lb: Balancer[Any] = kind.make(names(n) if kind.name in UNWEIGHTED else weights(n))
    other = plain(n)
    if lb.keyed:
        assert {lb.pick(key) for key in CLIENTS} == set(names(n))
        if not kind.name.startswith("IPHash"):
            assert len({other(key) for key in KEYS[:2000]}) == n
            return keyed(lb.pick), keyed(other)
        return _of_clients(lb.pick), _of_clients(other)
    served = {lb.pick() for _ in range(10_000)}
    heaviest = {name for name, weight in lb.weights.items() if weight == max(lb.weights.values())}
    assert served == (heaviest if kind.name.endswith("sed") else set(names(n)))
    pick, started, finished = lb.pick, lb.started, lb.finished
    if "Least" not in kind.name and not kind.lighter_of_two:
        return repeated(pick), repeated(other)

    def request() -> None:
        backend = pick()
        started(backend)
        finished(backend)

    return repeated(request), repeated(other)


def _of_clients(pick: Callable[[str], Any]) -> Run:
    def run(times: int) -> None:
        for number in range(times):
            pick(CLIENTS[number % len(CLIENTS)])

    return run
