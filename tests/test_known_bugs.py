"""Bugs other load balancers had, by their number in our list, and what we promise instead."""

from collections import Counter
from itertools import pairwise, product
from math import inf, sqrt
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    IPHash,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import InvalidSetting
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    DynamicLimit,
    OutlierEjection,
    PassiveChecks,
    Probe,
    WarmUp,
)
from balancers.keys import KeyedBlake2, Murmur3


def test_footgun_02_weighted_mode_follows_every_change_of_weight() -> None:
    """A change of weights alone was not noticed."""
    lb = WeightedRoundRobin(["a", "b"])
    assert "".join(lb.pick() for _ in range(4)) == "abab"
    lb.put("a", 3)
    assert Counter(lb.pick() for _ in range(40)) == {"a": 30, "b": 10}
    lb.put("a", 1)
    assert Counter(lb.pick() for _ in range(40)) == {"a": 20, "b": 20}


@pytest.mark.parametrize("how", ["joins", "recovers"])
@pytest.mark.parametrize("two_choices", [False, True])
def test_footgun_03_who_joins_or_recovers_is_not_buried(two_choices: bool, how: str) -> None:
    """With ten at 50 in flight the newcomer got the next 50, or, of two choices, 19 of 100."""
    served: list[int] = []
    for ramp in (None, WarmUp[int](30.0)):
        two = PowerOfTwoChoices[int](rng=Random(3))
        health = HealthChecks[int](1, 1)
        gates: list[Any] = [health] if ramp is None else [health, ramp]
        pool = Pool(two if two_choices else LeastConnections[int](), gates)
        pool.update(range(10 if how == "joins" else 11))
        if how == "recovers":
            health.observe(10, False, 60.0)
        for turn in range(500):
            pool.acquire(60.0, prefer=turn % 10)
        if how == "recovers":
            health.observe(10, True, 60.0)
        else:
            pool.add(10, now=60.0)
        following = [pool.acquire(60.0).backend for _ in range(100)]
        served.append(following[: 100 if two_choices else 50].count(10))
    if two_choices:  # it is drawn by 2 of 11, and always less busy
        assert abs(served[0] - 200 / 11) < 3 * sqrt(100 * 2 / 11 * 9 / 11)
        assert 1 <= served[1] <= 6
    else:
        assert served == [50, 6]  # a tenth of a mean that grows to 54.4


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


def test_footgun_14_a_pool_that_only_drains_may_still_serve() -> None:
    """The last replica of a rollout drained, and clients got 503."""
    for last_resort in (False, True):
        drain = Drain[str](timeout=30.0, last_resort=last_resort)
        limit = ConnectionLimit[str](3)
        pool = Pool(RoundRobin(["old"]), [drain, limit], panic=1.0)
        bound = pool.acquire(0.0)
        drain.begin("old", 0.0)
        pool.release(bound, 0.0)
        assert pool.acquire(0.0, prefer="old").bound  # sessions are served in either case
        if not last_resort:
            with pytest.raises(NoBackendAvailable) as refusal:
                pool.acquire(0.0)
            assert (refusal.value.reason, dict(refusal.value.counts)) == (
                "draining",
                {"draining": 1},
            )
            continue
        for _ in range(2):
            assert not pool.acquire(0.0).bound
        with pytest.raises(NoBackendAvailable, match="saturated"):  # and no limit is lifted
            pool.acquire(0.0)
        pool.add("new", now=1.0)
        assert {pool.acquire(1.0).backend for _ in range(3)} == {"new"}


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
    points = [point for cell in ring._circle.cells for point in cell]
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


