"""Direct calls of gates: invalid and earlier times, unknown backends, settings out of range."""

import pickle
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers import (
    FAILURE,
    SUCCESS,
    ConnectionLimit,
    Drain,
    HealthChecks,
    Outcome,
    Pool,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.errors import InvalidSetting, InvalidTime, UnknownBackend
from balancers.gates import (
    ActiveChecks,
    MemberGate,
    OutlierEjection,
    PassiveChecks,
    Probe,
)
from balancers.outcome import UNKNOWN
from tests.bad_input.samples import INVALID_TIMES
from tests.kinds import PLAIN_GATES

Call = Callable[[], object]


def calls_of(gate: Any, backend: str, now: float) -> dict[str, Call]:
    """Return every call of a gate that takes a time, with or without a backend."""
    calls: dict[str, Call] = {"changes": lambda: list(gate.changes(now))}
    for name, arguments in (
        ("begin", (backend, now)),
        ("cancel", (backend, now)),
        ("restore", (backend, now)),
        ("observe", (backend, False, now)),
        ("drained", (now,)),
        ("probes", (now,)),
        ("set_waiting", (5, now)),
    ):
        if hasattr(gate, name):
            calls[name] = partial(getattr(gate, name), *arguments)
    return calls


EVERY_GATE = {kind.name: kind.make for kind in PLAIN_GATES.values()}
every_gate = pytest.mark.parametrize("name", EVERY_GATE)


def gate_and_pool(name: str) -> tuple[Any, Pool[str]]:
    """Return a gate at 100 s, and its pool of two members; a request to one of them failed."""
    gate = EVERY_GATE[name]()
    pool = Pool(WeightedRoundRobin(["a", "b"]), [gate])
    pool.release(pool.acquire(99.0, prefer="a"), 100.0, ok=False)
    list(gate.changes(100.0))
    return gate, pool


@every_gate
@pytest.mark.parametrize("now", INVALID_TIMES)
def test_an_invalid_time_changes_nothing(name: str, now: float) -> None:
    gate, pool = gate_and_pool(name)
    before = pickle.dumps(pool)
    for call in calls_of(gate, "b", now).values():
        with pytest.raises(InvalidTime, match=re.escape(repr(now))):
            call()
        assert pickle.dumps(pool) == before


@every_gate
def test_an_earlier_time_counts_as_the_latest_seen(name: str) -> None:
    for call in calls_of(gate_and_pool(name)[0], "b", 0.0):
        (gate, pool), (other, same) = gate_and_pool(name), gate_and_pool(name)
        result = calls_of(gate, "b", 100.0)[call]()
        assert calls_of(other, "b", 3.0)[call]() == result
        assert pickle.dumps(pool) == pickle.dumps(same)


@every_gate
def test_results_for_unknown_backends_are_refused(name: str) -> None:
    gate, pool = gate_and_pool(name)
    timed = {"begin", "cancel", "restore", "observe"}
    calls = [call for n, call in calls_of(gate, "absent", 100.0).items() if n in timed]
    for method, arguments in (
        ("factor", (100.0,)),
        ("share", (100.0,)),
        ("set", (1,)),
        ("healthy", ()),
        ("draining", ()),
        ("until", ()),
    ):
        if hasattr(gate, method):
            calls.append(partial(getattr(gate, method), "absent", *arguments))
    before = pickle.dumps(pool)
    for call in calls:
        with pytest.raises(UnknownBackend, match="absent"):
            call()
        assert pickle.dumps(pool) == before
    if hasattr(gate, "answer"):  # a late answer of a backend that left is not an error
        assert not gate.answer(Probe("absent", 1, 100.0, 103.0), ok=True, now=100.0)
        assert pickle.dumps(pool) == before


HEALTH_GATES = ("HealthChecks", "ActiveChecks", "PassiveChecks", "OutlierEjection")
NOT_TIMES: list[Any] = [*INVALID_TIMES, None, Decimal(101), "101", b"1", 1j, [101.0]]


def timed_calls(gate: Any, now: Any) -> dict[str, Call]:
    """Return every call of a health gate with an invalid time as ``now`` or ``started_at``."""
    calls = calls_of(gate, "b", now)
    kind: Any = gate.__class__
    for outcome in (SUCCESS, FAILURE, UNKNOWN, Outcome(ok=True, status=200)):
        calls[f"finished {outcome}"] = partial(gate.finished, "b", outcome, 0, 100.0, now)
        calls[f"finished since {outcome}"] = partial(gate.finished, "b", outcome, 0, now, 100.0)
    calls["factor"] = partial(gate.factor, "b", now)
    calls["added"] = partial(gate.added, "c", now)
    calls["removed"] = partial(gate.removed, "b", now)
    if kind is PassiveChecks:
        calls["started"] = partial(gate.started, "b", 1, now)
    if issubclass(kind, HealthChecks):
        for ok in (True, False):
            calls[f"observe {ok}"] = partial(gate.observe, "b", ok, now)
            if now is not None:
                calls[f"observe since {ok}"] = partial(gate.observe, "b", ok, 100.0, now)
    if kind is ActiveChecks:
        probe = Probe("b", 1, 99.0, 102.0)
        calls["answer"] = partial(gate.answer, probe, True, now)
    return calls


@pytest.mark.parametrize("name", HEALTH_GATES)
@pytest.mark.parametrize("now", NOT_TIMES, ids=repr)
def test_every_time_of_a_health_gate_is_checked(name: str, now: Any) -> None:
    for failing in ("a", "b"):
        gate, pool = gate_and_pool(name)
        gate.finished(failing, FAILURE, 0, 100.0, 100.0)
        before = pickle.dumps(pool)
        for what, call in timed_calls(gate, now).items():
            with pytest.raises(InvalidTime, match=re.escape(repr(now))):
                call()
            assert pickle.dumps(pool) == before, what


@pytest.mark.parametrize("name", HEALTH_GATES)
def test_a_message_names_the_argument(name: str) -> None:
    gate, _ = gate_and_pool(name)
    with pytest.raises(InvalidTime, match="started_at must be"):
        gate.finished("a", SUCCESS, 0, nan, 100.0)
    with pytest.raises(InvalidTime, match="now must be"):
        gate.finished("a", SUCCESS, 0, 100.0, nan)


@pytest.mark.parametrize("name", HEALTH_GATES)
@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE, UNKNOWN, Outcome(ok=False, status=500)])
def test_a_request_of_an_unknown_backend_is_ignored(name: str, outcome: Outcome) -> None:
    gate, pool = gate_and_pool(name)
    before = pickle.dumps(pool)
    gate.started("absent", 1, 100.0)
    gate.finished("absent", outcome, 0, 99.0, 100.0)
    assert pickle.dumps(pool) == before
    pool.remove("a", 101.0)
    before = pickle.dumps(pool)
    gate.started("a", 1, 101.0)
    gate.finished("a", outcome, 0, 99.0, 101.0)
    assert pickle.dumps(pool) == before
    empty = EVERY_GATE[name]()
    empty.started("a", 1, 1.0)
    empty.finished("a", outcome, 0, 1.0, 1.0)


