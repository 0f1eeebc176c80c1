"""Rows for Maglev, Rendezvous and MultiProbe."""

from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

from balancers import Maglev, Rendezvous
from balancers.hashing import HashedBalancer, MultiProbe
from balancers.hashing.maglev_table import fill
from tests.benchmarks.floors import (
    BATCH,
    KEYS,
    gather,
    hashes,
    index_of_key,
    keyed,
    names,
    weights,
)
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["rows"]

SIZES = (10, 100, 1000)


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n, reach in zip(SIZES, (2, 2, 2.5), strict=True):
        yield Row("Maglev.pick(bytes)", n, "H", reach, partial(_pick, Maglev, names(n)))
        weighted = partial(_pick, Rendezvous, weights(n))
        yield Row("Rendezvous.pick(bytes), weighted", n, "H", 75, weighted)
        yield Row("MultiProbe.pick(bytes)", n, "H", 120, partial(_pick, MultiProbe, names(n)))
    for n, reach in ((1000, 0.8), (5000, 1)):
        yield Row("Maglev, fill 65 537 slots", n, "the textbook", reach, partial(_fill, n, 65_537))
    big = partial(_fill, 1000, 655_373)
    yield Row("Maglev, fill 655 373 slots", 1000, "the textbook", 0.4, big)
    yield Row("Maglev.pick_many of 10⁷", 1000, "a gather", 2.5, partial(_batch, 1000))
    for kind, n in ((Rendezvous, 10), (MultiProbe, 1000)):
        many = partial(_many, kind, n)
        yield Row(f"{kind.__name__}.pick_many", n, "a loop of picks", -10, many)


def _pick(make: Any, backends: Any) -> tuple[Run, Run]:
    lb: HashedBalancer[str] = make(backends)
    members, some = list(lb.weights), KEYS[:500]
    assert [members[place] for place in lb.pick_many(lb.hash_many(some))] == _one_by_one(lb, some)
    return keyed(lb.pick), index_of_key(len(members))


def _one_by_one(lb: HashedBalancer[str], keys: list[bytes]) -> list[str]:
    return [lb.pick(key) for key in keys]


def _fill(n: int, size: int) -> tuple[Run, Run]:
    rng = Random(1)
    offsets = [rng.randrange(size) for _ in range(n)]
    skips = [rng.randrange(1, size) for _ in range(n)]
    equal = [1] * n
    assert fill(offsets, skips, equal, size).tolist() == _textbook(offsets, skips, size)
    return (
        repeated(lambda: fill(offsets, skips, equal, size)),
        repeated(lambda: _textbook(offsets, skips, size)),
    )


def _textbook(offsets: list[int], skips: list[int], size: int) -> list[int]:
    table, at = [-1] * size, offsets.copy()
    filled = 0
    while True:
        for backend, skip in enumerate(skips):
            slot = at[backend]
            while table[slot] >= 0:
                slot += skip
                if slot >= size:
                    slot -= size
            table[slot] = backend
            at[backend] = slot
            filled += 1
            if filled == size:
                return table


def _batch(n: int) -> tuple[Run, Run]:
    lb, many = Maglev(range(n)), hashes(BATCH)
    picked = lb.pick_many(many)
    assert picked[:500].tolist() == [lb.pick_hashed(digest) for digest in many[:500].tolist()]
    return repeated(lambda: lb.pick_many(many)), gather(picked, n)


def _many(make: Any, n: int) -> tuple[Run, Run]:
    lb: HashedBalancer[int] = make(range(n))
    many = hashes(20_000)
    one_by_one: list[int] = many.tolist()

    def loop() -> list[int]:
        return [lb.pick_hashed(digest) for digest in one_by_one]

    assert lb.pick_many(many).tolist() == loop()
    return repeated(lambda: lb.pick_many(many)), repeated(loop)
