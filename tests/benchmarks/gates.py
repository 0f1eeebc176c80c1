"""Rows for the gates."""

from collections.abc import Collection, Iterator
from functools import partial
from math import inf
from random import Random
from statistics import median
from time import perf_counter_ns
from typing import Any, cast

from balancers import (
    SUCCESS,
    ConnectionLimit,
    Drain,
    Gate,
    HealthChecks,
    Key,
    LeastConnections,
    NoBackendAvailable,
    Outcome,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.gates import ActiveChecks, CoolDown, OutlierEjection, WarmUp
from balancers.membership import Membership
from tests.benchmarks.floors import attribute
from tests.benchmarks.measure import Effort, Measured, Run, repeated, without_garbage_collection
from tests.benchmarks.row import SIZES, Row

__all__ = ["rows"]

BAD_GATEWAY = Outcome(ok=False, status=502)
TICK = 0.01
"""Seconds between two calls of the schedule, and between two requests."""


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n in SIZES:
        yield Row("Pool of RoundRobin, six final gates", n, "U", 67, partial(_quiet, n))
    yield Row("OutlierEjection, a success", 10_000, "U", 10, partial(_outcomes, SUCCESS))
    yield Row("OutlierEjection, a failure", 10_000, "U", 32, partial(_outcomes, BAD_GATEWAY))
    yield Row("ActiveChecks, a probe and its answer", 10_000, "U", 100, _probes)
    yield Row("SlowStart of 1000, the worst but the first", 1000, "U", 1000, _ramps, _worst)
    yield Row("a refusal when all are saturated", 10_000, "U", 60, _refusals)
    for name, kind, reach in (
        ("Told", NoCostBalancer, 6),  # row names are stable, so that results can be compared
        ("RoundRobin", RoundRobin, inf),
        ("LeastConnections", LeastConnections, inf),
    ):
        yield Row(
            f"panic crossing over {name}, each moved", 10_000, "U", reach,
            partial(_panic, kind), _crossing,
        )  # fmt: skip


class NoCostBalancer(Membership[Any]):
    """A balancer whose ``put`` costs almost nothing, to measure the cost of the pool itself."""

    def put(self, backend: Any, weight: float = 1) -> None:
        """Store the weight."""
        self._weights[backend] = weight

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        """Return the last backend."""
        return 9_999


def _probes() -> tuple[Run, Run]:
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(1))
    pool = Pool(RoundRobin(range(10_000)), [checks])
    now = 0.0

    def run(times: int) -> None:
        nonlocal now
        sent = 0
        while sent < times:
            now += TICK
            for probe in checks.probes(now):
                checks.answer(probe, True, now)
                sent += 1

    run(30_000)
    assert now > TICK * 1000, "each backend once per interval, and not more often"
    assert all(pool.admits(backend) for backend in (0, 9_999))
    return run, attribute()


def _quiet(n: int) -> tuple[Run, Run]:
    gates: list[Gate[int]] = [
        ActiveChecks(rng=Random(1)),
        OutlierEjection(),
        CoolDown(rng=Random(1)),
        Drain(),
        ConnectionLimit(1000),
        WarmUp(30.0),
    ]
    pool = Pool(RoundRobin(range(n)), gates)
    acquire, release = pool.acquire, pool.release

    def request() -> int:
        lease = acquire(1.0)
        release(lease, 1.0)
        return lease.backend

    assert [request() for _ in range(2 * n)] == [*range(n), *range(n)]
    return repeated(request), attribute()


def _outcomes(outcome: Outcome) -> tuple[Run, Run]:
    """Report one outcome to a gate whose counters are all in use, and that ejects no backend."""
    most = 10**9
    outliers: OutlierEjection[int] = OutlierEjection(
        most, consecutive_gateway_failures=most, consecutive_local_failures=most
    )
    Pool(RoundRobin(range(10_000)), [outliers])
    finished = outliers.finished

    def report() -> None:
        finished(5000, outcome, 0, 1.0, 1.0)

    report()
    assert not outliers.ejections()
    return repeated(report), attribute()


def _refusals() -> tuple[Run, Run]:
    pool = Pool(RoundRobin(range(10_000)), [ConnectionLimit(1)])
    for _ in range(10_000):
        pool.acquire(1.0)
    acquire = pool.acquire

    def refused() -> str:
        try:
            acquire(1.0)
        except NoBackendAvailable as refusal:
            return refusal.reason
        return ""

    assert refused() == "saturated"
    return repeated(refused), attribute()


def _ramps() -> tuple[Run, Run]:
    """Time each of the requests after a thousand backends joined, a hundred per second."""
    pool = Pool(WeightedRoundRobin(range(-10, 0)), [SlowStart[int](30.0)])
    acquire, release = pool.acquire, pool.release
    joined_at = 0.0

    def run(requests: int) -> list[int]:
        nonlocal joined_at
        joined_at += 100.0
        pool.update(range(-10, 0), now=joined_at)
        pool.update(range(-10, 1000), now=joined_at)
        took: list[int] = []
        for number in range(requests):
            now = joined_at + (number + 0.5) * TICK
            started = perf_counter_ns()
            lease = acquire(now)
            took.append(perf_counter_ns() - started)
            release(lease, now)
        assert requests < 3001 or pool.due == inf
        return took

    return run, attribute()


def _worst(ours: Run, other: Run, effort: Effort) -> Measured:
    """Return the greatest of the requests, each the least of its rounds, without the first one.

    The first request pays for the change of membership before it.
    """
    rounds: list[list[int]] = []
    units: list[float] = []
    for _ in range(effort.rounds):
        with without_garbage_collection():
            units.append(_timed(other))
            took = ours(3001)
        rounds.append(cast("list[int]", took))
    worst = max(min(column) for column in list(zip(*rounds, strict=True))[1:])
    unit = min(units)
    return Measured(worst, unit, worst / unit)


def _panic(kind: type[Any]) -> tuple[Run, Run]:
    """Cross the limit of panic with each request, by one backend that fails and recovers."""
    health: HealthChecks[int] = HealthChecks(1, 1)
    pool = Pool(kind(range(10_000)), [health], panic=0.5, calm=0.5)
    for backend in range(5000):
        health.observe(backend, False, 1.0)
    pool.release(pool.acquire(1.0), 1.0)
    assert not pool.panicking

    def run(times: int) -> int:
        took = 0
        for number in range(times):
            health.observe(9_999, bool(number % 2), 1.0)
            started = perf_counter_ns()
            lease = pool.acquire(1.0)
            took += perf_counter_ns() - started
            assert lease.panic is (number % 2 == 0)
            pool.release(lease, 1.0)
        return took

    return run, attribute()


def _crossing(ours: Run, other: Run, effort: Effort) -> Measured:
    pairs: list[tuple[float, float]] = []
    for _ in range(max(3, effort.rounds // 8)):
        with without_garbage_collection():
            unit = _timed(other)
            took = ours(10)
        assert isinstance(took, int)
        pairs.append((took / 10 / 5000, unit))
    ratio = median(mine / unit for mine, unit in pairs)
    return Measured(median(mine for mine, _ in pairs), median(unit for _, unit in pairs), ratio)


def _timed(run: Run, times: int = 20_000) -> float:
    started = perf_counter_ns()
    run(times)
    return (perf_counter_ns() - started) / times
