"""Direct calls of gates: invalid and earlier times, unknown backends, settings out of range."""

import pickle
import re
from collections.abc import Callable
from functools import partial
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers import ConnectionLimit, Drain, HealthChecks, Pool, SlowStart, WeightedRoundRobin
from balancers.errors import InvalidSetting, InvalidTime, UnknownBackend
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    DynamicLimit,
    OutlierEjection,
    PassiveChecks,
    Probe,
    WarmUp,
)
from tests.bad_input.samples import INVALID_TIMES

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


EVERY_GATE: dict[str, Callable[[], Any]] = {
    "HealthChecks": lambda: HealthChecks[str](1, 1),
    "ActiveChecks": lambda: ActiveChecks[str](1, 1, rng=Random(1)),
    "PassiveChecks": PassiveChecks[str],
    "OutlierEjection": lambda: OutlierEjection[str](1),
    "CoolDown": lambda: CoolDown[str](rng=Random(1)),
    "Drain": Drain[str],
    "ConnectionLimit": lambda: ConnectionLimit[str](3),
    "DynamicLimit": lambda: DynamicLimit[str](1, 3, 9),
    "SlowStart": lambda: SlowStart[str](30.0),
    "WarmUp": lambda: WarmUp[str](30.0),
}
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
