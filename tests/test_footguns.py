"""Bugs other load balancers had, by their number in our list, and what we promise instead."""

from collections import Counter
from itertools import product
from math import inf, sqrt
from random import Random

import pytest

from balancers import (
    Drain,
    HashRing,
    HealthChecks,
    InvalidSetting,
    IPHash,
    KeyedBlake2,
    LeastConnections,
    Murmur3,
    NoBackendAvailable,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)


def test_footgun_02_weighted_mode_follows_every_change_of_weight() -> None:
    """A change of weights alone was not noticed."""
    lb = WeightedRoundRobin(["a", "b"])
    assert "".join(lb.pick() for _ in range(4)) == "abab"
    lb.put("a", 3)
    assert Counter(lb.pick() for _ in range(40)) == {"a": 30, "b": 10}
    lb.put("a", 1)
    assert Counter(lb.pick() for _ in range(40)) == {"a": 20, "b": 20}


def test_footgun_07_two_choices_are_two() -> None:
    """The busier of two got half of the picks, in whatever order they stood."""
    for busy in "ab":
        lb = PowerOfTwoChoices(["a", "b"], rng=Random(1))
        for _ in range(100):
            lb.started(busy)
        lb.started("a" if busy == "b" else "b")
        assert {lb.pick() for _ in range(500)} == {"a", "b"} - {busy}


def test_footgun_08_choices_are_drawn_without_replacement() -> None:
    """Drawn with replacement, the busier of two is picked 25 % of the time."""
    lb = PowerOfTwoChoices({"a": 1, "b": 3}, rng=Random(2))
    for _ in range(4):
        lb.started("b")
    lb.started("a")
    assert {lb.pick() for _ in range(2000)} == {"a"}  # 1/1 against 4/3


def test_footgun_09_every_pair_is_as_likely() -> None:
    """A biased second draw favoured neighbours: 3/16 against 2/16.  4.5 standard deviations."""
    n, draws = 4, 24_000
    lb = PowerOfTwoChoices(range(n), rng=Random(3))
    pairs: Counter[tuple[int, int]] = Counter()
    lb.pick()
    lap = [candidate.backend for _ in range(16) for candidate in lb._next_lap()]
    pairs.update(zip(lap[::2], lap[1::2], strict=True))
    total = sum(pairs.values())
    assert total > draws / 2
    share = 1 / (n * (n - 1))
    for first, second in product(range(n), repeat=2):
        expected = 0 if first == second else total * share
        assert abs(pairs[first, second] - expected) <= 4.5 * sqrt(expected)


def test_footgun_10_loads_are_compared_for_their_weight() -> None:
    """Raw counts on unequal hosts are unstable near saturation."""
    lb = PowerOfTwoChoices({"small": 1, "large": 4}, rng=Random(4))
    for _ in range(3):
        lb.started("large")
    lb.started("small")
    assert {lb.pick() for _ in range(200)} == {"large"}  # 3/4 against 1/1


def test_footgun_11_turns_are_spread_not_bunched() -> None:
    """Weights expanded as runs: ten in a row for the heaviest."""
    lb = WeightedRoundRobin({"a": 10, "b": 10, "c": 1})
    sequence = "".join(lb.pick() for _ in range(63))
    assert "aaa" not in sequence
    assert "bbb" not in sequence


@pytest.mark.parametrize("down", ["a", "b"])
def test_footgun_12_a_lost_share_is_shared_by_weight(down: str) -> None:
    """The share of a host that was down went to its neighbour: 110000:10000, not 50:50."""
    weights = {"a": 10, "b": 1, "c": 1}
    lb = WeightedRoundRobin(weights)
    lb.put(down, 0)
    counts = Counter(lb.pick() for _ in range(1100))
    left = {backend: weight for backend, weight in weights.items() if backend != down}
    for backend, weight in left.items():
        assert counts[backend] == pytest.approx(1100 * weight / sum(left.values()), abs=2)
    robin = RoundRobin([*"abcde"])
    robin.put("c", 0)
    assert Counter(robin.pick() for _ in range(400)) == dict.fromkeys("abde", 100)


