"""Health rules against simple models on every sequence, and how often they flip."""

import copy
import pickle
import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from balancers import Event, HealthChecks, Outcome, Pool, RoundRobin
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.gates import (
    Consecutive,
    HealthRule,
    HealthStateMachine,
    Leaky,
    SlidingWindow,
    transitions,
)
from balancers.gates.health_rules import State

LENGTH = 12
Flips = Callable[[bool, list[bool]], bool]
"""Returns whether a backend flips, from its state and all results since the last flip."""


def in_a_row(results: list[bool], ok: bool, count: int) -> bool:
    return len(results) >= count and results[-count:] == [ok] * count


def consecutive(unhealthy: int, healthy: int) -> Flips:
    def flips(up: bool, since: list[bool]) -> bool:
        return in_a_row(since, not up, unhealthy if up else healthy)

    return flips


def leaky(unhealthy: int, reset: int, healthy: int) -> Flips:
    def flips(up: bool, since: list[bool]) -> bool:
        if not up:
            return in_a_row(since, True, healthy)
        reset_at = [i for i in range(len(since) + 1) if in_a_row(since[:i], True, reset)]
        return since[max(reset_at, default=0) :].count(False) >= unhealthy

    return flips


def of_the_last(n: int, unhealthy: int, healthy: int) -> Flips:
    def flips(up: bool, since: list[bool]) -> bool:
        return since[-n:].count(not up) >= (unhealthy if up else healthy)

    return flips


def every_rule() -> Iterator[tuple[str, HealthRule, Flips]]:
    four = range(1, 5)
    for u, h in product(four, four):
        yield f"consecutive {u} {h}", Consecutive(u, h), consecutive(u, h)
    for u, f, h in product(four, four, four):
        yield f"leaky {u} {f} {h}", Leaky(u, f, h), leaky(u, f, h)
    for n, u, h in product(four, four, four):
        if max(u, h) <= n:
            yield f"of {n} {u} {h}", SlidingWindow(n, u, h), of_the_last(n, u, h)


RULES = {name: (rule, model) for name, rule, model in every_rule()}


