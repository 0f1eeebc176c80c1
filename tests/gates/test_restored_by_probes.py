"""A probe that passes ends an ejection, if the health gate has ``restores``."""

import copy
import pickle
from collections import deque
from collections.abc import Callable
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers import Event, HealthChecks, Outcome, Pool, RoundRobin, SlowStart, WeightedRoundRobin
from balancers.errors import InvalidTime
from balancers.gates import ActiveChecks, OutlierEjection
from balancers.outcome import count_capacity_as_unknown

Pair = tuple[HealthChecks[str], OutlierEjection[str], Pool[str]]


def probes_only(_: Outcome) -> None:
    """As in Envoy, the health checks do not count requests."""


def linked(events: deque[Event] | None = None, reverse: bool = False, **checks: Any) -> Pair:
    outliers: OutlierEjection[str] = OutlierEjection(2, (), max_ejected_share=1.0)
    checks.setdefault("verdict", probes_only)
    health: HealthChecks[str] = HealthChecks(restores=outliers, **checks)
    gates: list[Any] = [health, outliers]
    pool = Pool(RoundRobin(["a", "b", "c"]), gates[::-1] if reverse else gates, events=events)
    return health, outliers, pool


def fail(pool: Pool[str], now: float, times: int = 2) -> None:
    for _ in range(times):
        pool.release(pool.acquire(now, prefer="a", strict=True), now, ok=False)


def served(pool: Pool[str], now: float) -> set[str]:
    return {pool.acquire(now).backend for _ in range(6)}


@pytest.mark.parametrize("reverse", [True, False])
def test_a_probe_that_passes_ends_an_ejection(reverse: bool) -> None:
    health, outliers, pool = linked(reverse=reverse)
    fail(pool, 1.0)
    assert served(pool, 2.0) == {"b", "c"}
    health.observe("a", ok=True, now=3.0)
    assert pool.due == outliers.due == -inf
    assert outliers.ejections() == []
    assert outliers.factor("a", 3.0) == 1
    assert served(pool, 3.0) == {"a", "b", "c"}
    fail(pool, 4.0, times=1)  # the row of failures begins again
    assert pool.admits("a")
    fail(pool, 4.0, times=1)
    [ejection] = outliers.ejections()
    assert (ejection.at, ejection.until) == (4.0, 64.0)  # the second one is longer


def test_without_the_setting_a_probe_ends_nothing() -> None:
    outliers: OutlierEjection[str] = OutlierEjection(2, (), max_ejected_share=1.0)
    health: HealthChecks[str] = HealthChecks()
    pool = Pool(RoundRobin(["a", "b"]), [health, outliers])
    fail(pool, 1.0)
    for now in (2.0, 3.0, 4.0):
        health.observe("a", ok=True, now=now)
    assert served(pool, 5.0) == {"b"}
    outliers.probe_passed("a", 6.0)  # what a prober of your own calls
    assert served(pool, 6.0) == {"a", "b"}


def test_a_probe_that_fails_ends_nothing() -> None:
    health, _, pool = linked()
    fail(pool, 1.0)
    health.observe("a", ok=False, now=2.0)
    assert pool.state("a") == ("ejected",)


def test_a_backend_that_stays_unhealthy_stays_ejected() -> None:
    """One success of two that are needed is not enough.  The second ends both reasons."""
    health, _, pool = linked(unhealthy_threshold=1, healthy_threshold=2)
    pool.acquire(0.0)
    leases = [pool.acquire(0.0, prefer="a") for _ in range(2)]
    health.observe("a", ok=False, now=0.5)
    for lease in leases:
        pool.release(lease, 1.0, ok=False)
    assert pool.state("a") == ("unhealthy", "ejected")
    health.observe("a", ok=True, now=2.0)
    assert pool.state("a") == ("unhealthy", "ejected")
    health.observe("a", ok=True, now=3.0)
    assert pool.state("a") == ()


