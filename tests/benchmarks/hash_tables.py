"""Rows of tables and comparisons: Maglev, Rendezvous and MultiProbe."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers.hashing.hashed import HashedBalancer
from balancers.hashing.maglev import Maglev
from balancers.hashing.maglev_table import fill
from balancers.hashing.multi_probe import MultiProbe
from balancers.hashing.rendezvous import Rendezvous
from tests.benchmarks.floors import KEYS, index_of_key, keyed, names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["PACKAGES", "rows"]

PACKAGES = {"clandestined": "clandestined"}
"""Their names as distributions, and as modules."""
SIZES = (10, 100, 1000)
TEN_MILLION = 10_000_000


def rows() -> Iterator[Row]:
    """Give every row of this file."""
    for n, reach, peer in zip(SIZES, (2, 2, 2.5), (2, 8, 60), strict=True):
        yield Row("Maglev.pick(bytes)", n, "H", reach, partial(_pick, Maglev, names(n)))
        yield Row("Rendezvous.pick", n, "clandestined", -peer, partial(_clandestined, n))
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


def _clandestined(n: int) -> tuple[Run, Run]:
    """It takes keys as text, and so they are here for both."""
    lb = Rendezvous(names(n))
    peer: Any = import_module(PACKAGES["clandestined"]).RendezvousHash(nodes=names(n))
    texts = [key.decode() for key in KEYS[:2000]]
    for pick in (lb.pick, peer.find_node):
        assert len({pick(text) for text in texts[:200]}) >= min(n, 100) / 2
    return _over(lb.pick, texts), _over(peer.find_node, texts)


def _over(pick: Callable[[str], object], texts: list[str]) -> Run:
    def run(times: int) -> None:
        for number in range(times):
            pick(texts[number % len(texts)])

    return run


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
    """Against taking as many from a table, by indices that are ready: a new array for both."""
    lb, hashes = Maglev(range(n)), _hashes(TEN_MILLION)
    picked = lb.pick_many(hashes)
    assert picked[:500].tolist() == [lb.pick_hashed(digest) for digest in hashes[:500].tolist()]
    table = np.resize(np.arange(n), 65_537)
    indices = (hashes % np.uint64(len(table))).astype(np.intp)

    def gather() -> NDArray[np.intp]:
        return table.take(indices)

    return repeated(lambda: lb.pick_many(hashes)), repeated(gather)


def _many(make: Any, n: int) -> tuple[Run, Run]:
    lb: HashedBalancer[int] = make(range(n))
    hashes = _hashes(20_000)
    one_by_one: list[int] = hashes.tolist()

    def loop() -> list[int]:
        return [lb.pick_hashed(digest) for digest in one_by_one]

    assert lb.pick_many(hashes).tolist() == loop()
    return repeated(lambda: lb.pick_many(hashes)), repeated(loop)


def _hashes(count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(7).integers(0, 1 << 64, count, dtype=np.uint64)
