"""The probe schedule on virtual time: whom, when, how often, and what silence means."""

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

from balancers import Pool, RoundRobin
from balancers.errors import InvalidSetting, InvalidTime
from balancers.gates import ActiveChecks, Probe

INTERVAL, TIMEOUT, FAST, SLOW, JITTER = 5.0, 3.0, 1.0, 30.0, 0.1


def watched(members: int, seed: int = 1, **settings: Any) -> tuple[ActiveChecks[int], Pool[int]]:
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(seed), **settings)
    return checks, Pool(RoundRobin(range(members)), [checks])


def next_of(checks: ActiveChecks[int]) -> Probe[int]:
    """Wait for the next probe."""
    while True:
        probes = checks.probes(checks.probes_due)
        if probes:
            [probe] = probes
            return probe


def test_first_probes_are_spread_over_an_interval() -> None:
    """Footgun 47: everybody probed at the same instant, by every proxy."""
    checks, _ = watched(1000)
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
    other, _ = watched(1000, seed=2)
    assert other.probes_due != watched(1000)[0].probes_due


@pytest.mark.parametrize("began", [0.0, 54_321.0])
def test_a_prober_that_was_away_is_given_an_interval_and_no_burst(began: float) -> None:
    """Or its first call came long after a pool whose ``now`` was left out: 1000 probes at once."""
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(3))
    pool = Pool(RoundRobin(range(1000)), [checks], now=began)
    now, most = 54_321.0 + 60.0, 0
    begun = now
    seen: set[int] = set()
    while now < begun + 11.0:
        sent = checks.probes(now)
        most = max(most, len(sent))
        for probe in sent:
            checks.answer(probe, True, now)
        seen |= {probe.backend for probe in sent} if now <= begun + 5.11 else set()
        now += 0.1
    assert seen == set(range(1000))
    assert most <= 2.5 * 1000 * 0.1 / 5.0  # 20 expected; with this seed 35
    assert pool.admits(0)


def test_whoever_asks_seldom_is_given_probes_all_the_same() -> None:
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(3))
    Pool(RoundRobin(range(100)), [checks])
    sent = [checks.probes(30.0 * turn) for turn in range(1, 9)]
    assert sum(map(len, sent)) == 100 * 4  # a call puts off, the next one sends


def test_every_interval_is_jittered() -> None:
    checks, _ = watched(1)
    sent: list[float] = []
    for _ in range(300):
        probe = next_of(checks)
        sent.append(probe.sent_at)
        assert checks.answer(probe, ok=True, now=probe.sent_at + 0.1)
    gaps = [late - early for early, late in pairwise(sent)]
    assert INTERVAL * (1 - JITTER) <= min(gaps) < INTERVAL * 0.92
    assert INTERVAL * 1.08 < max(gaps) <= INTERVAL * (1 + JITTER)


def test_faster_while_changing_and_slower_when_long_down() -> None:
    checks, _ = watched(1, jitter=0.0, slow_after=20.0)
    sent, healthy = list[float](), list[bool]()
    for _ in range(12):
        probe = next_of(checks)
        sent.append(probe.sent_at)
        checks.answer(probe, ok=False, now=probe.sent_at)
        healthy.append(checks.healthy(0))
    gaps = [late - early for early, late in pairwise(sent)]
    assert healthy == [True, True, *[False] * 10]
    assert gaps == pytest.approx([FAST, FAST, *[INTERVAL] * 4, *[SLOW] * 5])
    probe = next_of(checks)
    checks.answer(probe, ok=True, now=probe.sent_at)
    assert next_of(checks).sent_at == pytest.approx(probe.sent_at + FAST)


def test_silence_is_a_failure_even_if_nobody_asks_the_schedule() -> None:
    checks, pool = watched(2, unhealthy_threshold=1)
    probe = next_of(checks)
    assert probe.deadline == probe.sent_at + TIMEOUT
    assert pool.due == probe.deadline
    assert checks.factor(probe.backend, probe.deadline - 0.001) == 1
    assert checks.factor(probe.backend, probe.deadline) == 0
    assert checks.factor(probe.backend, probe.deadline - 0.001) == 1  # reading writes nothing
    served = {pool.acquire(probe.deadline).backend for _ in range(4)}
    assert served == {0, 1} - {probe.backend}
    assert not checks.answer(probe, ok=True, now=probe.deadline)
    assert pool.state(probe.backend) == ("unhealthy",)