def test_a_backend_that_its_requests_made_unhealthy_is_restored_when_it_is_healthy() -> None:
    for promotion, state in (("probes", ()), ("time", ("unhealthy", "ejected"))):
        health, _, pool = linked(
            unhealthy_threshold=2,
            healthy_threshold=1,
            promotion=promotion,
            verdict=count_capacity_as_unknown,
        )
        fail(pool, 1.0)
        assert pool.state("a") == ("unhealthy", "ejected")
        health.observe("a", ok=True, now=2.0)  # with "time", probes are ignored for a while
        assert pool.state("a") == state


def test_the_first_probe_of_a_backend_whose_state_is_unknown() -> None:
    health, _, pool = linked(initial="unknown")
    fail(pool, 1.0)
    health.observe("a", ok=True, now=2.0)
    assert pool.state("a") == ()


def test_a_probe_that_started_before_the_ejection_ends_nothing() -> None:
    health, outliers, pool = linked()
    fail(pool, 5.0)
    health.observe("a", ok=True, now=6.0, started_at=4.9)
    assert [one.backend for one in outliers.ejections()] == ["a"]
    health.observe("a", ok=True, now=6.0, started_at=5.0)
    assert outliers.ejections() == []


def test_time_does_not_run_backwards() -> None:
    health, outliers, pool = linked()
    fail(pool, 5.0)
    health.observe("a", ok=True, now=1.0)
    assert outliers.ejections() == []
    assert pool.state("a") == ()
    fail(pool, 1.0)
    assert outliers.ejections()[0].at == 5.0


def test_a_probe_after_the_end_of_the_ejection_changes_nothing_more() -> None:
    health, outliers, pool = linked()
    fail(pool, 1.0)
    health.observe("a", ok=True, now=100.0)
    assert pool.state("a") == ()
    fail(pool, 100.0, times=1)
    assert outliers.ejections() == []
    health.observe("a", ok=True, now=101.0)  # it is not ejected: the row goes on
    fail(pool, 102.0, times=1)
    assert len(outliers.ejections()) == 1


@pytest.mark.parametrize("reverse", [True, False])
def test_answers_of_active_checks_end_ejections(reverse: bool) -> None:
    outliers: OutlierEjection[str] = OutlierEjection(1, (), max_ejected_share=1.0)
    checks: ActiveChecks[str] = ActiveChecks(rng=Random(1), restores=outliers)
    gates: list[Any] = [outliers, checks] if reverse else [checks, outliers]
    pool = Pool(RoundRobin(["a", "b", "c"]), gates)
    early = {probe.backend: probe for probe in checks.probes(5.0)}
    fail(pool, 6.0, times=1)
    checks.answer(early["a"], ok=True, now=6.5)
    assert pool.state("a") == ("ejected",)  # it was sent before the ejection
    now = checks.probes_due
    while "a" not in (sent := {probe.backend: probe for probe in checks.probes(now)}):
        now = checks.probes_due
    assert checks.answer(sent["b"], ok=True, now=now) if "b" in sent else True
    assert pool.state("a") == ("ejected",)  # a probe of another backend
    assert checks.answer(sent["a"], ok=True, now=now)
    assert pool.state("a") == ()
    fail(pool, now + 1.0, times=1)
    assert not checks.answer(sent["a"], ok=True, now=now + 2.0)  # it was counted before
    assert pool.state("a") == ("ejected",)


def test_a_late_answer_ends_nothing() -> None:
    outliers: OutlierEjection[str] = OutlierEjection(1, (), max_ejected_share=1.0)
    checks: ActiveChecks[str] = ActiveChecks(rng=Random(1), restores=outliers)
    pool = Pool(RoundRobin(["a", "b"]), [checks, outliers])
    fail(pool, 1.0, times=1)
    [sent] = [probe for probe in checks.probes(6.0) if probe.backend == "a"]
    assert not checks.answer(sent, ok=True, now=sent.deadline)
    assert pool.state("a") == ("ejected",)


def test_a_restored_backend_ramps_up() -> None:
    outliers: OutlierEjection[str] = OutlierEjection(1, (), max_ejected_share=1.0)
    health: HealthChecks[str] = HealthChecks(restores=outliers)
    ramp: SlowStart[str] = SlowStart(10.0)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [ramp, health, outliers])
    fail(pool, 100.0, times=1)
    health.observe("a", ok=True, now=100.0)  # no request was made in between
    pool.acquire(100.0)
    assert pool.effective_weight("a") == 0.1


