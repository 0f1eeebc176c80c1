"""Rows of the ring."""

from collections.abc import Iterator
from functools import partial

from balancers import HashRing
from tests.benchmarks.floors import KEYS, index_of_key, keyed, names
from tests.benchmarks.measure import Run
from tests.benchmarks.row import SIZES, Row
from tests.references import NaiveRing

__all__ = ["rows"]

REACH = dict(zip(SIZES, (3.2, 3.2, 9, 15), strict=True))


def rows() -> Iterator[Row]:
    """Give every row of this file."""
    for n in SIZES:
        yield Row("HashRing.pick(bytes)", n, "H", REACH[n], partial(_pick, n))
        yield Row("HashRing.pick, half quiesced", n, "the open ring", 2.5, partial(_half, n))


def _pick(n: int) -> tuple[Run, Run]:
    ring, plain = HashRing(names(n)), NaiveRing()
    if n <= 100:
        plain.weights = dict(ring.weights)
        for key in KEYS[:3]:
            assert ring.pick(key) == plain.owners(key)[0]
    assert {ring.pick(key) for key in KEYS} <= set(names(n))
    return keyed(ring.pick), index_of_key(n)


def _half(n: int) -> tuple[Run, Run]:
    ring, whole = HashRing(names(n)), HashRing(names(n))
    whole.pick(KEYS[0])
    ring.pick(KEYS[0])
    for backend in names(n)[::2]:
        ring.put(backend, 0)
    left = HashRing(names(n)[1::2])
    assert [ring.pick(key) for key in KEYS[:500]] == [left.pick(key) for key in KEYS[:500]]
    return keyed(ring.pick), keyed(whole.pick)