def test_an_answer_counts_once_in_time_and_for_its_own_probe() -> None:
    checks, pool = watched(1, unhealthy_threshold=1, healthy_threshold=1)
    first = next_of(checks)
    assert checks.answer(first, ok=False, now=first.sent_at + 1.0)
    assert not checks.answer(first, ok=True, now=first.sent_at + 1.0)
    second = next_of(checks)
    assert not checks.answer(first, ok=True, now=second.sent_at)
    assert not checks.healthy(0)
    pool.remove(0, second.sent_at)
    assert not checks.answer(second, ok=True, now=second.sent_at)
    pool.add(0, 1, second.sent_at)
    assert not checks.answer(second, ok=False, now=second.sent_at)
    assert checks.healthy(0)


def test_a_probe_sent_before_the_flip_does_not_count() -> None:
    checks, pool = watched(1, unhealthy_threshold=2, healthy_threshold=1)
    probe = next_of(checks)
    for _ in range(2):
        lease = pool.acquire(probe.sent_at + 0.5)
        pool.release(lease, probe.sent_at + 1.0, ok=False)
    assert not checks.healthy(0)
    assert not checks.answer(probe, ok=True, now=probe.sent_at + 1.5)
    assert not checks.healthy(0)
    assert checks.probes_due < inf


def test_time_alone_promotes_nobody() -> None:
    checks, pool = watched(1, unhealthy_threshold=1)
    pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert not checks.healthy(0)
    assert list(checks.changes(1.0)) == [0]
    assert checks.factor(0, 1e9) == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_death_is_noticed_within_the_bound_the_settings_imply(seed: int) -> None:
    """One interval, then thresholds' worth of timeouts."""
    checks, _ = watched(5, seed)
    died, bound = 42.0, INTERVAL * (1 + JITTER) + 3 * TIMEOUT
    while checks.healthy(3):
        now = checks.probes_due
        assert now <= died + bound + 1e-9
        for probe in checks.probes(now):
            if probe.backend != 3 or now < died:
                checks.answer(probe, ok=True, now=now)
    assert checks._now >= died


FATES = st.sampled_from(["ok", "ok", "fail", "never", "late", "twice", "immediate"])


@given(st.data(), st.integers(0, 1000))
def test_whatever_becomes_of_the_probes(data: st.DataObject, seed: int) -> None:
    """At most one in flight each; each one ends once; nobody is forgotten; nothing goes back."""
    checks, pool = watched(3, seed)
    flying: dict[int, Probe[int]] = {}
    numbers: set[int] = set()
    seen = now = 0.0
    for _ in range(data.draw(st.integers(10, 60))):
        now = max(now, checks.probes_due) + data.draw(st.sampled_from([0.0, 0.0, 0.5, 4.0]))
        asked = now - data.draw(st.sampled_from([0.0, 0.0, 2.0]))
        probes = checks.probes(asked)
        seen = max(seen, asked)
        flying = {b: probe for b, probe in flying.items() if probe.deadline > seen}
        for probe in probes:
            assert probe.backend not in flying
            assert probe.number not in numbers
            assert probe.sent_at == seen
            flying[probe.backend] = probe
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
                flying.pop(probe.backend, None)
        if data.draw(st.integers(0, 9)) == 0:
            pool.remove(1, seen)
            pool.add(1, 1, seen)
            flying.pop(1, None)
        waiting = set(checks._sends._current)
        assert waiting | set(checks._awaited) == {0, 1, 2}
        assert not waiting & set(checks._awaited)
    twins = [copy.deepcopy(checks), pickle.loads(pickle.dumps(checks))]  # noqa: S301 - own
    for _ in range(20):
        when = checks.probes_due
        asked_of = [gate.probes(when) for gate in (checks, *twins)]
        assert asked_of[0] == asked_of[1] == asked_of[2]


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
        watched(1, **settings)


def test_bad_calls_change_nothing() -> None:
    checks, _ = watched(1)
    probe = next_of(checks)
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
        ActiveChecks(rng=7)  # type: ignore[arg-type] # what is refused
    assert checks.answer(probe, ok=True, now=probe.sent_at)
