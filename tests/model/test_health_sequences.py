"""The gates of health do what their documentation says after every short sequence of calls.

``tests/gates/test_health_state_machine.py`` does the same for the state machine alone, with every
sequence of twelve results.
"""

from collections.abc import Iterator
from copy import copy
from itertools import product
from random import Random
from typing import Any

import pytest

from balancers import HealthChecks, Outcome
from balancers.gates import ActiveChecks, PassiveChecks, Probe
from tests.depth import DEEP
from tests.model.health_oracles import ActiveOracle, HealthOracle, PassiveOracle

START = 100.0
OK, FAILED, UNKNOWN = Outcome(ok=True), Outcome(ok=False), Outcome(ok=None)
Lengths = list[tuple[int, tuple[int, int]]]
FEW: Lengths = [(4, (2, 1)), (3, (1, 1)), (3, (1, 2))]
MANY: Lengths = [(4, (fall, rise)) for fall in (1, 2, 3) for rise in (1, 2, 3)]
LENGTHS: Lengths = MANY if DEEP else FEW
"""The lengths of the sequences, with the thresholds for failures and for successes."""
Call = tuple[Any, ...]


class FirstAtOnce(Random):
    """Draws 0 always: the first probe is due at once."""

    def random(self) -> float:
        return 0.0


def every_sequence(calls: list[Call]) -> Iterator[tuple[tuple[int, int], tuple[Call, ...]]]:
    for length, thresholds in LENGTHS:
        for sequence in product(calls, repeat=length):
            yield thresholds, sequence


HEALTH: list[Call] = [
    ("probe", True, 0.0), ("probe", False, 0.0), ("probe", False, 2.0),
    ("request", OK, 0.0), ("request", FAILED, 0.0), ("request", FAILED, 2.0),
    ("request", UNKNOWN, 0.0), ("wait", 1.0), ("wait", 3.0),
]  # fmt: skip


@pytest.mark.parametrize("promotion", ["either", "probes", "time"])
@pytest.mark.parametrize("initial", ["up", "down", "unknown"])
def test_health_checks(promotion: Any, initial: Any) -> None:
    closed = 0
    for (fall, rise), calls in every_sequence(HEALTH):
        gate: HealthChecks[str] = HealthChecks(
            fall, rise, 3.0, promotion=promotion, initial=initial
        )
        gate.added("a", START)
        oracle = HealthOracle(fall, rise, 3.0, promotion, initial, START)
        now, factor = START, gate.factor("a", START)
        arguments: list[Any]
        for name, *arguments in calls:
            if name == "wait":
                now += arguments[0]
            elif name == "probe":
                gate.observe("a", arguments[0], now, started_at=now - arguments[1])
                oracle.observe(arguments[0], now, now - arguments[1])
            else:
                gate.finished("a", arguments[0], 0, now - arguments[1], now)
                oracle.request_ends(arguments[0].ok, now - arguments[1], now)
            oracle.settle(now)
            assert gate.factor("a", now) == oracle.healthy, calls
            assert gate.unproven("a", now) is oracle.unproven, calls
            assert gate.due <= now or gate.factor("a", now) == factor, calls
            closed += not oracle.healthy
            if gate.due <= now:
                list(gate.changes(now))
                factor = gate.factor("a", now)
            assert gate.due == oracle.recovers_at, calls
    assert closed > 100


ACTIVE: list[Call] = [
    ("send",), ("answer", True), ("answer", False), ("request", FAILED), ("request", OK),
    ("wait", 1.0), ("wait", 4.0),
]  # fmt: skip
TIMES: dict[str, Any] = {
    "interval": 4.0, "timeout": 1.5, "fast_interval": 1.0, "slow_interval": 8.0, "slow_after": 3.0,
    "recovery_time": 3.0,
}  # fmt: skip


@pytest.mark.parametrize("promotion", ["probes", "time"])
@pytest.mark.parametrize("initial", ["up", "down", "unknown"])
def test_active_checks(promotion: Any, initial: Any) -> None:
    """Each sequence begins with a probe that was sent."""
    closed = 0
    for (fall, rise), calls in every_sequence(ACTIVE):
        gate: ActiveChecks[str] = ActiveChecks(
            fall, rise, rng=FirstAtOnce(), jitter=0.0, promotion=promotion, initial=initial, **TIMES
        )
        gate.added("a", START)
        oracle = ActiveOracle(fall, rise, promotion, initial, START, TIMES)
        now, sent = START, list[Probe[str]]()
        arguments: list[Any]
        for name, *arguments in [("send",), *calls]:
            if name == "wait":
                now += arguments[0]
            elif name == "send":
                probes = gate.probes(now)
                assert len(probes) == oracle.send(now), calls
                sent.extend(probes)
            elif name == "answer":
                probe = sent[-1]
                gate.answer(probe, arguments[0], now)
                oracle.answer(arguments[0], now, probe.sent_at)
            else:
                gate.finished("a", arguments[0], 0, now, now)
                oracle.request_ends(arguments[0].ok, now, now)
            ahead = copy(oracle)
            ahead.settle(now + 1.5)
            assert gate.factor("a", now + 1.5) == ahead.healthy, calls
            assert gate.unproven("a", now + 1.5) is ahead.unproven, calls
            list(gate.changes(now))
            oracle.settle(now)
            assert gate.factor("a", now) == oracle.healthy, calls
            assert gate.due == min(oracle.recovers_at, oracle.deadline()), calls
            assert gate.probes_due == min(oracle.next_at, oracle.deadline()), calls
            closed += not oracle.healthy
    assert closed > 100


PASSIVE: list[Call] = [
    ("start",), ("end", OK, 0), ("end", FAILED, 0), ("end", UNKNOWN, 0), ("end", FAILED, -1),
    ("wait", 1.0), ("wait", 3.0),
]  # fmt: skip


START_ONE: Call = ("start",)
FAIL: Call = ("end", FAILED, 0)
BEGINS: dict[str, list[Call]] = {
    "in-flight": [START_ONE, START_ONE, START_ONE, FAIL],
    "given-up": [
        START_ONE,
        START_ONE,
        FAIL,
        FAIL,
        ("wait", 3.0),
        START_ONE,
        START_ONE,
        ("wait", 3.0),
    ],
}
"""Calls before each sequence: requests in flight, and trials that did not end in time."""


@pytest.mark.parametrize("begin", BEGINS)
@pytest.mark.parametrize("max_trials", [1, 2])
def test_passive_checks(max_trials: int, begin: str) -> None:
    closed = trials = 0
    for (max_fails, _), calls in every_sequence(PASSIVE):
        gate: PassiveChecks[str] = PassiveChecks(max_fails, 3.0, max_trials)
        gate.added("a", START)
        gate.added("b", START)
        oracle = PassiveOracle(max_fails, 3.0, max_trials)
        now, started = START, list[float]()
        arguments: list[Any]
        for name, *arguments in [*BEGINS[begin], *calls]:
            if name == "wait":
                now += arguments[0]
            elif name == "start":
                started.append(now)
                gate.started("a", len(started), now)
                oracle.request_starts(now)
            elif started:
                outcome, started_at = arguments[0], started.pop(arguments[1])
                gate.finished("a", outcome, len(started), started_at, now)
                oracle.request_ends(outcome.ok, started_at, now)
            assert gate.factor("a", now + 1.0) != copy(oracle).closed(now + 1.0), calls
            list(gate.changes(now))
            assert gate.factor("a", now) != oracle.closed(now), calls
            closed += oracle.closed(now)
            trials += oracle.on_trial
    assert closed > 100
    assert trials > 100
