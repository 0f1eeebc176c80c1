"""Outlier rules by example, and ejection with its budget."""

from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import FAILURE, Pool, RandomChoice, RoundRobin
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.gates import FailurePercentage, MedianGap, OutlierEjection, OutlierRule, SuccessRate
from balancers.gates._ejection_settings import EjectionTimes


def detected(rule: OutlierRule, bad: int, of: int, volume: int = 100) -> int:
    """Return how many of the backends that fail every request the rule detects."""
    counts = {i: (0 if i < bad else volume, volume) for i in range(of)}
    below, rates = rule.threshold(counts)
    outliers = {backend for backend, rate in rates.items() if rate < below}
    assert outliers <= set(range(bad))
    return len(outliers)


def test_the_worked_example_of_envoy() -> None:
    counts = {"a": (50, 100)} | dict.fromkeys("bcde", (100, 100))
    below, rates = SuccessRate().threshold(counts)
    assert below == pytest.approx(52.0)
    assert [backend for backend, rate in rates.items() if rate < below] == ["a"]


@pytest.mark.parametrize(("bad", "of"), [(1, 5), (2, 10), (4, 20), (21, 100)])
def test_the_deviation_rule_detects_few_outliers(bad: int, of: int) -> None:
    assert detected(SuccessRate(), bad, of) == bad


@pytest.mark.parametrize(("bad", "of"), [(2, 5), (3, 10), (5, 20), (22, 100)])
def test_the_deviation_rule_does_not_detect_many_outliers(bad: int, of: int) -> None:
    """Unhealthy backends lower the mean and widen the deviation, so none of them is detected."""
    assert detected(SuccessRate(), bad, of) == 0
    assert detected(MedianGap(), bad, of) == bad
    assert detected(FailurePercentage(), bad, of) == bad


@given(st.integers(5, 12), st.integers(1, 200), st.data())
def test_equal_rates_eject_no_backend(n: int, total: int, data: st.DataObject) -> None:
    """A mean of equal floats can be above all of them, with a deviation of 0."""
    good = data.draw(st.integers(0, total))
    counts = dict.fromkeys(range(n), (good, total))
    for rule in (SuccessRate(request_volume=1), MedianGap(request_volume=1)):
        below, rates = rule.threshold(counts)
        assert not [backend for backend, rate in rates.items() if rate < below], (rule, below)


def test_a_percentage_is_exact() -> None:
    """100 - 99.9 is a little less than a tenth in floats."""
    counts = {"a": (1, 1000), "b": (2, 1000)} | dict.fromkeys("cde", (1000, 1000))
    below, rates = FailurePercentage(99.9).threshold(counts)
    assert [backend for backend, rate in rates.items() if rate < below] == ["a"]


def test_every_quiet_interval_shortens_the_next_ejection_even_without_calls() -> None:
    outliers: OutlierEjection[str] = OutlierEjection(1, (), max_ejected_share=0.5)
    pool = Pool(RoundRobin(["a", "b"]), [outliers])

    def fails(now: float) -> float:
        pool.release(pool.acquire(now, prefer="a", strict=True), now, ok=False)
        [ejection] = outliers.ejections()
        return ejection.until - ejection.at

    assert [fails(now) for now in (0.0, 30.0, 90.0)] == [30.0, 60.0, 90.0]
    assert pool.acquire(200.0).backend
    assert fails(10_000.0) == 30.0


def test_the_deviation_rule_detects_no_outlier_of_four() -> None:
    for bad in range(4):
        assert detected(SuccessRate(minimum_hosts=1), bad, 4) == 0
    assert detected(MedianGap(), 1, 4) == 1


def test_a_gap_alone_is_not_enough_where_rates_differ_widely() -> None:
    wide = {i: (10 * i + 5, 100) for i in range(10)}
    below, rates = MedianGap(gap=20.0).threshold(wide)
    assert all(rate >= below for rate in rates.values())


@pytest.mark.parametrize("rule", [SuccessRate(), FailurePercentage(), MedianGap()])
def test_too_few_backends_or_requests_are_not_compared(rule: OutlierRule) -> None:
    assert rule.threshold({})[0] == -inf
    few = dict.fromkeys(range(2), (0, 1000))
    assert rule.threshold(few)[0] == -inf
    thin = dict.fromkeys(range(20), (0, 49))
    assert rule.threshold(thin) == (-inf, {})


