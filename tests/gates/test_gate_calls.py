"""Every method of drains, pauses, limits and ramps: bad times, earlier times, unknown backends."""

import pickle
import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import Any

import pytest

from balancers import (
    FAILURE,
    SUCCESS,
    ConnectionLimit,
    Event,
    Outcome,
    Pool,
    WeightedRoundRobin,
)
from balancers.errors import InvalidTime
from balancers.gates import DynamicLimit
from tests.bad_input.samples import INVALID_TIMES
from tests.kinds import PLAIN_GATES

BAD_TIMES: list[Any] = [*INVALID_TIMES, None, Decimal(200), "200", [200.0]]
LIMITED = Outcome(ok=False, retry_after=5.0)

ROWS = {
    name: kind
    for name, kind in PLAIN_GATES.items()
    if not kind.make().soft or kind.make().fractional
}
"""The gates that are no health checks."""
GATES = {name: kind.make for name, kind in ROWS.items()}
SETTINGS: dict[str, dict[str, Any]] = {
    "CoolDown": {"consecutive_failures": 2},
    "Drain": {"quiet": 2.0},
}
Call = Callable[[Any, str, float], object]
CALLS: dict[str, tuple[list[str], Call]] = {
    "factor": ([*GATES], lambda gate, b, now: gate.factor(b, now)),
    "changes": ([*GATES], lambda gate, _, now: list(gate.changes(now))),
    "added": ([*GATES], lambda gate, _, now: gate.added("new", now)),
    "share": (["SlowStart", "WarmUp"], lambda gate, b, now: gate.share(b, now)),
    "recovered": (["SlowStart", "WarmUp"], lambda gate, b, now: gate.recovered(b, now)),
    "started": (
        ["ConnectionLimit", "DynamicLimit", "WarmUp"],
        lambda gate, b, now: gate.started(b, 2, now),
    ),
    "a request fails": (
        ["CoolDown", "Drain", "ConnectionLimit", "DynamicLimit", "WarmUp"],
        lambda gate, b, now: gate.finished(b, FAILURE, 1, 99.0, now),
    ),
    "a success ends": (
        ["CoolDown"],
        lambda gate, b, now: gate.finished(b, SUCCESS, 0, 99.0, now),
    ),
    "a limited request ends": (
        ["CoolDown"],
        lambda gate, b, now: gate.finished(b, LIMITED, 0, 99.0, now),
    ),
}
for _name, _row in ROWS.items():
    for _event, _call in _row.events.items():
        CALLS.setdefault(_event, ([], _call))[0].append(_name)
every_call = pytest.mark.parametrize(
    ("name", "call"), [(name, call) for call, (names, _) in CALLS.items() for name in names]
)


def busy(name: str) -> tuple[Any, Pool[str], deque[Event]]:
    """Return a gate at 100 s, while "a" drains, ramps up, pauses, or is full."""
    gate, events = GATES[name](**SETTINGS.get(name, {})), deque[Event](maxlen=100)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [gate], events=events)
    pool.acquire(99.0, prefer="a")
    pool.acquire(99.0, prefer="b")
    if hasattr(gate, "begin"):
        gate.begin("a", 100.0)
    list(gate.changes(100.0))
    if name == "CoolDown":
        gate.finished("a", LIMITED, 1, 99.0, 100.0)
        gate.finished("b", FAILURE, 1, 99.0, 100.0)
    pool.acquire(100.0, prefer="b")
    list(gate.changes(100.0))
    events.clear()
    return gate, pool, events


@every_call
def test_a_bad_time_is_refused_and_changes_nothing(name: str, call: str) -> None:
    gate, pool, _ = busy(name)
    before = pickle.dumps((pool, gate))
    for now in BAD_TIMES:
        with pytest.raises(InvalidTime, match=re.escape(repr(now))):
            CALLS[call][1](gate, "b", now)
        assert pickle.dumps((pool, gate)) == before, now


@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE, LIMITED, Outcome(ok=None)])
def test_a_request_with_a_bad_start_is_refused(outcome: Outcome) -> None:
    gate, pool, _ = busy("CoolDown")
    before = pickle.dumps((pool, gate))
    for started_at in BAD_TIMES:
        with pytest.raises(InvalidTime, match=re.escape(repr(started_at))):
            gate.finished("b", outcome, 0, started_at, 100.0)
        assert pickle.dumps((pool, gate)) == before, started_at


@every_call
def test_an_earlier_time_counts_as_the_latest(name: str, call: str) -> None:
    (gate, pool, events), (other, same, other_events) = busy(name), busy(name)
    result = CALLS[call][1](gate, "b", 100.0)
    assert CALLS[call][1](other, "b", 3.0) == result
    assert pickle.dumps((pool, gate)) == pickle.dumps((same, other))
    assert list(events) == list(other_events)


@every_call
def test_only_readers_leave_the_latest_time(name: str, call: str) -> None:
    gate, _, _ = busy(name)
    CALLS[call][1](gate, "b", 500.0)
    unused = {"factor", "share", "a success ends"}
    assert gate._now == (100.0 if call in unused else 500.0)
    CALLS[call][1](gate, "b", 7.0)
    assert gate._now >= 100.0


def test_the_clock_of_a_limit_does_not_run_backwards() -> None:
    """A limit that was set at 1000 s began and ended at 5 s, because the pool was there."""
    for gate in (ConnectionLimit[str](2), DynamicLimit[str](2, 2, 2)):
        events: deque[Event] = deque(maxlen=9)
        pool = Pool(WeightedRoundRobin(["a"]), [gate], events=events)
        if isinstance(gate, ConnectionLimit):
            gate.set("a", 1, 1000.0)
        else:
            gate.set_waiting(1, 1000.0)
        leases = [pool.acquire(5.0)]
        if isinstance(gate, DynamicLimit):
            leases.append(pool.acquire(5.0))
        for lease in leases:
            pool.release(lease, 6.0)
        recorded = [(one.at, one.began) for one in events if one.reason == "saturated"]
        assert recorded == [(1000.0, True), (1000.0, False)]


@pytest.mark.parametrize("name", GATES)
def test_requests_of_unknown_backends_are_ignored(name: str) -> None:
    gate, pool, events = busy(name)
    before = pickle.dumps((pool, gate))
    for backend in ("absent", "", ("a", 1)):
        for in_flight in (0, 1, 2, 3):
            gate.started(backend, in_flight, 100.0)
            for outcome in (SUCCESS, FAILURE, LIMITED, Outcome(ok=None)):
                gate.finished(backend, outcome, in_flight, 99.0, 100.0)
        gate.recovered(backend, 100.0)
        gate.removed(backend, 100.0)
    assert pickle.dumps((pool, gate)) == before
    assert not events
    pool.remove("a", 101.0)
    gate.finished("a", FAILURE, 0, 99.0, 101.0)
    gate.started("a", 1, 101.0)
    assert gate.due in {inf, -inf} or gate.due > 101.0
    alone = GATES[name]()
    alone.started("a", 1, 1.0)
    alone.finished("a", LIMITED, 0, 1.0, 1.0)
    assert alone.due == inf
