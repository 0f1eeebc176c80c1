"""Which outcomes count: the caller says it in one function, for every gate that counts requests."""

import copy
import inspect
import pickle
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from balancers import FAILURE, SUCCESS, HealthChecks, Outcome, Pool, RoundRobin
from balancers.gates import CoolDown, OutlierEjection, PassiveChecks
from balancers.outcome import UNKNOWN, Verdict, count_capacity_as_unknown
from tests.kinds import GATES as GATE_KINDS

Make = Callable[..., Any]


def takes_a_verdict(make: Make) -> bool:
    kind: type[Any] = make().__class__
    return "verdict" in inspect.signature(kind).parameters


GATES = {
    kind.name: kind.make
    for kind in GATE_KINDS
    if kind.closes_at_once and takes_a_verdict(kind.make)
}
every_gate = pytest.mark.parametrize("make", GATES.values(), ids=GATES)

BUSY = Outcome(ok=False, retry_after=2.0, status=429)
APPLICATION_ERROR = Outcome(ok=False, status=500)
BROKEN = Outcome(ok=False)


def only_broken_connections(outcome: Outcome) -> bool | None:
    return outcome.ok if outcome.status is None else True


def capacity_is_health(outcome: Outcome) -> bool | None:
    return outcome.ok


def slow_is_a_failure(outcome: Outcome) -> bool | None:
    return False if outcome.elapsed is not None and outcome.elapsed > 1.0 else outcome.ok


def never(_: Outcome) -> bool | None:
    return False


def refuses_successes(outcome: Outcome) -> bool | None:
    if outcome.ok:
        raise RuntimeError("refused")
    return outcome.ok


def gate_in_a_pool(make: Make, **verdict: Any) -> Any:
    gate = make(**verdict)
    Pool(RoundRobin(["a", "b"]), [gate])
    return gate


def closes(gate: Any, *outcomes: Outcome) -> bool:
    for outcome in outcomes:
        gate.finished("a", outcome, 0, 1.0, 1.0)
    return bool(gate.factor("a", 1.0) == 0)


@every_gate
@pytest.mark.parametrize(
    ("verdict", "outcome", "closed"),
    [
        (None, Outcome(ok=False, retry_after=0.0), False),
        (None, APPLICATION_ERROR, True),
        (None, BROKEN, True),
        (None, UNKNOWN, False),
        (None, SUCCESS, False),
        (only_broken_connections, APPLICATION_ERROR, False),
        (only_broken_connections, BROKEN, True),
        (only_broken_connections, UNKNOWN, False),
        (slow_is_a_failure, Outcome(ok=True, elapsed=2.0), True),
        (slow_is_a_failure, SUCCESS, False),
    ],
)
def test_the_verdict_decides_what_counts(
    make: Make, verdict: Verdict | None, outcome: Outcome, closed: bool
) -> None:
    given = {} if verdict is None else {"verdict": verdict}
    assert closes(gate_in_a_pool(make, **given), outcome) is closed


@pytest.mark.parametrize(
    ("verdict", "closed"),
    [(None, False), (capacity_is_health, True), (only_broken_connections, False)],
)
@every_gate
def test_the_verdict_decides_whether_a_lack_of_capacity_counts(
    make: Make, verdict: Verdict | None, closed: bool
) -> None:
    given = {} if verdict is None else {"verdict": verdict}
    gate = gate_in_a_pool(make, **given)
    pauses = gate.reason == "cooling down"  # it does what the backend asks, whatever the verdict is
    assert closes(gate, BUSY) is (closed or pauses)
    assert not pauses or gate.until("a") == 3.0


def test_a_cool_down_counts_what_its_verdict_says() -> None:
    """An error of the application closed the backend, although no other gate counted it."""
    gate = gate_in_a_pool(partial(CoolDown[str], 2, rng=Random(1)), verdict=only_broken_connections)
    assert not closes(gate, BROKEN, APPLICATION_ERROR, BROKEN)  # a success between two failures
    assert closes(gate, UNKNOWN, BROKEN)


@every_gate
def test_a_verdict_may_call_the_plain_success_a_failure(make: Make) -> None:
    assert closes(gate_in_a_pool(make, verdict=never), SUCCESS)
    seen: list[Outcome] = []

    def record(outcome: Outcome) -> bool | None:
        seen.append(outcome)
        return outcome.ok

    assert not closes(gate_in_a_pool(make, verdict=record), SUCCESS, UNKNOWN, Outcome())
    assert seen == [SUCCESS, UNKNOWN, SUCCESS]


def test_what_counts_as_neither_does_not_end_a_row_of_failures() -> None:
    for gate in (HealthChecks[str](2), OutlierEjection[str](2)):
        Pool(RoundRobin(["a", "b"]), [gate])
        assert closes(gate, FAILURE, BUSY, UNKNOWN, FAILURE)
        other = type(gate)(2, verdict=only_broken_connections)
        Pool(RoundRobin(["a", "b"]), [other])
        assert not closes(other, FAILURE, APPLICATION_ERROR, FAILURE)


def test_a_trial_that_counts_as_neither_allows_another() -> None:
    gate: PassiveChecks[str] = PassiveChecks(1, 10.0)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    pool.release(pool.acquire(0.0, prefer="a"), 0.0, ok=False)
    for _ in range(3):
        gate.started("a", 1, 10.0)
        assert gate.factor("a", 10.0) == 0
        gate.finished("a", BUSY, 0, 10.0, 10.0)
        assert gate.factor("a", 10.0) == 1


@every_gate
@pytest.mark.parametrize("verdict", [None, True, "ok", 3])
def test_a_verdict_must_be_a_function(make: Make, verdict: Any) -> None:
    with pytest.raises(TypeError, match=r"verdict must be a function, not"):
        make(verdict=verdict)


@every_gate
@pytest.mark.parametrize("verdict", [only_broken_connections, count_capacity_as_unknown])
def test_copies_keep_the_verdict(make: Make, verdict: Verdict) -> None:
    pool = Pool(RoundRobin(["a", "b"]), [make(verdict=verdict)])
    for copied in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):  # noqa: S301 - its own pickle
        gate: Any = copied._gates[0]
        assert not closes(gate, SUCCESS, UNKNOWN, SUCCESS)
        assert closes(gate, APPLICATION_ERROR) is (verdict is count_capacity_as_unknown)


@every_gate
def test_a_verdict_that_raises_leaves_the_gate_as_it_was(make: Make) -> None:
    gate = gate_in_a_pool(make, verdict=refuses_successes)
    with pytest.raises(RuntimeError, match="refused"):
        gate.finished("a", SUCCESS, 0, 1.0, 5.0)
    assert gate._now == 0.0
    assert closes(gate, FAILURE)
