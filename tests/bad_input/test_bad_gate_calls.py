"""What gates are told past their pool: times that are none or go back, strangers, bad settings."""

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
from tests.bad_input.samples import NO_TIMES

Call = Callable[[], object]


def calls_of(gate: Any, backend: str, now: float) -> dict[str, Call]:
    """Give every call of a gate's own that takes a time, with or without a backend."""
    calls: dict[str, Call] = {"moved": lambda: list(gate.changes(now))}
    for name, arguments in (
        ("begin", (backend, now)),
        ("cancel", (backend, now)),
        ("restore", (backend, now)),
        ("observe", (backend, False, now)),
        ("drained", (now,)),
        ("probes", (now,)),
        ("waiting", (5, now)),
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


def used(name: str) -> tuple[Any, Pool[str]]:
    """Give a gate at 100 s, of whose two members one failed a request."""
    gate = EVERY_GATE[name]()
    pool = Pool(WeightedRoundRobin(["a", "b"]), [gate])
    pool.release(pool.acquire(99.0, prefer="a"), 100.0, ok=False)
    list(gate.changes(100.0))
    return gate, pool


@every_gate
@pytest.mark.parametrize("now", NO_TIMES)
def test_a_time_that_is_none_changes_nothing(name: str, now: float) -> None:
    gate, pool = used(name)
    before = pickle.dumps(pool)
    for call in calls_of(gate, "b", now).values():
        with pytest.raises(InvalidTime, match=re.escape(repr(now))):
            call()
        assert pickle.dumps(pool) == before


@every_gate
def test_a_time_that_goes_back_is_the_latest_seen(name: str) -> None:
    for call in calls_of(used(name)[0], "b", 0.0):
        (gate, pool), (other, same) = used(name), used(name)
        told = calls_of(gate, "b", 100.0)[call]()
        assert calls_of(other, "b", 3.0)[call]() == told
        assert pickle.dumps(pool) == pickle.dumps(same)


@every_gate
def test_results_for_unknown_backends_are_refused(name: str) -> None:
    gate, pool = used(name)
    timed = {"begin", "cancel", "restore", "observe"}
    calls = [call for n, call in calls_of(gate, "stranger", 100.0).items() if n in timed]
    for method, arguments in (
        ("factor", (100.0,)),
        ("share", (100.0,)),
        ("set", (1,)),
        ("healthy", ()),
        ("draining", ()),
        ("until", ()),
    ):
        if hasattr(gate, method):
            calls.append(partial(getattr(gate, method), "stranger", *arguments))
    before = pickle.dumps(pool)
    for call in calls:
        with pytest.raises(UnknownBackend, match="stranger"):
            call()
        assert pickle.dumps(pool) == before
    if hasattr(gate, "answer"):  # the answer of one that left is late, and no mistake
        assert not gate.answer(Probe("stranger", 1, 100.0, 103.0), ok=True, now=100.0)
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
def test_settings_outside_their_range(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidSetting, match=r"must be .*(-?\d|nan|inf|True)"):
        make()
