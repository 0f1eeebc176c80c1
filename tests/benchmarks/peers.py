"""Rows that compare with other packages."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from random import Random
from typing import Any

from balancers import HashRing, RandomChoice, Rendezvous, WeightedRoundRobin
from balancers.hashing import Jump
from tests.benchmarks.floors import BATCH, KEYS, hashes, keyed, names, weights
from tests.benchmarks.measure import Effort, Measured, Run, measure, repeated
from tests.benchmarks.row import Row

__all__ = ["PACKAGES", "rows"]

PACKAGES = {
    "roundrobin": "roundrobin",
    "vose-alias-method": "vose_sampler",
    "uhashring": "uhashring",
    "clandestined": "clandestined",
    "jump-consistent-hash": "jump",
    "simpy": "simpy",
}
"""The names of the distributions and of their modules."""
SIZES = (10, 100, 1000)


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    reaches = zip(SIZES, (12, 110, 1100), (4, 4.5, 3), (2, 8, 60), strict=True)
    for n, smooth, ring, scores in reaches:
        yield Row("WeightedRoundRobin.pick", n, "roundrobin.smooth", -smooth, partial(_smooth, n))
        yield Row("RandomChoice.pick, weighted", n, "vose-alias-method", -7, partial(_alias, n))
        yield Row("HashRing.pick(bytes)", n, "uhashring", -ring, partial(_ring, n))
        yield Row("Rendezvous.pick(str)", n, "clandestined", -scores, partial(_clandestined, n))
    yield Row("HashRing, add and remove one", 1000, "uhashring", -120, partial(_edit, 1000))
    many = partial(_batch, 1000)
    yield Row("HashRing.pick_many of 10⁷", 1000, "uhashring", -140, many, _a_hundred_loops)
    yield Row("HashRing, build", 1000, "uhashring", -6, partial(_build, 1000))
    yield Row("Jump.pick_many of 10⁶", 1000, "jump-consistent-hash", -1.2, partial(_jump, 1000))


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
    sample, samples = peer.alias_generation, 40_000
    for source in (lb.pick, sample):
        heavy = sum(weights(n)[source()] for _ in range(samples)) / samples
        expected = sum(w * w for w in weights(n).values()) / total
        assert abs(heavy - expected) < 0.1
    return repeated(lb.pick), repeated(sample)


def _ring(n: int) -> tuple[Run, Run]:
    """Compare two rings of 160 points with different hash functions."""
    ring, peer = HashRing(names(n)), _peer("uhashring").HashRing(names(n))
    texts = [key.decode() for key in KEYS]
    for pick, keys in ((ring.pick, KEYS), (peer.get_node, texts)):
        counts = Counter(pick(key) for key in keys)
        assert set(counts) <= set(names(n))
        assert max(counts.values()) < 5 * len(KEYS) / n + 20
    return keyed(ring.pick), _texts(peer.get_node, texts)


def _texts(get_node: Any, texts: list[str]) -> Run:
    """Return a run over str keys, because the other package does not accept bytes by default."""
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


def _clandestined(n: int) -> tuple[Run, Run]:
    """Use str keys for both, because the other package requires them."""
    lb = Rendezvous(names(n))
    peer: Any = _peer("clandestined").RendezvousHash(nodes=names(n))
    texts = [key.decode() for key in KEYS[:2000]]
    for pick in (lb.pick, peer.find_node):
        assert len({pick(text) for text in texts[:200]}) >= min(n, 100) / 2
    return _texts(lb.pick, texts), _texts(peer.find_node, texts)


def _jump(n: int) -> tuple[Run, Run]:
    lb, peer = Jump(range(n)), _peer("jump-consistent-hash").hash
    many = hashes(1_000_000)
    listed: list[int] = many.tolist()

    def loop() -> list[int]:
        return [peer(digest, n) for digest in listed]

    assert lb.pick_many(many).tolist() == loop()
    return repeated(lambda: lb.pick_many(many)), repeated(loop)


def _batch(n: int) -> tuple[Run, Run]:
    """Compare a batch of ten million hashes with a loop over a hundredth of them as keys."""
    ring, peer = HashRing(names(n)), _peer("uhashring").HashRing(names(n))
    many = hashes(BATCH)
    texts = [f"user:{number}" for number in range(BATCH // 100)]
    assert set(ring.pick_many(many)) == set(range(n))

    def loop() -> list[str]:
        return [peer.get_node(text) for text in texts]

    return repeated(lambda: ring.pick_many(many)), repeated(loop)


def _a_hundred_loops(ours: Run, other: Run, effort: Effort) -> Measured:
    found = measure(ours, other, effort)
    return Measured(found.ours, 100 * found.other, found.ratio / 100)


def _edit(n: int) -> tuple[Run, Run]:
    """Add a backend and remove it, each with a pick, so that nothing is postponed."""
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