def test_a_percentage_ejects_at_the_threshold_as_in_envoy() -> None:
    counts = {"a": (15, 100), "b": (16, 100)} | dict.fromkeys("cde", (100, 100))
    below, rates = FailurePercentage(85).threshold(counts)
    assert [backend for backend, rate in rates.items() if rate < below] == ["a"]
    all_failed = dict.fromkeys("abcde", (0, 100))
    below, rates = FailurePercentage(85).threshold(all_failed)
    assert all(rate < below for rate in rates.values())


def pool_of(n: int, **settings: Any) -> tuple[OutlierEjection[int], Pool[int]]:
    outliers: OutlierEjection[int] = OutlierEjection(**settings)
    return outliers, Pool(RoundRobin(range(n)), [outliers], now=0.0)


def fail(pool: Pool[int], backend: int, now: float, times: int = 1) -> None:
    for _ in range(times):
        lease = pool.acquire(now, prefer=backend, strict=True)
        pool.release(lease, now, ok=False)


def test_failures_in_a_row_eject_and_time_restores_at_the_announced_instant() -> None:
    outliers, pool = pool_of(2, consecutive_failures=3)
    fail(pool, 0, 1.0, 2)
    pool.release(pool.acquire(1.0, prefer=0), 1.0, ok=True)
    fail(pool, 0, 2.0, 3)
    assert outliers.ejections() == [(0, "consecutive failures", 2.0, 32.0)]
    assert [pool.acquire(31.9).backend for _ in range(3)] == [1, 1, 1]
    assert {pool.acquire(32.0).backend for _ in range(2)} == {0, 1}
    assert outliers.ejections() == []


def test_each_ejection_is_longer_and_quiet_intervals_reset_this() -> None:
    outliers, pool = pool_of(
        2, consecutive_failures=1, base_ejection_time=30.0, max_ejection_time=100.0
    )
    now, lasted = 0.0, list[float]()
    for _ in range(5):
        fail(pool, 0, now)
        [ejection] = outliers.ejections()
        lasted.append(ejection.until - now)
        now = ejection.until
        pool.acquire(now)
    assert lasted == [30.0, 60.0, 90.0, 100.0, 100.0]
    for _ in range(60):
        now += 10.0
        list(outliers.changes(now))
    assert pool.due == inf  # no earlier ejection is counted any more
    fail(pool, 0, now)
    assert outliers.ejections()[0].until - now == 30.0


def test_requests_that_started_before_the_ejection_or_its_end_are_ignored() -> None:
    outliers, pool = pool_of(2, consecutive_failures=2)
    leases = [pool.acquire(0.0, prefer=0) for _ in range(9)]
    for lease in leases[:8]:
        pool.release(lease, 1.0, ok=False)
    assert len(outliers.ejections()) == 1
    pool.acquire(31.0)
    fail(pool, 0, 31.0)
    pool.release(leases[8], 31.0, ok=False)
    assert outliers.ejections() == []


def test_retry_after_and_cancellation_are_not_failures() -> None:
    outliers, pool = pool_of(2, consecutive_failures=1)
    pool.release(pool.acquire(0.0), 0.0, ok=False, retry_after=5.0)
    pool.release(pool.acquire(0.0), 0.0, ok=None)
    assert outliers.ejections() == []


def traffic(pool: Pool[int], failing: dict[int, float], start: float, seconds: int) -> float:
    """Send a hundred requests per second; return the time of the last one."""
    rng = Random(1)
    now = start
    for _ in range(100 * seconds):
        now += 0.01
        lease = pool.acquire(now)
        pool.release(lease, now, ok=rng.random() >= failing.get(lease.backend, 0.0))
    return now


def test_half_of_the_requests_fail() -> None:
    """Failures in a row do not detect it; success rates do, an interval later."""
    for rules in (list[OutlierRule](), [SuccessRate()]):
        outliers, pool = pool_of(5, consecutive_failures=20, rules=rules)
        traffic(pool, {3: 0.5}, 0.0, 60)
        assert len(outliers.ejections()) == len(rules)
    assert [(one.backend, one.rule) for one in outliers.ejections()] == [(3, "SuccessRate")]


def test_the_budget_is_for_all_rules_together_the_next_one_included() -> None:
    for share, members, allowed in (
        (0.5, 3, 1),
        (0.67, 3, 2),
        (0.1, 9, 1),
        (0.1, 30, 3),
        (0.0, 9, 0),
    ):
        rules = (
            FailurePercentage(minimum_hosts=1, request_volume=1),
            MedianGap(minimum_hosts=1, request_volume=1),
        )
        outliers, pool = pool_of(
            members, consecutive_failures=1, rules=rules, max_ejected_share=share
        )
        for now in range(40):
            for backend in range(members - 1):
                pool.release(pool.acquire(float(now), prefer=backend), float(now), ok=False)
            assert len(outliers.ejections()) <= allowed
        assert len(outliers.ejections()) == allowed


