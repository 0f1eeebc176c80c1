"""Active checks on virtual time: which backend is probed, when, and what a missing answer means."""

import copy
import pickle
from collections.abc import Callable
from itertools import pairwise
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import HealthChecks, NoBackendAvailable, Pool, RoundRobin
from balancers.errors import InvalidSetting, InvalidTime, UnknownBackend
from balancers.gates import (
    ActiveChecks,
    Consecutive,
    HealthRule,
    HealthStateMachine,
    Leaky,
    Probe,
    SlidingWindow,
)
from balancers.gates.health_rules import State

INTERVAL, TIMEOUT, FAST, SLOW, JITTER = 5.0, 3.0, 1.0, 30.0, 0.1


def checked_pool(
    members: int, seed: int = 1, **settings: Any
) -> tuple[ActiveChecks[int], Pool[int]]:
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(seed), **settings)
    return checks, Pool(RoundRobin(range(members)), [checks])


def next_probe(checks: ActiveChecks[int]) -> Probe[int]:
    """Wait for the next probe."""
    while True:
        probes = checks.probes(checks.probes_due)
        if probes:
            [probe] = probes
            return probe


def test_first_probes_are_spread_over_an_interval() -> None:
    """Footgun 47: every proxy probed every backend at the same instant."""
    checks, _ = checked_pool(1000)
    first: dict[int, float] = {}
    while len(first) < 1000:
        for probe in checks.probes(checks.probes_due):
            first.setdefault(probe.backend, probe.sent_at)
            checks.answer(probe, ok=True, now=probe.sent_at)
    sent = [*first.values()]
    assert 0 <= min(sent) <= max(sent) <= INTERVAL
    for part in range(10):
        share = sum(part * INTERVAL / 10 <= when < (part + 1) * INTERVAL / 10 for when in sent)
        assert abs(share - 100) <= 45  # 4.7 standard deviations
    other, _ = checked_pool(1000, seed=2)
    assert other.probes_due != checked_pool(1000)[0].probes_due


@pytest.mark.parametrize("pool_now", [0.0, 54_321.0])
def test_late_probes_are_spread_over_an_interval_and_not_sent_at_once(pool_now: float) -> None:
    """Also if the pool was made with ``now`` left out, and the first call has a much later time."""
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(3))
    pool = Pool(RoundRobin(range(1000)), [checks], now=pool_now)
    now, most = 54_321.0 + 60.0, 0
    started = now
    seen: set[int] = set()
    while now < started + 11.0:
        sent = checks.probes(now)
        most = max(most, len(sent))
        for probe in sent:
            checks.answer(probe, True, now)
        seen |= {probe.backend for probe in sent} if now <= started + 5.11 else set()
        now += 0.1
    assert seen == set(range(1000))
    assert most <= 2.5 * 1000 * 0.1 / 5.0  # 20 expected; with this seed 35
    assert pool.admits(0)


def test_rare_calls_of_probes_still_get_probes() -> None:
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(3))
    Pool(RoundRobin(range(100)), [checks])
    sent = [checks.probes(30.0 * turn) for turn in range(1, 9)]
    assert sum(map(len, sent)) == 100 * 4  # one call postpones, the next one sends


def test_every_interval_is_jittered() -> None:
    checks, _ = checked_pool(1)
    sent: list[float] = []
    for _ in range(300):
        probe = next_probe(checks)
        sent.append(probe.sent_at)
        assert checks.answer(probe, ok=True, now=probe.sent_at + 0.1)
    gaps = [late - early for early, late in pairwise(sent)]
    assert INTERVAL * (1 - JITTER) <= min(gaps) < INTERVAL * 0.92
    assert INTERVAL * 1.08 < max(gaps) <= INTERVAL * (1 + JITTER)


def test_faster_while_changing_and_slower_when_long_down() -> None:
    checks, _ = checked_pool(1, jitter=0.0, slow_after=20.0)
    sent, healthy = list[float](), list[bool]()
    for _ in range(12):
        probe = next_probe(checks)
        sent.append(probe.sent_at)
        checks.answer(probe, ok=False, now=probe.sent_at)
        healthy.append(checks.healthy(0))
    gaps = [late - early for early, late in pairwise(sent)]
    assert healthy == [True, True, *[False] * 10]
    assert gaps == pytest.approx([FAST, FAST, *[INTERVAL] * 4, *[SLOW] * 5])
    probe = next_probe(checks)
    checks.answer(probe, ok=True, now=probe.sent_at)
    assert next_probe(checks).sent_at == pytest.approx(probe.sent_at + FAST)


