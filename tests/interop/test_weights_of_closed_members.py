"""A weight that is refused is refused at once, also while other members are closed.

If it were refused only when a closed member opens, an unrelated request would raise the error.
"""

from random import Random
from typing import Any

import pytest

from balancers import Balancer, Drain, Pool
from balancers.errors import InvalidWeight, RingTooLarge
from balancers.interop import haproxy, ketama
from tests.kinds import KINDS, PRESETS, Kind

BACKENDS = [f"10.0.0.{number}:11211" for number in range(1, 5)]
LARGE = (1, 2, 3, 65, 255, 256, 20_000, 40_000, 3_000_000, 5_000_000, (1 << 31) - 2)
SMALL = (1, 2, 3, 255)


def weights_for(kind: Kind) -> tuple[int, ...]:
    tables = {"InterleavedRoundRobin", "CaddyWeightedRoundRobin"}
    return SMALL if kind.name in tables else LARGE


def history(balancer: Balancer[Any], weights: tuple[int, ...], seed: int) -> int:
    """Run random changes, and return how many weights were refused."""
    rng, refused, now = Random(seed), 0, 0.0
    drain = Drain[Any]()
    pool = Pool(balancer, gates=[drain])
    for _ in range(40):
        now += 1.0
        backend = rng.choice(BACKENDS)
        if rng.random() < 0.5:
            before = pool.snapshot()
            try:
                pool.set_weight(backend, rng.choice(weights), now)
            except (InvalidWeight, RingTooLarge):
                refused += 1
                assert pool.snapshot() == before
        elif "draining" in pool.state(backend):
            drain.cancel(backend, now)
        else:
            drain.begin(backend, now)
        assert len(pool.snapshot().members) == 4  # applies the change
    for backend in BACKENDS:
        drain.cancel(backend, now)
    assert all(pool.effective_weight(each) == pool.weight(each) for each in BACKENDS)
    return refused


@pytest.mark.parametrize("kind", KINDS + PRESETS, ids=lambda kind: kind.name)
def test_no_weight_is_refused_when_a_member_opens(kind: Kind) -> None:
    for seed in range(8):
        history(kind.make(BACKENDS), weights_for(kind), seed)


@pytest.mark.parametrize(
    "make",
    [haproxy.RoundRobin, ketama.TwemproxyModula, ketama.UHashRing],
)
def test_presets_that_compare_weights_refuse_them_at_once(make: Any) -> None:
    assert sum(history(make(BACKENDS), LARGE, seed) for seed in range(8)) > 10


def test_an_unequal_weight_is_refused_while_the_other_server_is_closed() -> None:
    drain = Drain[str]()
    pool = Pool(haproxy.RoundRobin(["a", "b"]), gates=[drain])
    drain.begin("a", 1.0)
    with pytest.raises(InvalidWeight, match="unequal weights: 'b' has 2, 'a' has 1"):
        pool.set_weight("b", 2, 2.0)
    assert pool.weight("b") == 1


def test_slots_of_closed_servers_count() -> None:
    half = 1 << 22
    balancer = ketama.TwemproxyModula({"a": half, "b": half})
    balancer.put("a", 0)
    with pytest.raises(RingTooLarge):
        balancer.put("b", half + 1)
    balancer.put("a", half)
    assert dict(balancer.weights) == {"a": half, "b": half}
    balancer.discard("a")
    balancer.put("b", half + 1)
