"""Rows for Jump, Anchor and Memento, and for bounded loads over a ring."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from math import ceil
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers import HashRing
from balancers.hashing import Anchor, BoundedLoad, Jump, Memento
from balancers.hashing._rehashing_balancer import RehashingBalancer
from tests.benchmarks.floors import BATCH, KEYS, attribute, gather, hashes, keyed, names
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import SIZES, Row

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    yield Row("Jump.pick_many of 10⁷", 1000, "a gather", 65, partial(_batch, Jump, 1000))
    for kind, reach in ((_anchor, 12), (_memento, 100)):
        name = f"{kind(1).__class__.__name__}.pick_many of 10⁷, 1 in 11 left"
        yield Row(name, 1000, "a gather", reach, partial(_batch, kind, 1000))
    for n in SIZES:
        yield Row("Anchor.pick_hashed, 1 in 11 left", n, "U", 8, partial(_prehashed, n))
        yield Row("BoundedLoad, pick and both counts", n, "HashRing.pick", 5, partial(_bounded, n))


def _anchor(n: int) -> RehashingBalancer[int]:
    """Add a tenth more backends than stay."""
    lb = Anchor(range(n + n // 10), capacity=n + n // 10)
    return _remove_all_but(lb, n)


def _memento(n: int) -> RehashingBalancer[int]:
    return _remove_all_but(Memento(range(n + n // 10)), n)


def _remove_all_but(lb: RehashingBalancer[int], n: int) -> RehashingBalancer[int]:
    for backend in Random(1).sample(list(lb.weights), len(lb.weights) - n):
        lb.discard(backend)
    return lb


def _batch(make: Any, n: int) -> tuple[Run, Run]:
    """Pick for a batch; the reference selects from a table by ready indices."""
    lb: RehashingBalancer[int] = make(n) if make is not Jump else Jump(range(n))
    many = hashes(BATCH)
    members = list(lb.weights)
    picked = lb.pick_many(many)
    assert [members[place] for place in picked[:2000]] == _one_by_one(lb, many[:2000])
    assert picked.max() == n - 1
    return repeated(lambda: lb.pick_many(many)), gather(picked, n)


def _prehashed(n: int) -> tuple[Run, Run]:
    lb = _anchor(n)
    known = hashes(len(KEYS))
    listed: list[int] = known.tolist()
    members = list(lb.weights)
    assert [lb.pick_hashed(digest) for digest in listed] == [
        members[place] for place in lb.pick_many(known)
    ]
    begin = 0

    def run(times: int) -> None:
        nonlocal begin
        pick = lb.pick_hashed
        while times:
            some = listed[begin : begin + times]
            for digest in some:
                pick(digest)
            times -= len(some)
            begin = (begin + len(some)) % len(listed)

    return run, attribute()


def _bounded(n: int) -> tuple[Run, Run]:
    """With ten requests in flight per backend: pick, start one, and finish the oldest."""
    lb, ring = BoundedLoad(HashRing(names(n)), c=1.25), HashRing(names(n))
    assert lb.pick(KEYS[0]) == ring.pick(KEYS[0])
    held: list[str] = []
    for number in range(10 * n):
        held.append(lb.pick(KEYS[number % len(KEYS)]))
        lb.started(held[-1])
    assert max(Counter(held).values()) <= ceil(12.5)
    at = 0

    def assign(key: bytes) -> None:
        nonlocal at
        backend = lb.pick(key)
        lb.started(backend)
        lb.finished(held[at])
        held[at] = backend
        at = (at + 1) % len(held)

    return keyed(assign), keyed(ring.pick)


def _one_by_one(lb: RehashingBalancer[int], some: NDArray[np.uint64]) -> list[int]:
    return [lb.pick_hashed(digest) for digest in some.tolist()]