def test_a_missing_answer_is_a_failure_even_if_probes_is_not_called() -> None:
    checks, pool = checked_pool(2, unhealthy_threshold=1)
    probe = next_probe(checks)
    assert probe.deadline == probe.sent_at + TIMEOUT
    assert pool.due == probe.deadline
    assert checks.factor(probe.backend, probe.deadline - 0.001) == 1
    assert checks.factor(probe.backend, probe.deadline) == 0
    assert checks.factor(probe.backend, probe.deadline - 0.001) == 1  # reading changes nothing
    served = {pool.acquire(probe.deadline).backend for _ in range(4)}
    assert served == {0, 1} - {probe.backend}
    assert not checks.answer(probe, ok=True, now=probe.deadline)
    assert pool.state(probe.backend) == ("unhealthy",)


def test_an_answer_counts_once_before_the_deadline_and_for_its_own_probe() -> None:
    checks, pool = checked_pool(1, unhealthy_threshold=1, healthy_threshold=1)
    first = next_probe(checks)
    assert checks.answer(first, ok=False, now=first.sent_at + 1.0)
    assert not checks.answer(first, ok=True, now=first.sent_at + 1.0)
    second = next_probe(checks)
    assert not checks.answer(first, ok=True, now=second.sent_at)
    assert not checks.healthy(0)
    pool.remove(0, second.sent_at)
    assert not checks.answer(second, ok=True, now=second.sent_at)
    pool.add(0, 1, second.sent_at)
    assert not checks.answer(second, ok=False, now=second.sent_at)
    assert checks.healthy(0)


def test_a_probe_sent_before_the_flip_does_not_count() -> None:
    checks, pool = checked_pool(1, unhealthy_threshold=2, healthy_threshold=1)
    probe = next_probe(checks)
    for _ in range(2):
        lease = pool.acquire(probe.sent_at + 0.5)
        pool.release(lease, probe.sent_at + 1.0, ok=False)
    assert not checks.healthy(0)
    assert not checks.answer(probe, ok=True, now=probe.sent_at + 1.5)
    assert not checks.healthy(0)
    assert checks.probes_due < inf


def test_time_alone_does_not_promote() -> None:
    checks, pool = checked_pool(1, unhealthy_threshold=1)
    pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert not checks.healthy(0)
    assert list(checks.changes(1.0)) == [0]
    assert checks.factor(0, 1e9) == 0


@pytest.mark.parametrize("seed", range(20))
def test_an_outage_is_detected_within_the_bound_that_the_settings_imply(seed: int) -> None:
    """At most one interval, then one timeout per failure of the threshold."""
    checks, _ = checked_pool(5, seed)
    down_at, bound = 42.0, INTERVAL * (1 + JITTER) + 3 * TIMEOUT
    while checks.healthy(3):
        now = checks.probes_due
        assert now <= down_at + bound + 1e-9
        for probe in checks.probes(now):
            if probe.backend != 3 or now < down_at:
                checks.answer(probe, ok=True, now=now)
    assert checks._now >= down_at


FATES = st.sampled_from(["ok", "ok", "fail", "never", "late", "twice", "immediate"])