def test_a_single_member_is_never_ejected() -> None:
    outliers, pool = pool_of(1, consecutive_failures=1, max_ejected_share=1.0)
    fail(pool, 0, 0.0, 10)
    assert outliers.ejections() == []
    outliers, pool = pool_of(5, consecutive_failures=1, max_ejected_share=1.0, min_remaining=3)
    for backend in range(5):
        fail(pool, backend, 0.0)
    assert len(outliers.ejections()) == 2


def test_the_budget_shrinks_when_members_leave() -> None:
    outliers, pool = pool_of(20, consecutive_failures=1, max_ejected_share=0.1)
    fail(pool, 18, 1.0)
    fail(pool, 19, 2.0)
    pool.update([10, 11, 18, 19], 3.0)
    assert [one.backend for one in outliers.ejections()] == [19]
    assert {pool.acquire(3.0).backend for _ in range(6)} == {10, 11, 18}
    pool.update([19], 4.0)
    assert pool.acquire(4.0).backend == 19


def test_a_dry_run_closes_no_backend() -> None:
    outliers, pool = pool_of(3, consecutive_failures=1, dry_run=True)
    fail(pool, 0, 1.0)
    assert [one.backend for one in outliers.ejections()] == [0]
    assert {pool.acquire(2.0).backend for _ in range(3)} == {0, 1, 2}


def test_restore_resets_the_failures() -> None:
    outliers, pool = pool_of(2, consecutive_failures=2)
    fail(pool, 0, 1.0, 2)
    outliers.restore(0, 2.0)
    assert {pool.acquire(2.0).backend for _ in range(2)} == {0, 1}
    fail(pool, 0, 3.0)
    assert outliers.ejections() == []
    outliers.restore(0, 3.0)
    with pytest.raises(UnknownBackend, match="9"):
        outliers.restore(9, 3.0)


def test_a_panic_ignores_ejections() -> None:
    outliers: OutlierEjection[int] = OutlierEjection(1, max_ejected_share=1.0)
    pool = Pool(RoundRobin(range(4)), [outliers], panic=0.5)
    for backend in range(3):
        fail(pool, backend, 1.0)
    lease = pool.acquire(2.0)
    assert lease.panic
    assert pool.in_flight(lease.backend) == 1


def test_jitter_only_lengthens() -> None:
    lasted: set[float] = set()
    for seed in range(40):
        outliers, pool = pool_of(2, consecutive_failures=1, jitter=0.5, rng=Random(seed))
        fail(pool, 0, 0.0)
        lasted.add(outliers.ejections()[0].until)
    assert 30.0 <= min(lasted) < 32.0
    assert 43.0 < max(lasted) <= 45.0


def test_jitter_is_added_after_the_limit_of_the_length_as_in_envoy() -> None:
    lasted: set[float] = set()
    for seed in range(40):
        outliers, pool = pool_of(
            2, consecutive_failures=1, max_ejection_time=30.0, jitter=1.0, rng=Random(seed)
        )
        fail(pool, 0, 0.0)
        lasted.add(outliers.ejections()[0].until)
    assert 30.0 <= min(lasted) < 33.0
    assert 57.0 < max(lasted) <= 60.0


OK_OR_NOT = st.sampled_from([True, False, False, None])


