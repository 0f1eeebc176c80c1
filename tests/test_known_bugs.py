"""Known bugs of other load balancers, and the behaviour of this library.

Each docstring describes the bug; the test checks that this library does not have it.
"""

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


def test_a_change_of_weight_takes_effect() -> None:
    """A change of weights without a change of members had no effect."""
    lb = WeightedRoundRobin(["a", "b"])
    assert "".join(lb.pick() for _ in range(4)) == "abab"
    lb.put("a", 3)
    assert Counter(lb.pick() for _ in range(40)) == {"a": 30, "b": 10}
    lb.put("a", 1)
    assert Counter(lb.pick() for _ in range(40)) == {"a": 20, "b": 20}


@pytest.mark.parametrize("how", ["joins", "recovers"])
@pytest.mark.parametrize("two_choices", [False, True])
def test_a_new_or_recovered_backend_is_not_overloaded(two_choices: bool, how: str) -> None:
    """With 50 in flight on each of ten, a new one got the next 50, or 19 of 100 by two choices."""
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
    if two_choices:  # it is sampled in 2 of 11 picks, and always less busy
        assert abs(served[0] - 200 / 11) < 3 * sqrt(100 * 2 / 11 * 9 / 11)
        assert 1 <= served[1] <= 6
    else:
        assert served == [50, 6]  # a tenth of the mean, which grows to 54.4


def test_the_less_busy_of_two_is_picked() -> None:
    """The busier of two got half of the picks, in either order."""
    for busy in "ab":
        lb = PowerOfTwoChoices(["a", "b"], rng=Random(1))
        for _ in range(100):
            lb.started(busy)
        lb.started("a" if busy == "b" else "b")
        assert {lb.pick() for _ in range(500)} == {"a", "b"} - {busy}


def test_choices_are_sampled_without_replacement() -> None:
    """Sampled with replacement, the busier of two is picked 25 % of the time."""
    lb = PowerOfTwoChoices({"a": 1, "b": 3}, rng=Random(2))
    for _ in range(4):
        lb.started("b")
    lb.started("a")
    assert {lb.pick() for _ in range(2000)} == {"a"}  # 1/1 against 4/3


def test_every_pair_is_equally_likely() -> None:
    """A biased second sample preferred neighbours: 3/16 against 2/16.  4.5 standard deviations."""
    n, samples = 4, 24_000
    lb = PowerOfTwoChoices(range(n), rng=Random(3))
    pairs: Counter[tuple[int, int]] = Counter()
    lb.pick()
    sampled = [candidate.backend for _ in range(16) for candidate in lb._next_block()]
    pairs.update(zip(sampled[::2], sampled[1::2], strict=True))
    total = sum(pairs.values())
    assert total > samples / 2
    share = 1 / (n * (n - 1))
    for first, second in product(range(n), repeat=2):
        expected = 0 if first == second else total * share
        assert abs(pairs[first, second] - expected) <= 4.5 * sqrt(expected)


def test_loads_are_compared_per_weight() -> None:
    """Raw counts on unequal hosts are unstable near saturation."""
    lb = PowerOfTwoChoices({"small": 1, "large": 4}, rng=Random(4))
    for _ in range(3):
        lb.started("large")
    lb.started("small")
    assert {lb.pick() for _ in range(200)} == {"large"}  # 3/4 against 1/1


def test_turns_are_evenly_spread() -> None:
    """Weights were expanded as runs: ten picks in a row for the heaviest."""
    lb = WeightedRoundRobin({"a": 10, "b": 10, "c": 1})
    sequence = "".join(lb.pick() for _ in range(63))
    assert "aaa" not in sequence
    assert "bbb" not in sequence


@pytest.mark.parametrize("down", ["a", "b"])
def test_the_share_of_a_closed_backend_is_divided_by_weight(down: str) -> None:
    """The share of a host that was down went to the next one: 110000:10000, not 50:50."""
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


def test_a_pick_always_ends() -> None:
    """With every healthy host disabled and the others down, a loop held the lock forever."""
    health, drain = HealthChecks[str](unhealthy_threshold=1), Drain[str]()
    pool = Pool(WeightedRoundRobin(["a", "b", "c"]), [health, drain], panic=None)
    drain.begin("a", 0.0)
    for backend in "bc":
        health.observe(backend, False, 0.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0)
    assert refusal.value.reason == "mixed"
    assert refusal.value.counts == {"draining": 1, "unhealthy": 2}