@given(st.data(), st.integers(0, 1000))
def test_probes_that_are_answered_late_twice_or_never(data: st.DataObject, seed: int) -> None:
    """At most one probe per backend is in flight, each ends once, and each backend is scheduled."""
    checks, pool = checked_pool(3, seed)
    in_flight: dict[int, Probe[int]] = {}
    numbers: set[int] = set()
    seen = now = 0.0
    for _ in range(data.draw(st.integers(10, 60))):
        now = max(now, checks.probes_due) + data.draw(st.sampled_from([0.0, 0.0, 0.5, 4.0]))
        asked = now - data.draw(st.sampled_from([0.0, 0.0, 2.0]))
        probes = checks.probes(asked)
        seen = max(seen, asked)
        in_flight = {b: probe for b, probe in in_flight.items() if probe.deadline > seen}
        for probe in probes:
            assert probe.backend not in in_flight
            assert probe.number not in numbers
            assert probe.sent_at == seen
            in_flight[probe.backend] = probe
            numbers.add(probe.number)
        for probe in probes:
            fate = data.draw(FATES)
            if fate == "late":
                assert not checks.answer(probe, ok=True, now=probe.deadline)
                seen = max(seen, probe.deadline)
            elif fate != "never":
                good = fate in {"ok", "twice"}
                counted = checks.answer(probe, good, seen, immediate=fate == "immediate")
                assert counted is (probe.deadline > seen)
                assert not checks.answer(probe, ok=True, now=seen)
            if fate != "never":
                in_flight.pop(probe.backend, None)
        if data.draw(st.integers(0, 9)) == 0:
            pool.remove(1, seen)
            pool.add(1, 1, seen)
            in_flight.pop(1, None)
        scheduled = set(checks._scheduled._current)
        assert scheduled | set(checks._awaited) == {0, 1, 2}
        assert not scheduled & set(checks._awaited)
    copies = [copy.deepcopy(checks), pickle.loads(pickle.dumps(checks))]  # noqa: S301 - its own pickle
    for _ in range(20):
        when = checks.probes_due
        probes_of = [gate.probes(when) for gate in (checks, *copies)]
        assert probes_of[0] == probes_of[1] == probes_of[2]


@pytest.mark.parametrize(
    "settings",
    [
        {"interval": 0.0},
        {"interval": nan},
        {"interval": inf},
        {"timeout": 5.0},
        {"timeout": -1.0},
        {"fast_interval": 6.0},
        {"slow_interval": 4.0},
        {"slow_after": 0.0},
        {"jitter": 1.0},
        {"jitter": -0.1},
        {"jitter": nan},
        {"unhealthy_threshold": 0},
        {"initial": "dead"},
    ],
)
def test_settings_outside_their_range(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=r"\d|inf|nan|dead"):
        checked_pool(1, **settings)


def test_bad_calls_change_nothing() -> None:
    checks, _ = checked_pool(1)
    probe = next_probe(checks)
    refused: list[Callable[[], object]] = [
        lambda: checks.probes(nan),
        lambda: checks.answer(probe, ok=True, now=inf),
    ]
    for call in refused:
        with pytest.raises(InvalidTime):
            call()
    with pytest.raises(InvalidSetting, match="immediate"):
        checks.answer(probe, ok=True, now=probe.sent_at, immediate=True)
    with pytest.raises(TypeError, match="7"):
        ActiveChecks(rng=7)  # type: ignore[arg-type] # refused
    assert checks.answer(probe, ok=True, now=probe.sent_at)


@pytest.mark.parametrize("silent", [0.0, 0.5, 3.0, 30.0, 1e6])
@pytest.mark.parametrize("answered", [True, False, None])
def test_no_probe_is_scheduled_in_the_past(answered: bool | None, silent: float) -> None:
    """The prober sleeps for a while; its probes get an answer, a failure, or no answer."""
    checks, pool = checked_pool(20)
    now = 0.0
    for turn in range(30):
        now = max(now, checks.probes_due) + silent * (turn % 3 == 0)
        probes = checks.probes(now)
        assert checks.probes_due > now
        for probe in probes if answered is not None else ():
            assert checks.answer(probe, answered is True, now)
            assert checks._scheduled.get(probe.backend) >= now
        pool.admits(0)
        now += silent * (turn % 3 == 1)
        list(checks.changes(now))  # counts the probes without an answer
        for backend in {probe.backend for probe in probes} - set(checks._awaited):
            assert answered is not None or checks._scheduled.get(backend) >= now


def test_probes_without_an_answer_are_spread_after_a_long_silence() -> None:
    checks, _ = checked_pool(1000)
    sent = 0
    now = 0.0
    while sent < 1000:
        now += 0.05
        sent += len(checks.probes(now))
    now += 3600.0
    most = total = 0
    for _ in range(101):
        probes = checks.probes(now)
        most, total = max(most, len(probes)), total + len(probes)
        for probe in probes:
            checks.answer(probe, True, now)
        now += 0.05
    assert total >= 990
    assert most <= 40  # 10 expected


