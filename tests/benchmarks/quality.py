"""Rows for what a change of members moves, against the two look-ups that it needs."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from balancers import HashRing, Maglev
from balancers.hashing import HashedBalancer, Jump
from balancers.quality import remap
from tests.benchmarks.floors import BATCH, hashes
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for kind in (HashRing, Maglev, Jump):
        name = f"remap of 10⁷ hashes, 1 of {kind.__name__} leaves"
        yield Row(name, 1000, "two look-ups", 2, partial(_remap, kind, kind, 1000))
    name = "remap of 10⁷ hashes, HashRing to Maglev"
    yield Row(name, 1000, "two look-ups", 2, partial(_remap, HashRing, Maglev, 1000))


def _remap(make: Any, make_after: Any, n: int) -> tuple[Run, Run]:
    """Compare n members with the first n - 1 of them."""
    before: HashedBalancer[int] = make(range(n))
    after: HashedBalancer[int] = make_after(range(n - 1))
    many = hashes(BATCH)
    found = remap(before, after, many)
    was, now = before.pick_many(many), after.pick_many(many)
    assert found.moved == (was != now).sum()
    assert (found.matrix[n - 1] == np.bincount(now[was == n - 1], minlength=n)).all()

    def lookups() -> None:
        before.pick_many(many)
        after.pick_many(many)

    return repeated(lambda: remap(before, after, many)), repeated(lookups)