def test_footgun_13_a_pick_ends() -> None:
    """With all that were up fenced and the rest down, a loop never ended, under the lock."""
    health, drain = HealthChecks[str](unhealthy_threshold=1), Drain[str]()
    pool = Pool(WeightedRoundRobin(["a", "b", "c"]), [health, drain])
    drain.begin("a", 0.0)
    for backend in "bc":
        health.observe(backend, False, 0.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0)
    assert refusal.value.reason == "mixed"
    assert refusal.value.counts == {"draining": 1, "unhealthy": 2}


def test_footgun_15_points_enough_and_never_none() -> None:
    """16 points a host are ±45 %; with too many hosts some got no point at all."""
    ring = HashRing({"tiny": 0.0001, "full": 1})
    ring.pick("k")
    assert ring._placed == {"tiny": 1, "full": 160}


def test_footgun_16_a_newcomer_moves_no_key_between_the_others() -> None:
    """Points normalised by the total: one heavy newcomer reshuffled everybody."""
    ring = HashRing({f"old{i}": 100 for i in range(4)}, points=1)
    keys = [b"%d" % i for i in range(3000)]
    before = [ring.pick(key) for key in keys]
    ring.put("heavy", 1000)
    after = [ring.pick(key) for key in keys]
    assert all(new in {old, "heavy"} for old, new in zip(before, after, strict=True))
    assert after.count("heavy") > 1000


def test_footgun_18_names_and_numbers_are_never_glued() -> None:
    """ "1" + "23" was "12" + "3": points met by design."""
    names = ["1", "12", "123", "1-2", "12-3", "a", "a1", "a11"]
    ring = HashRing(names, points=200)
    ring.pick("k")
    points = [point for cell in ring._cells for point in cell]
    assert len(points) == len(set(points)) == 200 * len(names)


@pytest.mark.parametrize("make", [HashRing, IPHash])
def test_footgun_19_the_order_of_the_list_does_not_matter(make: type[HashRing[str]]) -> None:
    """Reordering the configuration remapped the keys."""
    names = [f"10.0.0.{i}:80" for i in range(20)]
    first, second = make(names), make(sorted(names, reverse=True))
    clients = [f"198.51.100.{i}" for i in range(200)]
    assert [first.pick(c) for c in clients] == [second.pick(c) for c in clients]


def test_footgun_20_clients_behind_one_network_are_told_apart() -> None:
    """Hashing a /24 sends a whole company to one server; IPv6 hosts change addresses at will."""
    lb = IPHash([f"s{i}" for i in range(8)])
    assert len({lb.pick(f"192.0.2.{i}") for i in range(100)}) == 8
    assert len({IPHash(lb.weights, ipv4_prefix=24).pick(f"192.0.2.{i}") for i in range(100)}) == 1
    assert len({lb.pick(f"2001:db8:1:2::{i:x}") for i in range(1, 100)}) == 1
    assert len({lb.pick(f"2001:db8:1:{i:x}::1") for i in range(1, 100)}) == 8
    assert lb.pick("::ffff:192.0.2.1") == lb.pick("192.0.2.1") == lb.pick(bytes([192, 0, 2, 1]))


def test_footgun_21_placement_is_the_same_in_every_process() -> None:
    """``hash()`` is salted per process.  These were computed once, in another one."""
    assert Murmur3()(b"user:42") == 14772097168846764648
    assert KeyedBlake2(b"secret")(b"user:42") == 14990404944991501516
    ring = HashRing([f"10.0.0.{i}:80" for i in range(5)])
    assert "".join(ring.pick(b"key %d" % i)[7] for i in range(12)) == "410002134244"
    lb = RandomChoice([*"abc"], rng=Random(5))
    assert "".join(lb.pick() for _ in range(8)) == "bcccccab"


