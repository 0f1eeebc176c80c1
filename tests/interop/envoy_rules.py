"""Plain restatements of the rules of Envoy: slow and exact."""

from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

from balancers.interop.envoy import Maglev, RingHash
from balancers.keys import XXHash64

__all__ = [
    "Schedule",
    "bounded",
    "maglev",
    "mt19937",
    "ring",
    "ring_attempts",
    "shuffled",
    "tables",
    "xxh64",
]


def xxh64(data: bytes, seed: int = 0) -> int:
    """Return the 64-bit hash."""
    return XXHash64(seed)(data)


def tables(weights: dict[str, int], **settings: Any) -> list[RingHash[str] | Maglev[str]]:
    """Return a small RingHash and a small Maglev."""
    return [
        RingHash(weights, minimum_ring_size=32, maximum_ring_size=256, **settings),
        Maglev(weights, table_size=101, **settings),
    ]


def ring(hosts: Sequence[tuple[str, float]], least: int, most: int) -> list[tuple[int, str]]:
    """Return the sorted points of hosts with their shares."""
    smallest = min(share for _, share in hosts)
    scale = min(ceil(smallest * least) / smallest, most)
    points: list[tuple[int, str]] = []
    target = made = 0.0
    for host, share in hosts:
        target += scale * share
        number = 0
        while made < target:
            points.append((xxh64(f"{host}_{number}".encode()), host))
            number += 1
            made += 1
    return sorted(points)


def ring_attempts(points: Sequence[tuple[int, str]], digest: int) -> Iterator[str]:
    """Return the owner at every attempt, once round the ring."""
    first = next((at for at, (point, _) in enumerate(points) if point >= digest), 0)
    for attempt in range(len(points)):
        yield points[(first + attempt) % len(points)][1]


def maglev(hosts: Sequence[tuple[str, float]], size: int) -> list[str]:
    """Fill the table, one slot at a time."""
    table: list[str | None] = [None] * size
    order = sorted(hosts, key=lambda each: each[0].encode())
    heaviest = max(share for _, share in hosts)
    nexts = {host: slots(host.encode(), size) for host, _ in order}
    targets = dict.fromkeys(nexts, 0.0)
    iteration = 0
    while None in table:
        iteration += 1
        for host, share in order:
            if iteration * share >= targets[host] and None in table:
                targets[host] += heaviest
                table[next(slot for slot in nexts[host] if table[slot] is None)] = host
    return [host for host in table if host is not None]


def slots(host: bytes, size: int) -> Iterator[int]:
    slot = xxh64(host) % size
    while True:
        yield slot
        slot = (slot + xxh64(host, 1) % (size - 1) + 1) % size


def mt19937(seed: int) -> Iterator[int]:
    """MT19937 (Matsumoto and Nishimura, 1998) from a 32-bit seed."""
    state = [seed]
    for place in range(1, 624):
        state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + place) % (1 << 32))
    while True:
        for place in range(624):
            both = state[place] & 1 << 31 | state[(place + 1) % 624] & (1 << 31) - 1
            state[place] = state[(place + 397) % 624] ^ both >> 1 ^ (0x9908B0DF if both & 1 else 0)
        for word in state:
            first = word ^ word >> 11
            second = first ^ first << 7 & 0x9D2C5680
            third = second ^ second << 15 & 0xEFC60000
            yield third ^ third >> 18


def shuffled(hosts: Sequence[str], digest: int) -> list[str]:
    """Shuffle hosts by the lower half of a hash."""
    words = mt19937(digest % (1 << 32))
    order = list(hosts)
    for place in range(len(order)):
        left = len(order) - place
        step = next(x for word in words if (x := word // ((1 << 32) // left)) < left)
        order[place], order[place + step] = order[place + step], order[place]
    return order


def bounded(
    owner: str, hosts: Sequence[tuple[str, float]], active: dict[str, int], factor: int, digest: int
) -> str:
    """Return the owner, or the host that serves instead of it."""
    shares = dict(hosts)
    slots = ((sum(active.values()) + 1) * factor + 99) // 100

    def load(host: str) -> float:
        return active.get(host, 0) / max(1, ceil(slots * shares[host]))

    if load(owner) <= 1:
        return owner
    others = [host for host in shuffled(list(shares), digest) if host != owner]
    available = [host for host in others if load(host) <= 1]
    return available[0] if available else min([owner, *others], key=load)


class Schedule:
    """Earliest deadline first, with fractions and by a linear scan."""

    def __init__(self, weights: dict[str, int]) -> None:
        self.weights = weights
        self.active = dict.fromkeys(weights, 0)
        self.serial = 0
        self.due: dict[str, tuple[Fraction, int, int]] = {}
        for host in weights:
            self.queue(host, Fraction(0))

    def queue(self, host: str, now: Fraction) -> None:
        self.serial += 1
        stride = Fraction(self.active[host] + 1, self.weights[host])
        self.due[host] = (now + stride, self.weights[host], self.serial)

    def pick(self, avoid: Collection[str] = ()) -> str:
        while True:
            host = min(self.due, key=self.due.__getitem__)
            self.queue(host, self.due[host][0])
            if host not in avoid:
                return host
