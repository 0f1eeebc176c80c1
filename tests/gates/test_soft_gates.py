"""Soft gates under random calls: what they report as changed, their events, and their clock.

Every call goes to two gates.  The first gets times that are sometimes earlier than its latest time,
and the second gets the latest time instead.  Both must agree always.

All times of calls are multiples of a half second.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

import pytest

from balancers import FAILURE, SUCCESS, Event, Outcome
from balancers._internal.timers import Timers
from balancers.gates import (
    OutlierEjection,
    PassiveChecks,
    Probe,
)
from balancers.outcome import UNKNOWN
from tests.depth import runs
from tests.kinds import GATES

NAMES = "abcd"
STEP = 0.5
OUTCOMES = [
    SUCCESS,
    SUCCESS,
    FAILURE,
    FAILURE,
    FAILURE,
    UNKNOWN,
    Outcome(ok=False, retry_after=1.0),
    Outcome(ok=True, status=200),
    Outcome(ok=False, status=502),
]


KINDS = {kind.name: kind.make for kind in GATES if kind.make().soft and not kind.make().fractional}


def no_requests(_: str) -> int:
    return 0


class Driver:
    """Calls one gate and its twin, and records the true factors."""

    def __init__(self, make: Callable[[], Any], seed: int) -> None:
        self.rng = Random(seed)
        self.gates = [make(), make()]
        self.events: deque[Event] = deque(maxlen=10_000)
        self.gates[0].attach(no_requests, self.events)
        self.now = self.collected_at = 0.0
        self.seen: dict[str, set[tuple[float, bool]]] = {}
        self.current: set[tuple[object, str]] = set()
        self.probes: list[list[Probe[str]]] = []
        self.reported = 0

    def unproven(self, backend: str) -> bool:
        gate = self.gates[0]
        return hasattr(gate, "unproven") and gate.unproven(backend, self.now)

    def sample(self) -> None:
        """Record the factors of now, before or after a call."""
        for backend, values in self.seen.items():
            factor = self.gates[0].factor(backend, self.now)
            if self.gates[0]._now == self.now:
                assert factor == self.gates[0].factor(backend, self.now - 7.0)
            values.add((factor, self.unproven(backend) and factor == 0))

    def call(self, name: str, *arguments: Any, **named: Any) -> list[Any]:
        """Call both gates; the first one with an earlier time at random."""
        self.sample()
        known = self.gates[0]._now == self.now  # then an earlier time counts as now
        earlier = self.now - self.rng.choice([0.0, 0.0, 1.0, 100.0]) if known else self.now
        results = [
            getattr(gate, name)(*arguments, now=when, **named)
            for gate, when in zip(self.gates, (earlier, self.now), strict=True)
        ]
        self.sample()
        self.check_events()
        changed = {b for b, values in self.seen.items() if len(values) > 1}
        if changed and name != "changes" and self.gates[0]._now == self.now:
            assert self.gates[0].due == -inf, "a pool whose time is earlier must see the change"
        return results

    def wait(self) -> None:
        for _ in range(self.rng.choice([0, 1, 1, 2, 3, 9])):
            self.now += STEP
            self.sample()

    def collect(self) -> None:
        gate = self.gates[0]
        self.sample()
        possible = gate.due <= self.now
        before = {b: values for b, values in self.seen.items() if len(values) > 1}
        assert possible or not before, "a factor changed before due"
        first, second = self.call("changes")
        expected = {b for b, values in self.seen.items() if len(values) > 1}
        assert set(first) == expected
        assert list(first) == list(second)
        assert gate.due > self.now
        self.reported += len(expected)
        for backend, values in self.seen.items():
            values.clear()
            values.add((gate.factor(backend, self.now), self.unproven(backend)))

    def member(self) -> str:
        return self.rng.choice([*self.seen])

    def join_or_leave(self) -> None:
        backend = self.rng.choice(NAMES)
        if backend not in self.seen:
            self.call("added", backend)
            self.seen[backend] = set()
            self.sample()
        elif len(self.seen) > 1:
            del self.seen[backend]
            self.call("removed", backend)
            self.current = {key for key in self.current if key[0] != backend}

    def start(self) -> None:
        self.call("started", self.rng.choice(NAMES), 1)

    def finish(self) -> None:
        started_at = self.now - self.rng.choice([0.0, 0.0, 0.5, 1.0, 4.0])
        outcome = self.rng.choice(OUTCOMES)
        self.call("finished", self.rng.choice(NAMES), outcome, 0, started_at=started_at)

    def observe(self) -> None:
        if hasattr(self.gates[0], "observe"):
            ok = self.rng.random() < 0.5
            sent = self.rng.choice([None, self.now, self.now - 2.0])
            immediate = not ok and self.rng.random() < 0.2
            self.call("observe", self.member(), ok, started_at=sent, immediate=immediate)

    def restore(self) -> None:
        if hasattr(self.gates[0], "restore") and self.rng.random() < 0.3:
            self.call("restore", self.member())

    def send_probes(self) -> None:
        if hasattr(self.gates[0], "probes"):
            first, second = self.call("probes")
            assert first == second
            assert all(probe.sent_at == self.now for probe in first)
            assert self.gates[0].probes_due > self.now
            self.probes.extend(first)

    def answer(self) -> None:
        if self.probes:
            probe = self.probes.pop(self.rng.randrange(len(self.probes)))
            first, second = self.call("answer", probe, self.rng.random() < 0.5)
            assert first is second

    def check_events(self) -> None:
        """Each end has a beginning, and no reason begins twice."""
        while self.events:
            event = self.events.popleft()
            assert event.at <= self.now
            key = (event.backend, event.reason)
            assert event.began is (key not in self.current), event
            (self.current.add if event.began else self.current.discard)(key)

    def check_state(self) -> None:
        """The events agree with what the gate shows."""
        gate = self.gates[0]
        kind: Any = gate.__class__
        begun = {backend for backend, reason in self.current if reason == gate.reason}
        closed = {b for b in self.seen if not gate.factor(b, self.now)}
        trials = {backend for backend, reason in self.current if reason == "on trial"}
        if kind is OutlierEjection:
            assert begun == {one.backend for one in gate.ejections()}
            assert closed == (set() if gate._dry_run else begun)
        elif kind is PassiveChecks:
            assert not begun & trials
            assert closed <= begun | trials
            assert begun <= closed or len(self.seen) == 1
        else:
            assert closed == begun


def contents(value: Any) -> Any:
    """Return everything that an object stores, as tuples."""
    kind: Any = value.__class__
    if kind is dict:
        return tuple((key, contents(item)) for key, item in value.items())
    if issubclass(kind, list | tuple | deque):
        return tuple(map(contents, value))
    if kind is Random:
        return value.getstate()
    if kind is Timers:
        return sorted((backend, value.get(backend)) for backend in value._current)
    if kind.__module__.startswith("balancers"):
        names: list[str] = [*getattr(value, "__dict__", ()), *getattr(value, "__slots__", ())]
        return tuple((name, contents(getattr(value, name))) for name in names)
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_changes_events_and_time(kind: str) -> None:
    reported = 0
    for seed in range(runs(300)):
        driver = Driver(KINDS[kind], seed)
        for backend in NAMES[: 1 + seed % 4]:
            driver.call("added", backend)
            driver.seen[backend] = set()
        driver.collect()
        actions = [
            driver.wait,
            driver.start,
            driver.finish,
            driver.finish,
            driver.finish,
            driver.observe,
            driver.restore,
            driver.send_probes,
            driver.answer,
        ]
        for _ in range(120):
            driver.rng.choice(actions)()
            if driver.rng.random() < 0.05:
                driver.join_or_leave()
            if driver.rng.random() < 0.4:
                driver.collect()
                driver.check_state()
        driver.gates[0]._events = driver.gates[0]._in_flight = None
        assert contents(driver.gates[0]) == contents(driver.gates[1])
        reported += driver.reported
    assert reported > 50 or kind == "OutlierEjection-dry-run"