def test_footgun_29_counters_do_not_outlive_a_flip() -> None:
    """Counts carried over a flip ejected again at once; late results of an old epoch counted."""
    health: HealthChecks[str] = HealthChecks(2, 2, recovery_time=5.0)
    pool = Pool(RoundRobin(["a"]), [health])
    early = [pool.acquire(0.0) for _ in range(4)]
    pool.release(early.pop(), 1.0, ok=False)
    pool.release(early.pop(), 1.0, ok=False)
    assert not health.healthy("a")
    lease = pool.acquire(6.0)  # promoted at 6.0
    for late in early:
        pool.release(late, 6.5, ok=False)
    assert health.healthy("a")
    pool.release(lease, 7.0, ok=False)
    assert health.healthy("a")


def test_footgun_31_zero_is_no_threshold() -> None:
    """Threshold 0 meant off in one program and at once in another."""
    with pytest.raises(InvalidSetting, match="unhealthy_threshold"):
        HealthChecks(unhealthy_threshold=0)


def test_footgun_32_panic_is_off_asked_for_visible_and_never_revives_the_draining() -> None:
    """Half of the hosts down sent traffic to dead ones, by default and unseen."""
    for panic in (0.0, 0.5):
        health, drain = HealthChecks[str](unhealthy_threshold=1), Drain[str]()
        pool = Pool(RoundRobin([*"abcd"]), [health, drain], panic=panic)
        drain.begin("d", 0.0)
        for backend in "ab":
            health.observe(backend, False, 0.0)
        leases = [pool.acquire(0.0) for _ in range(6)]
        assert {lease.backend for lease in leases} == ({"a", "b", "c"} if panic else {"c"})
        assert {lease.panic for lease in leases} == {panic > 0}


def test_footgun_40_counts_do_not_leak() -> None:
    """A release missed on cancellation froze a host out for ever."""
    pool = Pool(LeastConnections(["a"]))
    for error in (KeyboardInterrupt, GeneratorExit, ValueError):
        with pytest.raises(error), pool.lease(lambda: 0.0):
            raise error
    assert pool.in_flight("a") == 0


@pytest.mark.parametrize("make", [HashRing, RoundRobin, LeastConnections, WeightedLeastConnections])
def test_footgun_41_a_retry_goes_elsewhere(make: type[RoundRobin[str]]) -> None:
    """The next attempt on a ring could be the same host."""
    lb = make([f"s{i}" for i in range(6)])
    for number in range(50):
        tried: list[str] = []
        for _ in range(6):
            tried.append(lb.pick(f"key {number}", avoid=tried))
        assert len(set(tried)) == 6
        with pytest.raises(NoBackendAvailable, match="avoided"):
            lb.pick(f"key {number}", avoid=tried)


def test_footgun_42_time_never_runs_backwards() -> None:
    """Two clocks, or one set back, revived and ejected at random."""
    health: HealthChecks[str] = HealthChecks(1, recovery_time=10.0)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    pool.release(pool.acquire(100.0), 100.0, ok=False)
    assert pool.acquire(20.0).acquired_at == 100.0
    assert pool.next_change() == 110.0
    health.observe("b", True, 5.0)
    assert pool.acquire(109.9).backend == "b"
    assert {pool.acquire(110.0).backend for _ in range(2)} == {"a", "b"}
    assert pool.next_change() == inf


def test_footgun_45_small_weights_do_not_vanish() -> None:
    """Whole percents and 16-bit strides: whoever weighed too little got nothing."""
    lb = WeightedRoundRobin({"large": 1, "small": 0.0001})
    assert Counter(lb.pick() for _ in range(10_001)) == {"large": 10_000, "small": 1}
    chance = RandomChoice({"large": 1, "small": 0.001}, rng=Random(6))
    assert 30 < sum(chance.pick() == "small" for _ in range(50_000)) < 75  # 50, 3.5 deviations
