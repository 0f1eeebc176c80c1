"""Rows for the ring."""

from collections.abc import Iterator
from functools import partial

from balancers import HashRing
from tests.benchmarks.floors import BATCH, KEYS, gather, hashes, index_of_key, keyed, names
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import SIZES, Row
from tests.references import NaiveRing

__all__ = ["rows"]

REACH = dict(zip(SIZES, (3.2, 3.2, 9, 15), strict=True))


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n in SIZES:
        yield Row("HashRing.pick(bytes)", n, "H", REACH[n], partial(_pick, n))
        yield Row("HashRing.pick, half quiesced", n, "the open ring", 2.5, partial(_half, n))
    yield Row("HashRing.pick_many of 10⁷", 1000, "a gather", 11, partial(_many, 1000))


def _pick(n: int) -> tuple[Run, Run]:
    ring, plain = HashRing(names(n)), NaiveRing()
    if n <= 100:
        plain.weights = dict(ring.weights)
        for key in KEYS[:3]:
            assert ring.pick(key) == plain.owners(key)[0]
    assert {ring.pick(key) for key in KEYS} <= set(names(n))
    return keyed(ring.pick), index_of_key(n)


def _half(n: int) -> tuple[Run, Run]:
    ring, complete = HashRing(names(n)), HashRing(names(n))
    complete.pick(KEYS[0])
    ring.pick(KEYS[0])
    for backend in names(n)[::2]:
        ring.put(backend, 0)
    left = HashRing(names(n)[1::2])
    assert [ring.pick(key) for key in KEYS[:500]] == [left.pick(key) for key in KEYS[:500]]
    return keyed(ring.pick), keyed(complete.pick)


def _many(n: int) -> tuple[Run, Run]:
    ring, many = HashRing(names(n)), hashes(BATCH)
    picked = ring.pick_many(many)
    some = [ring.pick_hashed(digest) for digest in many[:2000].tolist()]
    assert [names(n)[place] for place in picked[:2000]] == some
    return repeated(lambda: ring.pick_many(many)), gather(picked, n)