def test_a_pool_may_serve_while_all_members_drain() -> None:
    """The last replica of a rollout was draining, and clients got 503."""
    for last_resort in (False, True):
        drain = Drain[str](timeout=30.0, last_resort=last_resort)
        limit = ConnectionLimit[str](3)
        pool = Pool(RoundRobin(["old"]), [drain, limit], panic=1.0)
        bound = pool.acquire(0.0)
        drain.begin("old", 0.0)
        pool.release(bound, 0.0)
        assert pool.acquire(0.0, prefer="old").bound  # sessions are served in both cases
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
        with pytest.raises(NoBackendAvailable, match="saturated"):  # limits still apply
            pool.acquire(0.0)
        pool.add("new", now=1.0)
        assert {pool.acquire(1.0).backend for _ in range(3)} == {"new"}


def test_every_backend_has_points() -> None:
    """16 points per host give ±45 %; with too many hosts some got no point at all."""
    ring = HashRing({"tiny": 0.0001, "full": 1})
    ring.pick("k")
    assert ring._placed == {"tiny": 1, "full": 160}


def test_a_new_backend_moves_no_key_between_the_others() -> None:
    """Points were normalised by the total weight: one heavy new host moved keys of all others."""
    ring = HashRing({f"old{i}": 100 for i in range(4)}, points=1)
    keys = [b"%d" % i for i in range(3000)]
    before = [ring.pick(key) for key in keys]
    ring.put("heavy", 1000)
    after = [ring.pick(key) for key in keys]
    assert all(new in {old, "heavy"} for old, new in zip(before, after, strict=True))
    assert after.count("heavy") > 1000


def test_names_and_point_numbers_are_not_concatenated() -> None:
    """ "1" + "23" equals "12" + "3": points of different hosts were identical."""
    names = ["1", "12", "123", "1-2", "12-3", "a", "a1", "a11"]
    ring = HashRing(names, points=200)
    ring.pick("k")
    points = [point for cell in ring._circle.cells for point in cell]
    assert len(points) == len(set(points)) == 200 * len(names)


@pytest.mark.parametrize("make", [HashRing, IPHash])
def test_the_order_of_the_list_does_not_matter(make: type[HashRing[str]]) -> None:
    """A new order of the configuration moved keys."""
    names = [f"10.0.0.{i}:80" for i in range(20)]
    first, second = make(names), make(sorted(names, reverse=True))
    clients = [f"198.51.100.{i}" for i in range(200)]
    assert [first.pick(c) for c in clients] == [second.pick(c) for c in clients]


def test_clients_of_one_network_are_distinguished() -> None:
    """A hash of the /24 sends a complete company to one server; IPv6 hosts change addresses."""
    lb = IPHash([f"s{i}" for i in range(8)])
    assert len({lb.pick(f"192.0.2.{i}") for i in range(100)}) == 8
    assert len({IPHash(lb.weights, ipv4_prefix=24).pick(f"192.0.2.{i}") for i in range(100)}) == 1
    assert len({lb.pick(f"2001:db8:1:2::{i:x}") for i in range(1, 100)}) == 1
    assert len({lb.pick(f"2001:db8:1:{i:x}::1") for i in range(1, 100)}) == 8
    assert lb.pick("::ffff:192.0.2.1") == lb.pick("192.0.2.1") == lb.pick(bytes([192, 0, 2, 1]))


def test_placement_is_the_same_in_every_process() -> None:
    """``hash()`` is salted per process.  These values were computed in another process."""
    assert Murmur3()(b"user:42") == 14772097168846764648
    assert KeyedBlake2(b"secret")(b"user:42") == 14990404944991501516
    ring = HashRing([f"10.0.0.{i}:80" for i in range(5)])
    assert "".join(ring.pick(b"key %d" % i)[7] for i in range(12)) == "410002134244"
    lb = RandomChoice([*"abc"], rng=Random(5))
    assert "".join(lb.pick() for _ in range(8)) == "bcccccab"


def test_counters_do_not_outlive_a_flip() -> None:
    """Counts that survived a flip ejected again at once; results from before a flip counted."""
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


def test_zero_is_no_threshold() -> None:
    """Threshold 0 meant "off" in one program and "immediately" in another."""
    with pytest.raises(InvalidSetting, match="unhealthy_threshold"):
        HealthChecks(unhealthy_threshold=0)


def test_panic_is_optional_visible_and_never_opens_a_draining_backend() -> None:
    """With half of the hosts down, traffic went to them, by default and without a sign."""
    for panic in (0.0, 0.5):
        health, drain = HealthChecks[str](unhealthy_threshold=1), Drain[str]()
        pool = Pool(RoundRobin([*"abcd"]), [health, drain], panic=panic)
        drain.begin("d", 0.0)
        for backend in "ab":
            health.observe(backend, False, 0.0)
        leases = [pool.acquire(0.0) for _ in range(6)]
        assert {lease.backend for lease in leases} == ({"a", "b", "c"} if panic else {"c"})
        assert {lease.panic for lease in leases} == {panic > 0}