@given(
    st.lists(
        st.tuples(st.sampled_from(["request", "request", "leave", "join", "restore"]),
                  st.integers(0, 7), OK_OR_NOT, st.sampled_from([0.0, 0.5, 4.0, 15.0])),
        min_size=20, max_size=120,
    ),
    st.sampled_from([0.1, 0.34, 0.5, 1.0]),
    st.integers(1, 3),
)  # fmt: skip
def test_the_budget_is_never_exceeded(
    steps: list[tuple[str, int, bool | None, float]], share: float, min_remaining: int
) -> None:
    """Also: no ejected backend is picked, and no factor changes before ``due``."""
    outliers: OutlierEjection[int] = OutlierEjection(
        2,
        (MedianGap(minimum_hosts=2, request_volume=2),),
        max_ejected_share=share,
        min_remaining=min_remaining,
    )
    pool = Pool(RandomChoice(range(8), rng=Random(1)), [outliers])
    now = 0.0
    for what, backend, ok, later in steps:
        factors = {b: outliers.factor(b, now) for b in pool.backends}
        due = outliers.due
        now += later
        if now < due:
            assert {b: outliers.factor(b, now) for b in pool.backends} == factors
        if what == "leave" and len(pool) > 2 and backend in pool:
            pool.remove(backend, now)
        elif what == "join" and backend not in pool:
            pool.add(backend, 1, now)
        elif what == "restore" and backend in pool:
            outliers.restore(backend, now)
        lease = pool.acquire(now)
        assert lease.backend not in {one.backend for one in outliers.ejections()}
        pool.release(lease, now, ok)
        ejected, members = len(outliers.ejections()), len(pool)
        budget = max(1, int(share * members + 1e-9))
        assert ejected <= max(0, min(budget, members - min_remaining))
        assert members - ejected >= min(min_remaining, members)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"consecutive_failures": 0}, "consecutive_failures"),
        ({"interval": 0.0}, "interval"),
        ({"base_ejection_time": 301.0}, "base_ejection_time"),
        ({"max_ejection_time": nan}, "max_ejection_time"),
        ({"max_ejected_share": 1.1}, "max_ejected_share"),
        ({"max_ejected_share": nan}, "max_ejected_share"),
        ({"min_remaining": 0}, "min_remaining"),
        ({"jitter": 1.0}, "jitter"),
        ({"jitter": 1.1, "rng": Random(1)}, "jitter"),
        ({"jitter": -1.0, "rng": Random(1)}, "jitter"),
    ],
)
def test_settings_outside_their_range(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        OutlierEjection(**settings)


def test_rules_outside_their_range() -> None:
    made: list[tuple[Any, dict[str, Any]]] = [
        (SuccessRate, {"stdev_factor": -1.0}),
        (SuccessRate, {"stdev_factor": inf}),
        (SuccessRate, {"minimum_hosts": 0}),
        (FailurePercentage, {"percentage": 101}),
        (FailurePercentage, {"percentage": nan}),
        (FailurePercentage, {"request_volume": 0}),
        (MedianGap, {"gap": -1}),
        (MedianGap, {"factor": nan}),
    ]
    for rule, settings in made:
        with pytest.raises(InvalidSetting, match=next(iter(settings))):
            rule(**settings)


def envoy_backoff(events: str, base: float, maximum: float) -> list[float]:
    """Return the lengths of ejections ("e") with quiet intervals (".") between them.

    The rule is that of ``DetectorImpl::ejectHost`` and ``checkHostForUneject`` of Envoy.
    """
    backoff, lengths = 0, list[float]()
    for event in events:
        if event == ".":
            backoff = max(0, backoff - 1)
            continue
        if backoff * base < maximum + base:
            backoff += 1
        lengths.append(min(backoff * base, maximum))
    return lengths


def ejection_lengths(events: str, base: float, maximum: float) -> list[float]:
    times = EjectionTimes(base, maximum, 0.0, None)
    earlier, lengths = 0, list[float]()
    for event in events:
        if event == ".":
            earlier = max(0, earlier - 1)
            continue
        lengths.append(times.length(earlier, None))
        earlier += times.grows(earlier)
    return lengths


@given(
    st.text("eee.", max_size=60), st.sampled_from([1.0, 30.0, 70.0]), st.sampled_from([70.0, 300.0])
)
def test_the_length_of_an_ejection_is_that_of_envoy(events: str, base: float, top: float) -> None:
    assert ejection_lengths(events, base, top) == envoy_backoff(events, base, top)


@pytest.mark.parametrize(
    ("in_a_row", "quiet", "length"),
    [
        (10, 1, 300.0),
        (10, 2, 270.0),
        (11, 1, 300.0),
        (11, 2, 300.0),
        (11, 3, 270.0),
        (40, 2, 300.0),
        (40, 3, 270.0),
        (11, 10, 60.0),
        (11, 11, 30.0),
        (11, 30, 30.0),
    ],
)
def test_an_ejection_after_many_others_and_quiet_intervals(
    in_a_row: int, quiet: int, length: float
) -> None:
    """The number of earlier ejections stops at 11 with the default times."""
    gate: OutlierEjection[str] = OutlierEjection(consecutive_failures=1, max_ejected_share=1.0)
    pool = Pool(RoundRobin(["a", "b"]), gates=[gate])
    now = 0.0
    for _ in range(in_a_row):
        gate.finished("a", FAILURE, 0, now, now)
        now = gate.ejections()[0].until
        pool.acquire(now)
    for _ in range(quiet):
        now += 10.0
        pool.acquire(now)
    gate.finished("a", FAILURE, 0, now, now)
    assert gate.ejections()[0].until - now == length
