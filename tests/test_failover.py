"""A failover drill on virtual time: one backend dies under load, is noticed, and comes back.

The loop is a heap of instants; the model backends keep books of their own, so what clients saw is
counted on both sides.  No clock is read: a drill of a minute takes milliseconds.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from math import inf, sqrt
from random import Random
from statistics import fmean
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import (
    Balancer,
    Event,
    HashRing,
    HealthChecks,
    IPHash,
    Lease,
    LeastConnections,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.gates import ActiveChecks, Consecutive, PassiveChecks, WarmUp
from tests.depth import runs

SERVICE = (0.5, 1.5)
"""Seconds a request takes, uniformly."""
PATIENCE = 4.0
"""Seconds after which a client gives up."""
LATENCY = 0.01
"""Seconds a probe takes."""
NEVER = 10**9

MAKE: dict[str, Callable[[], Balancer[int]]] = {
    "RoundRobin": RoundRobin[int],
    "WeightedRoundRobin": WeightedRoundRobin[int],
    "RandomChoice": lambda: RandomChoice(rng=Random(1)),
    "LeastConnections": LeastConnections[int],
    "WeightedLeastConnections": WeightedLeastConnections[int],
    "PowerOfTwoChoices": lambda: PowerOfTwoChoices(rng=Random(1)),
    "IPHash": IPHash[int],
    "HashRing": HashRing[int],
}
UNWEIGHTED = {"RoundRobin", "LeastConnections", "IPHash"}
"""To these any positive weight is the same."""


@dataclass(frozen=True)
class Settings:
    """Of :class:`ActiveChecks`, and what follows from them."""

    interval: float = 5.0
    timeout: float = 3.0
    fast: float = 1.0
    slow: float = 30.0
    unhealthy: int = 3
    healthy: int = 2
    jitter: float = 0.1

    def checks(self, seed: int, **other: Any) -> ActiveChecks[int]:
        """Make the gate; requests demote nobody, so that what is noticed was noticed by probes."""
        return ActiveChecks(
            NEVER,
            rng=Random(seed),
            interval=self.interval,
            timeout=self.timeout,
            fast_interval=self.fast,
            slow_interval=self.slow,
            jitter=self.jitter,
            rule=Consecutive(self.unhealthy, self.healthy),
            **other,
        )

    def noticed_within(self, silent: bool) -> float:
        """Seconds from a death to when it is noticed, at most.

        The last probe that succeeds is sent before the death.  The next one is sent at most a
        jittered interval after it, and fails; the state is changing then, so each further one is
        sent a jittered fast interval after the one before, but not before that one ended, as at
        most one is in flight.  A refusal ends a probe at once, silence at its timeout.
        """
        most = 1 + self.jitter
        ends = self.timeout if silent else 0.0
        return (
            self.interval * most + (self.unhealthy - 1) * max(ends, self.fast * most) + ends + 1e-6
        )

    def not_noticed_before(self, silent: bool) -> float:
        """Seconds it takes at least: the first that fails may have been sent just before."""
        ends = self.timeout if silent else 0.0
        gaps = (self.unhealthy - 1) * max(ends, self.fast * (1 - self.jitter))
        return gaps + ends - LATENCY - 1e-6

    def trusted_within(self) -> float:
        """Seconds from a revival to when it is trusted, at most.

        The last probe that fails is sent before the revival; the next a jittered interval after it,
        a slow one where it is long down, and each further one a jittered fast interval later.
        """
        most = 1 + self.jitter
        return self.slow * most + (self.healthy - 1) * max(LATENCY, self.fast * most) + LATENCY


SETTINGS = {
    "default": Settings(),
    "quick": Settings(1.0, 0.8, 0.2, 4.0, unhealthy=2, healthy=1, jitter=0.3),
    "thorough": Settings(2.0, 0.3, 1.0, 8.0, unhealthy=4, healthy=3, jitter=0.0),
    "at once": Settings(8.0, 7.0, 8.0, 8.0, unhealthy=1, healthy=1, jitter=0.5),
}


class Server:
    """A model backend.  ``state`` is up; closed: it refuses; or silent: it says nothing."""

    def __init__(self) -> None:
        self.state = "up"
        self.working: dict[Lease[int], None] = {}
        self.served = 0
        self.cut_off = 0  # under way when it died
        self.lost: list[float] = []  # when requests came that it did not serve


class Drill:
    """Load on a pool, the servers behind it, and the probes of ``checks`` if given."""

    def __init__(
        self,
        pool: Pool[int],
        rate: float = 0.0,
        seed: int = 1,
        checks: ActiveChecks[int] | None = None,
    ) -> None:
        self.pool, self.checks = pool, checks
        self.servers = {backend: Server() for backend in pool.backends}
        self.now = 0.0
        self.picks: list[tuple[bytes, int]] = []
        self.errors: Counter[int] = Counter()  # as clients saw them
        self.succeeded = 0
        self.after: Callable[[], None] = lambda: None
        self._rate, self._rng = rate, Random(seed)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        if rate:
            self._at(self._rng.expovariate(rate), self._arrive)

    def run(self, until: float) -> None:
        """Let time pass, instant by instant."""
        while True:
            probe_at = inf if self.checks is None else self.checks.probes_due
            next_at = self._heap[0][0] if self._heap else inf
            if min(probe_at, next_at) > until:
                self.now = max(self.now, until)
                return
            if probe_at <= next_at:
                self.now = max(self.now, probe_at)
                self._probe()
            else:
                self.now, _, event = heappop(self._heap)
                event()
            self.after()

    def dies(self, backend: int, how: str) -> None:
        """``closed``: those under way are served; ``killed``: they fail; ``silent``: they hang."""
        server = self.servers[backend]
        server.state = "closed" if how == "killed" else how
        if how == "closed":
            return
        server.cut_off = len(server.working)
        for lease in server.working:
            ends = self.now if how == "killed" else lease.acquired_at + PATIENCE
            self._at(ends, partial(self._fail, lease))
        server.working.clear()

    def revives(self, backend: int) -> None:
        self.servers[backend].state = "up"

    def _at(self, when: float, event: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._heap, (when, self._number, event))

    def _arrive(self) -> None:
        self._at(self.now + self._rng.expovariate(self._rate), self._arrive)
        key = self._rng.randbytes(4)
        lease = self.pool.acquire(self.now, key)
        self.picks.append((key, lease.backend))
        server = self.servers[lease.backend]
        if server.state == "up":
            server.working[lease] = None
            self._at(self.now + self._rng.uniform(*SERVICE), partial(self._serve, lease))
            return
        server.lost.append(self.now)
        if server.state == "closed":
            self._fail(lease)
        else:
            self._at(self.now + PATIENCE, partial(self._fail, lease))

    def _serve(self, lease: Lease[int]) -> None:
        server = self.servers[lease.backend]
        if lease in server.working:
            del server.working[lease]
            server.served += 1
            self.succeeded += 1
            self.pool.release(lease, self.now, ok=True)

    def _fail(self, lease: Lease[int]) -> None:
        self.errors[lease.backend] += 1
        self.pool.release(lease, self.now, ok=False)

    def _probe(self) -> None:
        assert self.checks is not None
        for probe in self.checks.probes(self.now):
            state = self.servers[probe.backend].state
            if state == "up":
                self._at(self.now + LATENCY, partial(self._answer, probe))
            elif state == "closed":
                self.checks.answer(probe, ok=False, now=self.now)

    def _answer(self, probe: Any) -> None:
        if self.checks is not None and self.servers[probe.backend].state != "silent":
            self.checks.answer(probe, ok=True, now=self.now)


class Turn(NamedTuple):
    """The pool closed a backend to new requests, or opened it."""

    at: float
    in_flight: int


def watch(drill: Drill, backend: int) -> list[Turn]:
    """Note each turn of a backend: closed, open, closed, …"""
    turned: list[Turn] = []

    def look() -> None:
        if drill.pool.admits(backend) is bool(len(turned) % 2):
            turned.append(Turn(drill.now, drill.pool.in_flight(backend)))

    drill.after = look
    return turned


DEATHS = pytest.mark.parametrize("how", ["closed", "silent"])
ALL = pytest.mark.parametrize("name", MAKE)


@settings(max_examples=runs(400))
@given(
    interval=st.floats(0.5, 60.0),
    timeout=st.floats(0.02, 0.999),
    fast=st.floats(0.01, 1.0),
    unhealthy=st.integers(1, 6),
    healthy=st.integers(1, 4),
    jitter=st.floats(0.0, 0.9),
    silent=st.booleans(),
    phase=st.floats(0.0, 4.0),
    seed=st.integers(0, 10**6),
    n=st.sampled_from([2, 5, 20]),
)
def test_a_death_is_noticed_and_a_revival_trusted_within_the_bounds(
    interval: float,
    timeout: float,
    fast: float,
    unhealthy: int,
    healthy: int,
    jitter: float,
    silent: bool,
    phase: float,
    seed: int,
    n: int,
) -> None:
    """Whatever the settings, at whatever moment: the bounds that ``Settings`` derives."""
    told = Settings(
        interval, max(timeout * interval, 2 * LATENCY), fast * interval, 3 * interval,
        unhealthy, healthy, jitter,
    )  # fmt: skip
    checks = told.checks(seed, slow_after=interval)
    drill = Drill(Pool(RoundRobin(range(n)), [checks]), checks=checks)
    turned = watch(drill, 0)
    died = phase * interval
    drill.run(died)
    drill.dies(0, "silent" if silent else "closed")
    drill.run(died + told.noticed_within(silent))
    assert len(turned) == 1
    assert turned[0].at - died >= told.not_noticed_before(silent)
    drill.run(turned[0].at + phase * interval)
    drill.revives(0)
    drill.run(drill.now + told.trusted_within())
    assert len(turned) == 2
    assert all(drill.pool.admits(backend) for backend in range(n))


@DEATHS
@pytest.mark.parametrize("told", SETTINGS.values(), ids=SETTINGS)
def test_the_bound_is_nearly_attained(told: Settings, how: str) -> None:
    """Dead just after a probe succeeded, 300 jitters: the worst takes 93 % of the bound or more."""
    taken: list[float] = []
    for seed in range(300):
        checks = told.checks(seed)
        drill = Drill(Pool(RoundRobin(range(1)), [checks]), checks=checks)
        turned = watch(drill, 0)
        drill.run(checks.probes_due + LATENCY)
        drill.dies(0, how)
        died = drill.now
        drill.run(died + told.noticed_within(silent=how == "silent"))
        taken += [turned[0].at - died]
    assert max(taken) >= 0.93 * told.noticed_within(silent=how == "silent")


def weights_for(name: str, n: int) -> dict[int, int]:
    return {backend: 1 if name in UNWEIGHTED else 1 + backend % 3 for backend in range(n)}


def drill_with(
    name: str, n: int, gates: list[Any], seed: int, per_weight: float = 6.0
) -> tuple[Drill, dict[int, int]]:
    """Load of some ``per_weight`` requests in flight a unit of weight; the seed sets the phase."""
    weights = weights_for(name, n)
    pool = Pool(MAKE[name](), gates, events=deque[Event](maxlen=1000))
    pool.update(weights)
    checks: ActiveChecks[int] | None = None
    for gate in gates:
        if isinstance(gate, ActiveChecks):
            checks = cast("ActiveChecks[int]", gate)
    return Drill(pool, per_weight * sum(weights.values()), seed, checks), weights


def check_shares(name: str, weights: dict[int, int], picks: list[tuple[bytes, int]]) -> None:
    """Hold the shares of who is left against what the algorithm promises.

    In turn: the counts differ by one at most.  By turns of weight: by two from the share.  By
    chance: 4.5 standard deviations.  By load: a tenth, and three deviations of the requests, whose
    durations vary.  A ring: every key is where a ring of who is left puts it.
    """
    counts = Counter(backend for _, backend in picks)
    assert set(counts) <= set(weights)
    total = sum(weights.values())
    if name == "HashRing":
        ring = HashRing(weights)
        assert all(ring.pick(key) == backend for key, backend in picks)
        return
    for backend, weight in weights.items():
        share = weight / total
        expected = len(picks) * share
        deviation = sqrt(expected * (1 - share))
        room = {
            "RoundRobin": 1.0,
            "WeightedRoundRobin": 2.0,
            "RandomChoice": 4.5 * deviation,
            "IPHash": 4.5 * deviation,
        }.get(name, 0.1 * expected + 3 * deviation)
        assert abs(counts[backend] - expected) <= room, (backend, counts[backend], expected)


@DEATHS
@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("told", SETTINGS.values(), ids=SETTINGS)
@ALL
def test_one_dies_under_load(name: str, told: Settings, n: int, how: str) -> None:
    """Noticed in time; the errors are the requests it was sent until then; the rest is fair.

    A server that went silent also lost what was under way.
    """
    checks = told.checks(seed=n)
    drill, weights = drill_with(name, n, [checks], seed=n)
    dead = n // 2
    turned = watch(drill, dead)
    drill.run(7.0)
    before = Counter(backend for _, backend in drill.picks)
    assert set(before) == set(weights)
    drill.dies(dead, how)
    drill.run(7.0 + told.noticed_within(how == "silent"))
    assert len(turned) == 1
    server = drill.servers[dead]
    assert all(7.0 <= when <= turned[0].at for when in server.lost)
    noticed, drill.picks = drill.now, []
    drill.run(noticed + 10.0)
    assert drill.errors == {dead: len(server.lost) + server.cut_off}
    assert (server.cut_off > 0) == (how == "silent")
    assert len(server.lost) + server.cut_off > 0
    assert drill.succeeded == sum(one.served for one in drill.servers.values())
    left = {backend: weight for backend, weight in weights.items() if backend != dead}
    check_shares(name, left, drill.picks)
    if name == "IPHash":
        owner = MAKE[name]()
        for backend in weights:
            owner.put(backend)
        kept = [(owner.pick(key), backend) for key, backend in drill.picks]
        assert all(backend in {own, dead} or own == dead for own, backend in kept)
    events = [event for event in drill.pool._books._events or () if event.reason == "unhealthy"]
    assert [(event.at, event.backend, event.began) for event in events] == [
        (turned[0].at, dead, True)
    ]


@pytest.mark.parametrize("how", ["killed", "silent"])
@pytest.mark.parametrize("threshold", [1, 4])
@pytest.mark.parametrize("n", [2, 5, 20])
@ALL
def test_requests_notice_a_death_too(name: str, n: int, threshold: int, how: str) -> None:
    """Marked by the failure that reaches the threshold: the errors are those and what flies then.

    Afterwards PassiveChecks risks one request on trial a pause, and HealthChecks nothing before
    its recovery time.
    """
    pause = 12.0
    for gate in (PassiveChecks[int](threshold, pause), HealthChecks[int](threshold, 2, pause)):
        drill, weights = drill_with(name, n, [gate], seed=n)
        dead = n - 1
        turned = watch(drill, dead)
        drill.run(5.0)
        drill.dies(dead, how)
        drill.run(5.0 + PATIENCE + 3.0)
        server = drill.servers[dead]
        assert len(turned) == 1
        if how == "silent":
            assert turned[0].at <= 5.0 + PATIENCE + 1.0  # the last one of before gives up
        drill.picks = []
        drill.run(turned[0].at + pause - 0.1)
        assert drill.errors[dead] == len(server.lost) + server.cut_off
        assert drill.errors == {dead: threshold + turned[0].in_flight}
        check_shares(name, {b: w for b, w in weights.items() if b != dead}, drill.picks)
        if isinstance(gate, PassiveChecks):
            lost = len(server.lost)
            drill.run(turned[0].at + 3.5 * pause)
            assert 1 <= len(server.lost) - lost <= 3


WINDOW = 30.0


def recovery(name: str, ramp: Any, n: int = 10, per_weight: float = 20.0) -> tuple[Drill, float]:
    """Run one that dies, revives, and is trusted again at the instant given."""
    checks = Settings().checks(seed=3)
    drill, _ = drill_with(name, n, [checks, *([] if ramp is None else [ramp])], 3, per_weight)
    turned = watch(drill, 0)
    drill.run(10.0)
    drill.dies(0, "closed")
    drill.run(30.0)
    assert len(turned) == 1
    drill.revives(0)
    while len(turned) == 1:
        drill.run(drill.now + 0.01)
    drill.picks = []
    return drill, turned[1].at


def loads(drill: Drill, name: str, fractional: bool) -> list[float]:
    """What each of the others has under way by the servers' books; for its weight if fractional."""
    weights = weights_for(name, len(drill.servers))
    return [
        len(server.working) / (weights[backend] if fractional else 1)
        for backend, server in drill.servers.items()
        if backend
    ]