def test_footgun_33_a_slow_start_is_seconds_long_moves_by_itself_and_starves_nobody() -> None:
    """Milliseconds for seconds, steps at checks only, no floor, and a ramp for a whole new pool."""
    ramp, health = SlowStart[str](window=30.0, steps=10), HealthChecks[str](1, 1)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [ramp, health])
    pool.add("c", now=1.0)
    assert [pool.effective_weight(b) for b in "abc"] == [1, 1, 1]  # at the start all are new
    health.observe("c", False, 50.0)
    pool.acquire(50.0)
    health.observe("c", True, 60.0)  # the last that is heard of any probe
    served: list[str] = []
    shares: list[float] = []
    for second in range(35):
        served += [pool.acquire(60.0 + second).backend]
        shares += [pool.effective_weight("c")]
    assert shares[:3] == [0.1, 0.1, 0.1]
    assert shares[15] == 0.5
    assert shares[29] < shares[30] == 1
    assert all(early <= late for early, late in pairwise(shares))
    assert pool.due == inf
    assert 3 <= served[:30].count("c") <= 7  # the area under the ramp: half of a fair 10
    assert "c" in served[:21]  # the floor: a tenth against two is one in 21


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
    assert pool.due == 110.0
    health.observe("b", True, 5.0)
    assert pool.acquire(109.9).backend == "b"
    assert {pool.acquire(110.0).backend for _ in range(2)} == {"a", "b"}
    assert pool.due == inf


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("name", ["unhealthy", "silent", "ejected", "cooling", "failing"])
def test_footgun_43_what_was_known_of_an_earlier_life_counts_no_more(
    name: str, closed: bool
) -> None:
    """Marks, ejections and averages outlived a removal, and late results judged the newcomer.

    Each gate closes a, which leaves, closed or about to be, and is back: open, and whatever ends
    late of before tells of another.  It closes again when a newcomer would: not before the second
    failure, and for the time of a first offence.
    """
    gates: dict[str, Any] = {
        "unhealthy": HealthChecks[str](2, 1, recovery_time=10.0),
        "silent": ActiveChecks[str](2, 1, rng=Random(1), promotion="time", recovery_time=10.0),
        "ejected": OutlierEjection[str](2, (), base_ejection_time=10.0, max_ejected=0.5),
        "cooling": CoolDown[str](2, base_time=10.0, jitter=0.0, rng=Random(1)),
        "failing": PassiveChecks[str](max_fails=2, fail_timeout=10.0),
    }
    gate = gates[name]
    pool = Pool(RoundRobin(["a", "b"]), [gate])

    def fail(now: float) -> None:
        pool.release(pool.acquire(now, prefer="a", strict=True), now, ok=False)

    late = [pool.acquire(0.0, prefer="a") for _ in range(9)]
    for now in (11.0, 11.0, 40.0, 40.0, 70.0, *[70.0] * closed):
        if gate.factor("a", now):
            fail(now)
    probes: list[Probe[str]] = gate.probes(70.5) if name == "silent" else []
    for ok in (False, False, True, None):
        pool.release(late.pop(), 70.0, ok)
    assert gate.factor("a", 71.0) == (0 if closed or name == "failing" else 1)
    pool.remove("a", 71.0)
    pool.release(late.pop(), 71.0, ok=False)
    pool.add("a", now=72.0)
    assert pool.admits("a")
    assert pool.acquire(72.0, prefer="a", strict=True).bound
    for lease in late:
        pool.release(lease, 73.0, ok=False, retry_after=5.0 if lease is late[0] else None)
    for probe in probes:
        told = gate.answer(probe, ok=probe.backend == "b", now=73.0)
        assert told is (probe.backend == "b")
    if name == "unhealthy":
        gate.observe("a", ok=False, now=73.0, started_at=71.5, immediate=True)
    assert pool.admits("a")
    fail(74.0)
    assert pool.admits("a")
    fail(74.0)
    assert not pool.admits("a")
    with pytest.raises(NoBackendAvailable):
        pool.acquire(83.9, avoid=["b"])
    assert pool.acquire(84.0, avoid=["b"]).backend == "a"


def test_footgun_43_drains_limits_and_ramps_end_with_the_membership_too() -> None:
    """An address that came back was drained still, or full of what its predecessor served."""
    drain, limit, share = (
        Drain[str](timeout=5.0),
        ConnectionLimit[str](4),
        DynamicLimit[str](2, 9, 30),
    )
    ramp = WarmUp[str](30.0)
    pool = Pool(LeastConnections(["a", "b"]), [drain, limit, share, ramp])
    limit.set("a", 1)
    late = [pool.acquire(0.0, prefer="a")]
    ramp.begin("a", 1.0)
    drain.begin("a", 1.0)
    assert pool.state("a") == ("draining", "saturated")
    pool.remove("a", 2.0)
    assert drain.drained(9.0) == []
    pool.add("a", now=10.0)
    assert (pool.state("a"), pool.in_flight("a"), drain.draining("a")) == ((), 0, False)
    assert ramp.share("a", 10.0) == 1  # and the pool is new still
    late += [pool.acquire(10.0, prefer="a") for _ in range(2)]
    assert pool.state("a") == ("saturated",)  # of the usual limits, not of its own
    pool.release(late.pop(0), 11.0)
    assert (pool.in_flight("a"), pool.admits("a")) == (2, False)
    pool.release(late.pop(0), 11.0)
    assert (pool.in_flight("a"), pool.admits("a")) == (1, True)


def test_footgun_45_small_weights_do_not_vanish() -> None:
    """Whole percents and 16-bit strides: whoever weighed too little got nothing."""
    lb = WeightedRoundRobin({"large": 1, "small": 0.0001})
    assert Counter(lb.pick() for _ in range(10_001)) == {"large": 10_000, "small": 1}
    chance = RandomChoice({"large": 1, "small": 0.001}, rng=Random(6))
    assert 30 < sum(chance.pick() == "small" for _ in range(50_000)) < 75  # 50, 3.5 deviations


def test_footgun_47_the_probes_of_many_clients_are_spread_and_stay_so() -> None:
    """One interval and one start for all: every probe of a fleet at the same instant.

    500 clients, one backend, a minute: in 0.1 s there are 10 on average, and as they are
    independent never more than 5 deviations above that.  Who meets does not go on meeting: a gap
    varies by 0.29 s, so after ten of them two are within 0.1 s of each other 6 % of the time.
    """
    sent: list[list[float]] = []
    for seed in range(500):
        checks: ActiveChecks[str] = ActiveChecks(rng=Random(seed), interval=5.0, jitter=0.1)
        Pool(RoundRobin(["a"]), [checks])
        sent.append([])
        while (now := checks.probes_due) < 60.0:
            for probe in checks.probes(now):
                sent[-1].append(now)
                assert checks.answer(probe, ok=True, now=now)
    tenths = Counter(int(now * 10) for times in sent for now in times)
    assert len(tenths) == 600
    assert max(tenths.values()) <= 10 + 5 * sqrt(10)
    gaps = [late - early for times in sent for early, late in pairwise(times)]
    assert 4.5 <= min(gaps) < 4.51
    assert 5.49 < max(gaps) <= 5.5
    assert len(set(gaps)) > 0.99 * len(gaps)
    ordered = sorted(sent)
    met = [(a, b) for a, b in pairwise(ordered) if b[0] - a[0] < 0.1]
    assert len(met) > 450
    again = sum(abs(a[10] - b[10]) < 0.1 for a, b in met)
    assert again < 0.06 * len(met) + 4.5 * sqrt(0.06 * len(met))