@pytest.mark.parametrize("name", RULES)
def test_every_sequence_of_twelve(name: str) -> None:
    """8190 sequences per rule, with all their prefixes, from both states."""
    rule, model = RULES[name]
    tried = 0

    def walk(state: State, since: list[bool], left: int) -> None:
        nonlocal tried
        for ok in (False, True) if left else ():
            tried += 1
            after, known = rule.next_state(state, ok), [*since, ok]
            flips = model(state[0], known)
            assert after[0] is (state[0] != flips), (state, known)
            if flips:
                assert after == rule.initial_state(after[0])
            walk(after, [] if flips else known, left - 1)

    walk(rule.initial_state(healthy=True), [], LENGTH)
    walk(rule.initial_state(healthy=False), [], LENGTH // 2)
    assert tried == 2 ** (LENGTH + 1) - 2 + 2 ** (LENGTH // 2 + 1) - 2


@pytest.mark.parametrize("name", RULES)
def test_transitions_agrees_with_the_rule(name: str) -> None:
    rule, _ = RULES[name]
    table = transitions(rule)
    assert rule.initial_state(healthy=True) in table
    assert rule.initial_state(healthy=False) in table
    for state, (failed, succeeded) in table.items():
        assert failed in table
        assert succeeded in table
        assert (failed, succeeded) == (
            rule.next_state(state, ok=False),
            rule.next_state(state, ok=True),
        )


def expected_flips(rule: HealthRule, failing: float, checks: int) -> float:
    """Return the expected number of flips, from the mean time in each state until a flip."""
    table = transitions(rule)
    places = {state: place for place, state in enumerate(table)}
    stay = np.zeros((len(table), len(table)))
    for state, follows in table.items():
        for after, chance in zip(follows, (failing, 1 - failing), strict=True):
            if after[0] == state[0]:
                stay[places[state], places[after]] += chance
    times = np.linalg.solve(np.eye(len(table)) - stay, np.ones(len(table)))
    two_flips = sum(times[places[rule.initial_state(healthy=up)]] for up in (True, False))
    return float(2 * checks / two_flips)


def test_the_figures_in_the_documentation() -> None:
    """They are derived from the tables of transitions."""
    page = (Path(__file__).parents[2] / "docs" / "gates.md").read_text(encoding="utf-8")
    for rule in ("Consecutive(3, 2)", "SlidingWindow(10, 5, 8)", "Leaky()"):
        row = re.search(rf"^\| `{re.escape(rule)}` \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
        assert row, rule
        made: HealthRule = eval(rule)  # noqa: S307 - a literal above
        for share, figure in zip((0.5, 0.3), row.groups(), strict=True):
            assert round(expected_flips(made, share, 20_000)) == int(figure)


def flips(rule: HealthRule, failing: float, checks: int = 20_000, seed: int = 1) -> int:
    machine, rng = HealthStateMachine(rule=rule), Random(seed)
    return sum(machine.observe(rng.random() >= failing) for _ in range(checks))


def test_a_backend_that_fails_half_of_its_checks() -> None:
    assert expected_flips(Consecutive(3, 2), 0.5, 20_000) == pytest.approx(2000)
    assert flips(Consecutive(3, 2), 0.5) == pytest.approx(2000, rel=0.05)
    assert flips(Leaky(), 0.5) <= 10
    assert expected_flips(SlidingWindow(10, 5, 8), 0.5, 20_000) == pytest.approx(498.7, abs=0.1)
    assert flips(SlidingWindow(10, 5, 8), 0.5) == pytest.approx(498.7, rel=0.05)


def test_a_backend_that_fails_three_checks_of_ten() -> None:
    assert flips(Consecutive(3, 2), 0.3) >= 650
    assert flips(Leaky(), 0.3) <= 30
    assert flips(SlidingWindow(10, 5, 8), 0.3) == pytest.approx(
        expected_flips(SlidingWindow(10, 5, 8), 0.3, 20_000), rel=0.05
    )


def test_initial_states() -> None:
    up, down = HealthStateMachine(3, 2), HealthStateMachine(3, 2, initial="down")
    assert (up.healthy, down.healthy) == (True, False)
    assert [down.observe(ok=True) for _ in range(2)] == [False, True]
    for first in (True, False):
        unknown = HealthStateMachine(3, 2, initial="unknown")
        assert unknown.healthy
        assert unknown.observe(first) is not first
        assert unknown.healthy is first
        assert not unknown.observe(not first)
    with pytest.raises(InvalidSetting, match="'dead'"):
        HealthStateMachine(initial="dead")  # type: ignore[arg-type] # refused


def test_an_immediate_failure_demotes_alone() -> None:
    machine = HealthStateMachine(3, 2)
    assert machine.observe(ok=False, immediate=True)
    assert not machine.observe(ok=True)
    assert not machine.observe(ok=False, immediate=True)
    assert [machine.observe(ok=True) for _ in range(2)] == [False, True]
    with pytest.raises(InvalidSetting, match="immediate"):
        machine.observe(ok=True, immediate=True)
    assert machine.healthy


def test_health_checks_with_another_rule_and_initial_state() -> None:
    health: HealthChecks[str] = HealthChecks(rule=SlidingWindow(3, 2, 1), initial="down")
    pool = Pool(RoundRobin(["a"]), [health])
    assert pool.state("a") == ("unhealthy",)
    for now, ok in enumerate((True, False, True, False), start=1):
        assert health.healthy("a") is (now > 1)
        health.observe("a", ok, float(now))
    assert not health.healthy("a")
    health.observe("a", True, 5.0)
    assert health.healthy("a")
    health.observe("a", False, 6.0, immediate=True)
    assert not health.healthy("a")
    with pytest.raises(InvalidSetting, match="immediate"):
        health.observe("a", True, 7.0, immediate=True)
    unknown: HealthChecks[str] = HealthChecks(initial="unknown")
    pool = Pool(RoundRobin(["a"]), [unknown])
    assert pool.acquire(0.0).backend == "a"
    unknown.observe("a", False, 1.0)
    assert pool.state("a") == ("unhealthy",)


@pytest.mark.parametrize("first", [True, False])
def test_a_member_that_is_down_is_unproven_until_a_probe_counts(first: bool) -> None:
    health: HealthChecks[str] = HealthChecks(3, 2, initial="down")
    pool = Pool(RoundRobin(["a", "b"]), [health], now=5.0)
    assert [health.unproven(b, 5.0) for b in "ab"] == [True, True]
    health.observe("a", first, 6.0, started_at=4.0)  # sent before it joined
    health.finished("a", Outcome(ok=first), 0, 5.0, 6.0)  # requests never promote
    assert health.unproven("a", 9.0)
    assert list(health.changes(6.0)) == []
    health.observe("a", first, 6.0)
    assert [health.unproven(b, 6.0) for b in "ab"] == [False, True]
    assert list(health.changes(6.0)) == ["a"]
    assert health.factor("a", 6.0) == 0
    health.observe("a", False, 7.0)
    assert list(health.changes(7.0)) == []
    for copied in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):  # noqa: S301 - its own pickle
        gate: Any = copied._gates[0]
        assert [gate.unproven(b, 7.0) for b in "ab"] == [False, True]
    pool.remove("a", 8.0)
    with pytest.raises(UnknownBackend, match="'a'"):
        health.unproven("a", 9.0)
    pool.add("a", now=9.0)
    assert health.unproven("a", 9.0)


@pytest.mark.parametrize("initial", ["up", "unknown"])
def test_no_other_member_is_unproven(initial: Any) -> None:
    health: HealthChecks[str] = HealthChecks(1, 1, initial=initial)
    Pool(RoundRobin(["a"]), [health])
    assert not health.unproven("a", 9.0)
    health.observe("a", False, 1.0, immediate=True)
    assert not health.unproven("a", 9.0)


def test_a_first_immediate_failure_is_a_result() -> None:
    health: HealthChecks[str] = HealthChecks(initial="down")
    Pool(RoundRobin(["a"]), [health])
    health.observe("a", False, 1.0, immediate=True)
    assert not health.unproven("a", 9.0)
    assert list(health.changes(1.0)) == ["a"]


def test_a_member_that_is_down_is_recorded_as_unhealthy_from_the_start() -> None:
    events: deque[Event] = deque(maxlen=9)
    health: HealthChecks[str] = HealthChecks(1, 1, initial="down")
    Pool(RoundRobin(["a"]), [health], events=events, now=3.0)
    health.observe("a", True, 4.0)
    assert [event for event in events if event.reason == "unhealthy"] == [
        (3.0, "unhealthy", True, "a", "no result yet"),
        (4.0, "unhealthy", False, "a", "by probes"),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Consecutive(0, 1),
        lambda: Consecutive(1, 0),
        lambda: Leaky(0),
        lambda: Leaky(1, 0),
        lambda: Leaky(1, 1, 0),
        lambda: SlidingWindow(0, 1, 1),
        lambda: SlidingWindow(3, 4, 1),
        lambda: SlidingWindow(3, 1, 4),
        lambda: SlidingWindow(3, 0, 1),
    ],
)
def test_thresholds_outside_their_range(make: Callable[[], HealthRule]) -> None:
    with pytest.raises(InvalidSetting, match=r"\d"):
        make()