def test_events_and_dry_runs() -> None:
    events: deque[Event] = deque(maxlen=100)
    outliers: OutlierEjection[str] = OutlierEjection(1, (), max_ejected_share=1.0, dry_run=True)
    health: HealthChecks[str] = HealthChecks(restores=outliers)
    pool = Pool(RoundRobin(["a", "b"]), [outliers, health], events=events)
    events.clear()
    fail(pool, 1.0, times=1)
    health.observe("a", ok=True, now=2.0)
    health.observe("a", ok=True, now=3.0)
    assert [(event.at, event.reason, event.began) for event in events] == [
        (1.0, "ejected", True),
        (2.0, "ejected", False),
    ]
    assert outliers.ejections() == []


COPIES: list[Callable[[Any], Any]] = [
    copy.deepcopy,
    lambda pool: pickle.loads(pickle.dumps(pool)),  # noqa: S301 - its own pickle
]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("reverse", [True, False])
def test_the_link_of_a_copy_is_inside_the_copy(copied: Callable[[Any], Any], reverse: bool) -> None:
    health, outliers, pool = linked(reverse=reverse)
    fail(pool, 1.0)
    other: Any = copied(pool)
    gates: dict[type, Any] = {type(gate): gate for gate in other._gates}
    gates[HealthChecks].observe("a", ok=True, now=2.0)
    assert gates[OutlierEjection].ejections() == []
    assert other.state("a") == ()
    assert pool.state("a") == ("ejected",)
    other.acquire(2.0)
    fail(other, 3.0)
    health.observe("a", ok=True, now=4.0)
    assert outliers.ejections() == []
    assert other.state("a") == ("ejected",)


def test_a_gate_of_another_pool_or_of_none() -> None:
    """Backends that are not members there are ignored."""
    outliers: OutlierEjection[str] = OutlierEjection(1, (), max_ejected_share=1.0)
    health: HealthChecks[str] = HealthChecks(restores=outliers)
    first = Pool(RoundRobin(["a", "b"]), [health])
    health.observe("a", ok=True, now=1.0)
    second = Pool(RoundRobin(["a", "c"]), [outliers])
    fail(second, 2.0, times=1)
    health.observe("b", ok=True, now=3.0)
    assert second.state("a") == ("ejected",)
    health.observe("a", ok=True, now=3.0)
    assert second.state("a") == ()
    second.remove("a", 4.0)
    health.observe("a", ok=True, now=5.0)
    assert first.state("a") == ()


def test_a_backend_that_left_and_joined_again() -> None:
    health, outliers, pool = linked()
    fail(pool, 1.0)
    pool.remove("a", 2.0)
    pool.add("a", 1, 3.0)
    health.observe("a", ok=True, now=4.0)
    assert outliers.ejections() == []
    assert pool.state("a") == ()


@pytest.mark.parametrize("now", [nan, inf, -inf, "3", None, True])
def test_times_that_are_none(now: Any) -> None:
    health, outliers, pool = linked()
    fail(pool, 1.0)
    before = pickle.dumps(pool)
    with pytest.raises(InvalidTime):
        health.observe("a", ok=True, now=now)
    with pytest.raises(InvalidTime):
        outliers.probe_passed("a", now)
    with pytest.raises(InvalidTime):
        outliers.probe_passed("a", 2.0, started_at=nan if now is None else now)
    assert pickle.dumps(pool) == before
    outliers.probe_passed("absent", 2.0)
    assert pickle.dumps(pool) == before


@pytest.mark.parametrize("gate", [HealthChecks[str](), OutlierEjection, "outliers", True, []])
def test_restores_is_an_outlier_ejection(gate: Any) -> None:
    with pytest.raises(TypeError, match="restores must be an OutlierEjection, not"):
        HealthChecks[str](restores=gate)
    with pytest.raises(TypeError, match="restores must be an OutlierEjection, not"):
        ActiveChecks[str](rng=Random(1), restores=gate)


def test_the_repr_shows_it() -> None:
    health, _, _ = linked()
    assert "promotion either, restores ejected members, 0 of 3 unhealthy" in repr(health)