class Errors(MemberGate[str, list[int]]):
    """A gate as its author writes it: it closes a backend after two failures."""

    reason = "errors"

    def new_state(self, now: float) -> list[int]:
        return [0]

    def factor(self, backend: str, now: float) -> float:
        self.clamp(now)
        return 0 if self.state_of(backend)[0] >= 2 else 1

    def finished(
        self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        self.settle(now)
        state = self.find_state(backend)
        if state is not None and outcome.ok is False:
            state[0] += 1
            if state[0] == 2:
                self.notify_change(backend)


def test_a_gate_of_an_author_ignores_unknown_backends_and_refuses_invalid_times() -> None:
    gate = Errors()
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    before = pickle.dumps(gate)
    gate.started("absent", 1, 0.0)
    gate.finished("absent", FAILURE, 0, 0.0, 0.0)
    assert pickle.dumps(gate) == before
    for now in NOT_TIMES:
        for call in (
            partial(gate.finished, "a", FAILURE, 0, 0.0, now),
            partial(gate.factor, "a", now),
            partial(gate.changes, now),
            partial(gate.added, "c", now),
            partial(gate.removed, "b", now),
        ):
            with pytest.raises(InvalidTime):
                call()
    assert pickle.dumps(gate) == before
    with pytest.raises(UnknownBackend, match="absent"):
        gate.factor("absent", 0.0)
    for _ in range(2):
        pool.release(pool.acquire(1.0, prefer="a"), 1.0, ok=False)
    assert pool.state("a") == ("errors",)


def test_a_gate_that_knows_a_later_time_than_its_pool_announces_what_it_knows() -> None:
    """The pool is at 5 s.  A call of the gate at 100 s ends what ends before."""
    outliers: OutlierEjection[str] = OutlierEjection(1)
    health: HealthChecks[str] = HealthChecks(1, 1, promotion="time")
    passive: PassiveChecks[str] = PassiveChecks(1, 10.0)
    for gate in (outliers, health, passive):
        pool = Pool(RoundRobin(["a", "b"]), [gate])
        pool.release(pool.acquire(5.0, prefer="a"), 5.0, ok=False)
        assert {pool.acquire(5.0).backend for _ in range(4)} == {"b"}
        gate.finished("b", UNKNOWN, 0, 5.0, 100.0)
        assert gate.due == -inf
        assert gate.factor("a", 5.0) == 1
        assert outliers.ejections() == [] or gate is not outliers
        assert pool.admits("a")
        assert pool.acquire(5.0, avoid=["b"]).backend == "a"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drain[str](timeout=0.0),
        lambda: Drain[str](timeout=-1.0),
        lambda: Drain[str](timeout=nan),
        lambda: ConnectionLimit[str](0),
        lambda: ConnectionLimit[str](True),
        lambda: HealthChecks[str](0),
        lambda: HealthChecks[str](3, 0),
        lambda: HealthChecks[str](True),
        lambda: HealthChecks[str](recovery_time=-1.0),
        lambda: HealthChecks[str](recovery_time=nan),
        lambda: HealthChecks[str](recovery_time=inf),
        lambda: ActiveChecks[str](rng=Random(1), timeout=5.0, interval=5.0),
        lambda: ActiveChecks[str](rng=Random(1), timeout=nan),
        lambda: ActiveChecks[str](rng=Random(1), recovery_time=0.0),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidSetting, match=r"must be .*(-?\d|nan|inf|True)"):
        make()
