"""Rows against other packages: roundrobin, vose-alias-method, uhashring."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from random import Random
from typing import Any

from balancers import HashRing, RandomChoice, WeightedRoundRobin
from tests.benchmarks.floors import KEYS, keyed, names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["PACKAGES", "rows"]

PACKAGES = {
    "roundrobin": "roundrobin",
    "vose-alias-method": "vose_sampler",
    "uhashring": "uhashring",
}
"""Their names as distributions, and as modules."""
SIZES = (10, 100, 1000)


def rows() -> Iterator[Row]:
    """Give every row of this file."""
    for n, smooth, ring in zip(SIZES, (12, 110, 1100), (4, 4.5, 3), strict=True):
        yield Row("WeightedRoundRobin.pick", n, "roundrobin.smooth", -smooth, partial(_smooth, n))
        yield Row("RandomChoice.pick, weighted", n, "vose-alias-method", -7, partial(_alias, n))
        yield Row("HashRing.pick(bytes)", n, "uhashring", -ring, partial(_ring, n))
    yield Row("HashRing, add and remove one", 1000, "uhashring", -120, partial(_edit, 1000))
    yield Row("HashRing, build", 1000, "uhashring", -6, partial(_build, 1000))


def _peer(distribution: str) -> Any:
    return import_module(PACKAGES[distribution])


def _smooth(n: int) -> tuple[Run, Run]:
    lb = WeightedRoundRobin(weights(n))
    peer = _peer("roundrobin").smooth(list(weights(n).items()))
    period = int(sum(weights(n).values()))
    assert [lb.pick() for _ in range(2 * period)] == [peer() for _ in range(2 * period)]
    return repeated(lb.pick), repeated(peer)


def _alias(n: int) -> tuple[Run, Run]:
    lb = RandomChoice(weights(n), rng=Random(1))
    total = sum(weights(n).values())
    peer = _peer("vose-alias-method").VoseAlias({b: w / total for b, w in weights(n).items()})
    draw, draws = peer.alias_generation, 40_000
    for source in (lb.pick, draw):
        heavy = sum(weights(n)[source()] for _ in range(draws)) / draws
        expected = sum(w * w for w in weights(n).values()) / total
        assert abs(heavy - expected) < 0.1
    return repeated(lb.pick), repeated(draw)


def _ring(n: int) -> tuple[Run, Run]:
    """Two rings of 160 points: other hash functions, the same promise."""
    ring, peer = HashRing(names(n)), _peer("uhashring").HashRing(names(n))
    texts = [key.decode() for key in KEYS]
    for pick, keys in ((ring.pick, KEYS), (peer.get_node, texts)):
        counts = Counter(pick(key) for key in keys)
        assert set(counts) <= set(names(n))
        assert max(counts.values()) < 5 * len(KEYS) / n + 20
    return keyed(ring.pick), _texts(peer.get_node, texts)


def _texts(get_node: Any, texts: list[str]) -> Run:
    """Call it with one key after the other, as str: it takes no bytes by default."""
    begin = 0

    def run(times: int) -> None:
        nonlocal begin
        while times:
            keys = texts[begin : begin + times]
            for key in keys:
                get_node(key)
            times -= len(keys)
            begin = (begin + len(keys)) % len(texts)

    return run


def _edit(n: int) -> tuple[Run, Run]:
    """Add one and remove it, each with the next pick, so that nothing is put off."""
    ring, peer = HashRing(names(n)), _peer("uhashring").HashRing(names(n))
    before = [ring.pick(key) for key in KEYS], [peer.get_node(str(key)) for key in KEYS[:2000]]

    def ours() -> None:
        ring.put("new:80")
        ring.pick(KEYS[0])
        ring.discard("new:80")
        ring.pick(KEYS[0])

    def other() -> None:
        peer.add_node("new:80")
        peer.remove_node("new:80")

    ours()
    other()
    after = [ring.pick(key) for key in KEYS], [peer.get_node(str(key)) for key in KEYS[:2000]]
    assert before == after
    return repeated(ours), repeated(other)


def _build(n: int) -> tuple[Run, Run]:
    module = _peer("uhashring")

    def ours() -> str:
        return HashRing(names(n)).pick(KEYS[0])

    def other() -> str:
        node: str = module.HashRing(names(n)).get_node("user:0")
        return node

    assert {ours(), other()} <= set(names(n))
    return repeated(ours), repeated(other)