def test_the_interval_is_fast_only_while_a_result_contradicts_the_state() -> None:
    checks, _ = checked_pool(1, jitter=0.0, rule=SlidingWindow(4, 3, 3))
    gaps: list[float] = []
    before = 0.0
    for ok in (True, True, False, True, True, True, True, True):
        probe = next_probe(checks)
        gaps.append(probe.sent_at - before)
        before = probe.sent_at
        checks.answer(probe, ok, before)
    assert gaps[1:] == pytest.approx([INTERVAL, INTERVAL, *[FAST] * 4, INTERVAL])


@pytest.mark.parametrize(
    "rule", [Consecutive(3, 2), Leaky(3, 3, 4), SlidingWindow(4, 3, 2), SlidingWindow(1, 1, 1)]
)
def test_settled_means_that_no_counted_result_contradicts_the_state(rule: HealthRule) -> None:
    """Every sequence of nine results: what is counted is what a further result can see."""

    def distance(state: State) -> int:
        contrary, count = not state[0], 0
        while state[0] is not contrary:
            state, count = rule.next_state(state, contrary), count + 1
        return count

    def walk(machine: HealthStateMachine, left: int) -> None:
        initial = rule.initial_state(machine.healthy)
        if machine.settled:
            assert distance(machine._state) == distance(initial)
        if distance(machine._state) < distance(initial):
            assert not machine.settled
        for ok in (True, False) if left else ():
            after = machine.copy()
            after.observe(ok)
            walk(after, left - 1)

    walk(HealthStateMachine(rule=rule), 9)
    assert not HealthStateMachine(rule=rule, initial="unknown").settled


@pytest.mark.parametrize("promotion", ["either", "requests", None])
def test_a_promotion_that_a_schedule_cannot_have_is_refused(promotion: Any) -> None:
    with pytest.raises(
        InvalidSetting, match=f"promotion must be probes or time, not {promotion!r}"
    ):
        ActiveChecks(rng=Random(1), promotion=promotion)


def test_a_member_that_is_down_is_unproven_until_its_probe_ends() -> None:
    checks, pool = checked_pool(1, initial="down", healthy_threshold=2)
    probe = next_probe(checks)
    assert checks.unproven(0, probe.sent_at)
    list(checks.changes(probe.deadline - 0.1))
    assert checks.unproven(0, probe.deadline - 0.1)
    assert not checks.unproven(0, probe.deadline)  # before the failure is counted
    assert checks.unproven(0, probe.deadline - 0.1)
    assert list(checks.changes(probe.deadline)) == [0]  # a missing answer is a result
    assert not checks.unproven(0, checks._now)
    assert checks.factor(0, probe.deadline) == 0
    pool.remove(0, probe.deadline)
    pool.add(0, now=probe.deadline)
    assert checks.unproven(0, checks._now)
    checks.answer(next_probe(checks), True, checks._now)
    assert not checks.unproven(0, checks._now)
    assert not checks.healthy(0)


def test_a_pool_foresees_that_a_probe_without_an_answer_is_a_result() -> None:
    """``admits`` said no at the deadline, and ``acquire`` at the same time got a lease."""
    checks, pool = checked_pool(2, initial="down")
    probe = next_probe(checks)
    before = pickle.dumps(pool)
    for now, admitted in ((probe.sent_at, False), (probe.deadline, True), (1e6, True)):
        assert pool.admits(probe.backend, now=now) is admitted
        assert not pool.admits(1 - probe.backend, now=now)  # its probe is not due yet
        assert pickle.dumps(pool) == before
    with pytest.raises(NoBackendAvailable):
        pool.acquire(probe.deadline - 0.1)
    lease = pool.acquire(probe.deadline)
    assert (lease.backend, lease.panic) == (probe.backend, True)


@pytest.mark.parametrize("now", [None, nan, "5", True])
def test_a_call_of_unproven_needs_a_member_and_a_time(now: Any) -> None:
    gates: list[HealthChecks[int]] = [HealthChecks(initial="down"), checked_pool(1)[0]]
    Pool(RoundRobin([0]), gates[:1])
    for gate in gates:
        with pytest.raises(InvalidTime, match="now"):
            gate.unproven(0, now)
        with pytest.raises(UnknownBackend, match="9"):
            gate.unproven(9, 1.0)
        assert gate.unproven(0, 1.0) is (gate is gates[0])