def test_a_slow_start_needs_no_probes_and_starves_no_backend() -> None:
    """Milliseconds for seconds, steps only at probes, no minimum, and a ramp in a new pool."""
    ramp, health = SlowStart[str](window=30.0, steps=10), HealthChecks[str](1, 1)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [ramp, health])
    pool.add("c", now=1.0)
    assert [pool.effective_weight(b) for b in "abc"] == [1, 1, 1]  # no ramp in a new pool
    health.observe("c", False, 50.0)
    pool.acquire(50.0)
    health.observe("c", True, 60.0)  # the last result of a probe
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
    assert "c" in served[:21]  # the minimum share: a tenth against two is one in 21


def test_counts_do_not_leak() -> None:
    """A release that was skipped on cancellation excluded a host forever."""
    pool = Pool(LeastConnections(["a"]))
    for error in (KeyboardInterrupt, GeneratorExit, ValueError):
        with pytest.raises(error), pool.lease(lambda: 0.0):
            raise error
    assert pool.in_flight("a") == 0


@pytest.mark.parametrize("make", [HashRing, RoundRobin, LeastConnections, WeightedLeastConnections])
def test_a_retry_goes_to_another_backend(make: type[RoundRobin[str]]) -> None:
    """The next attempt on a ring could go to the same host."""
    lb = make([f"s{i}" for i in range(6)])
    for number in range(50):
        tried: list[str] = []
        for _ in range(6):
            tried.append(lb.pick(f"key {number}", avoid=tried))
        assert len(set(tried)) == 6
        with pytest.raises(NoBackendAvailable, match="avoided"):
            lb.pick(f"key {number}", avoid=tried)


def test_time_never_runs_backwards() -> None:
    """Two clocks, or one that was set back, opened and closed hosts at random."""
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
def test_the_state_of_a_removed_backend_is_forgotten(name: str, closed: bool) -> None:
    """Failures, ejections and averages survived a removal, and late results counted for a new host.

    Each gate closes "a", or nearly does.  Then "a" is removed and added again.  It is open, and
    results of requests and probes from before are ignored.  It closes again as a new backend would:
    after the second failure, and for the base time.
    """
    gates: dict[str, Any] = {
        "unhealthy": HealthChecks[str](2, 1, recovery_time=10.0),
        "silent": ActiveChecks[str](2, 1, rng=Random(1), promotion="time", recovery_time=10.0),
        "ejected": OutlierEjection[str](2, (), base_ejection_time=10.0, max_ejected_share=0.5),
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
        accepted = gate.answer(probe, ok=probe.backend == "b", now=73.0)
        assert accepted is (probe.backend == "b")
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


def test_drains_limits_and_ramps_end_with_the_membership_too() -> None:
    """An address that was added again was still draining, or full of previous requests."""
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
    assert ramp.share("a", 10.0) == 1  # the pool is still new
    late += [pool.acquire(10.0, prefer="a") for _ in range(2)]
    assert pool.state("a") == ("saturated",)  # by the default limits, not by its own
    pool.release(late.pop(0), 11.0)
    assert (pool.in_flight("a"), pool.admits("a")) == (2, False)
    pool.release(late.pop(0), 11.0)
    assert (pool.in_flight("a"), pool.admits("a")) == (1, True)


def test_small_weights_are_not_rounded_to_zero() -> None:
    """With whole percents and 16-bit strides, a small weight got nothing."""
    lb = WeightedRoundRobin({"large": 1, "small": 0.0001})
    assert Counter(lb.pick() for _ in range(10_001)) == {"large": 10_000, "small": 1}
    chance = RandomChoice({"large": 1, "small": 0.001}, rng=Random(6))
    assert 30 < sum(chance.pick() == "small" for _ in range(50_000)) < 75  # 50, 3.5 deviations


def test_the_probes_of_many_clients_stay_spread() -> None:
    """With one interval and one start time, all probes of a fleet were sent at the same time.

    500 clients probe one backend for a minute: 10 probes per 0.1 s on average, and at most 5
    standard deviations more, because they are independent.  Two clients that probe at the same time
    do not continue to do so: a gap varies by 0.29 s, so after ten gaps two probes are within 0.1 s
    of each other in 6 % of the cases.
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
    pairs = [(a, b) for a, b in pairwise(ordered) if b[0] - a[0] < 0.1]
    assert len(pairs) > 450
    again = sum(abs(a[10] - b[10]) < 0.1 for a, b in pairs)
    assert again < 0.06 * len(pairs) + 4.5 * sqrt(0.06 * len(pairs))