@ALL
def test_a_recovery_is_no_stampede(name: str) -> None:
    """While it climbs, it holds no more than its share of what the others hold, and a request.

    Of their mean for a WarmUp, of the least for weighted least connections, of the most for two
    choices, which compare it with one of them.  Turns and draws do not look at loads: for these the
    requests that come in the seconds that one takes are bounded, by 4.5 deviations for draws and a
    tenth and two for turns.  At the end it holds a fair share.
    """
    fractional = MAKE[name]().fractional
    ramp: Any = SlowStart[int](WINDOW) if fractional else WarmUp[int](WINDOW)
    drill, opened = recovery(name, ramp)
    look: Callable[[list[float]], float]
    look = {"WeightedLeastConnections": min, "PowerOfTwoChoices": max}.get(name, fmean)
    mine, before = drill.servers[0], loads(drill, name, fractional)
    held = 0

    def bounded() -> None:
        nonlocal before, held
        if len(mine.working) > held:
            share = min(1.0, max(0.1, (drill.now - opened) / WINDOW))
            most = share * look(before)
            if name == "RandomChoice":
                most += 4.5 * sqrt(most)
            elif name == "WeightedRoundRobin":
                most += 0.1 * most + 1
            assert len(mine.working) < most + 1 + 1e-9 or len(mine.working) == 1
        before, held = loads(drill, name, fractional), len(mine.working)

    drill.after = bounded
    drill.run(opened + WINDOW)
    climbing = [backend for _, backend in drill.picks]
    drill.after = lambda: None
    drill.picks = []
    drill.run(opened + WINDOW + 20.0)
    assert 0.3 <= climbing.count(0) / len(climbing) * drill_weight(name) <= 0.75
    served = Counter(backend for _, backend in drill.picks)
    fair = len(drill.picks) / drill_weight(name)
    assert 0.7 * fair <= served[0] <= 1.3 * fair


def drill_weight(name: str) -> int:
    return sum(weights_for(name, 10).values())


@pytest.mark.parametrize("name", ["LeastConnections", "WeightedLeastConnections"])
def test_without_a_ramp_it_is(name: str) -> None:
    """Twenty in flight on each: fifteen of the next twenty or more, against three with a ramp."""
    served: list[int] = []
    for ramped in (False, True):
        fractional = MAKE[name]().fractional
        made: Any = SlowStart[int](WINDOW) if fractional else WarmUp[int](WINDOW)
        drill, _ = recovery(name, made if ramped else None)
        drill.run(drill.now + 1.0)
        served.append([backend for _, backend in drill.picks[:20]].count(0))
    assert served[0] >= 15
    assert served[1] <= 3
