"""The metrics of the Prometheus recipe are those of the pool, however often they are read."""

import sys
from collections import Counter, deque
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

import pytest

client: Any = pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families

from balancers import (
    ConnectionLimit,
    Drain,
    Event,
    HealthChecks,
    Lease,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from tests.depth import runs


def recipe() -> Any:
    path = Path(__file__).parents[2] / "docs" / "recipes" / "prometheus.py"
    spec = spec_from_file_location("prometheus_recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["prometheus_recipe"] = module
    spec.loader.exec_module(module)
    return module


RECIPE = recipe()
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(collector: Any, auto_describe: bool = False) -> Samples:
    """Return what Prometheus reads, without the created times."""
    registry = client.CollectorRegistry(auto_describe=auto_describe)
    registry.register(collector)
    found: Samples = {}
    for family in text_string_to_metric_families(client.generate_latest(registry).decode()):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, "a series twice"
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"balancers_{name}", tuple(sorted({"pool": "web", **labels}.items()))))


def web(*gates: Any, **settings: Any) -> tuple[Pool[str], deque[Event], Any]:
    events: deque[Event] = deque(maxlen=settings.pop("maxlen", 1000))
    pool = Pool(WeightedRoundRobin(["a", "b"]), gates, events=events, **settings)
    return pool, events, RECIPE.PoolCollector({"web": (pool, events)})


def test_the_counts_are_those_of_the_snapshot() -> None:
    limit: ConnectionLimit[str] = ConnectionLimit(2)
    pool, _, collector = web(limit)
    leases = [pool.acquire(1.0) for _ in range(4)]
    with pytest.raises(NoBackendAvailable):
        pool.acquire(2.0)
    with pytest.raises(NoBackendAvailable):
        pool.acquire(2.0, prefer="z", strict=True)
    for lease in leases[:3]:
        pool.release(lease, 3.0, ok=lease.backend != "a")
    found = samples(collector)
    assert value(found, "requests_total") == 4
    assert value(found, "failures_total") == 2
    assert value(found, "refusals_total", reason="saturated") == 1
    assert value(found, "refusals_total", reason="unknown") == 1
    assert value(found, "in_flight") == 1
    assert value(found, "panicking") == 0
    assert value(found, "backend_requests_total", backend="a") == 2
    assert value(found, "backend_failures_total", backend="a") == 2
    assert value(found, "backend_failures_total", backend="b") == 0
    assert value(found, "backend_in_flight", backend="b") == 1
    assert value(found, "effective_weight", backend="b") == 1
    limit.set("b", 1)
    found = samples(collector)
    assert value(found, "effective_weight", backend="b") == 0
    assert value(found, "closed", backend="b", reason="saturated") == 1
    assert value(found, "closed", backend="a", reason="saturated") is None


def test_a_pool_without_members_and_one_that_fails_open() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool, _, collector = web(health)
    for backend in "ab":
        health.observe(backend, False, 1.0)
    found = samples(collector)
    assert value(found, "panicking") == 1
    assert value(found, "closed", backend="a", reason="unhealthy") == 1
    assert value(found, "effective_weight", backend="a") == 1
    pool.update([], 5.0)
    found = samples(collector)
    assert value(found, "panicking") is not None
    assert not [labels for _, labels in found if dict(labels).get("backend")]


def test_a_reason_lasts_from_its_event_to_now() -> None:
    health: HealthChecks[str] = HealthChecks(1, recovery_time=10.0)
    pool, events, collector = web(health)
    health.observe("a", False, 5.0)
    pool.release(pool.acquire(7.0), 8.0)
    found = samples(collector)
    assert value(found, "reason_seconds_total", backend="a", reason="unhealthy") == 3
    assert value(found, "reason_seconds_total", backend="b", reason="member") == 8
    assert not events
    health.observe("a", True, 9.0)
    health.observe("a", True, 9.0)
    pool.release(pool.acquire(20.0), 20.0)
    for _ in range(2):
        found = samples(collector)
        assert value(found, "reason_seconds_total", backend="a", reason="unhealthy") == 4
        assert value(found, "transitions_total", reason="unhealthy", began="true") == 1
        assert value(found, "transitions_total", reason="unhealthy", began="false") == 1


def test_reasons_of_the_whole_pool_have_no_backend() -> None:
    pool, _, collector = web(limit=1)
    lease = pool.acquire(1.0)
    pool.release(lease, 4.0)
    seconds = value(samples(collector), "reason_seconds_total", backend="", reason="saturated")
    assert seconds == 3


def test_a_backend_that_leaves_ends_all_its_reasons_and_its_series() -> None:
    drain: Drain[str] = Drain()
    pool, _, collector = web(drain)
    drain.begin("a", 1.0)
    samples(collector)
    pool.remove("a", 2.0)
    found = samples(collector)
    assert not [labels for _, labels in found if dict(labels).get("backend") == "a"]
    pool.add("a", 1, 3.0)
    pool.release(pool.acquire(9.0), 9.0)
    found = samples(collector)
    assert value(found, "reason_seconds_total", backend="a", reason="member") == 6
    assert value(found, "reason_seconds_total", backend="a", reason="draining") is None
    assert value(found, "requests_total") == 1


def test_leaving_and_returning() -> None:
    pool, _, collector = web()
    pool.update(["a"], 10.0, keep=60.0)
    pool.update(["a", "b"], 14.0)
    found = samples(collector)
    assert value(found, "reason_seconds_total", backend="b", reason="leaving") == 4
    assert value(found, "reason_seconds_total", backend="b", reason="member") == 14


def test_lost_events_do_not_leave_a_reason_that_never_ends() -> None:
    reasons, events = RECIPE.Reasons(), deque[Event](maxlen=3)
    events.append(Event(1.0, "unhealthy", True, "a"))
    reasons.read(events, 2.0)
    events.append(Event(3.0, "unhealthy", False, "a"))  # the end is lost
    events.extend(Event(4.0, "saturated", began, "b") for began in (True, False, True))
    reasons.read(events, 1000.0)
    assert reasons.seconds["a", "unhealthy"] == 1
    assert reasons.seconds["b", "saturated"] == 996


def test_an_event_earlier_than_the_latest_reading_takes_no_time_back() -> None:
    reasons = RECIPE.Reasons()
    key = ("a", "unhealthy")
    reasons.read(deque([Event(1.0, "unhealthy", True, "a")], maxlen=9), 10.0)
    reasons.read(deque([Event(5.0, "unhealthy", False, "a")], maxlen=9), 11.0)
    assert reasons.seconds[key] == 9
    reasons.read(deque([Event(12.0, "unhealthy", True, "a")], maxlen=9), 11.0)
    assert reasons.seconds[key] == 9
    reasons.read(deque([Event(15.0, "unhealthy", False, "a")], maxlen=9), 11.0)
    assert reasons.seconds[key] == 12
    reasons.read(deque([Event(16.0, "unhealthy", False, "a")], maxlen=9), 20.0)
    assert reasons.seconds[key] == 12


def test_readings_of_any_number_give_the_same_seconds() -> None:
    """Compared with a count of the seconds in which at least one gate reports the reason."""
    rng = Random(9)
    for _ in range(runs(200)):
        often, once, rare = RECIPE.Reasons(), RECIPE.Reasons(), deque[Event](maxlen=1000)
        events, held, expected = deque[Event](maxlen=1000), Counter[Any](), Counter[Any]()
        for second in range(40):
            for _ in range(rng.randrange(3)):
                key = backend, reason = rng.choice("ab"), rng.choice(["unhealthy", "draining"])
                began = not held[key] or (held[key] < 2 and rng.random() < 0.3)
                if rng.random() < 0.1:
                    reason, began = "member", False
                    for other in [*held, *expected]:
                        if other[0] == backend:
                            held.pop(other, None)
                            expected.pop(other, None)
                else:
                    held[key] += 1 if began else -1
                event = Event(float(second), reason, began, backend)
                events.append(event)
                rare.append(event)
            if rng.random() < 0.4:
                often.read(events, float(second))
            expected.update(key for key, count in held.items() if count > 0)
        often.read(events, 40.0)
        once.read(rare, 40.0)
        for reasons in (often, once):
            assert {key: time for key, time in reasons.seconds.items() if time} == expected
        assert often.transitions == once.transitions


def test_counters_never_decrease_in_a_long_history() -> None:
    rng = Random(4)
    for _ in range(runs(10)):
        health, drain = HealthChecks[str](1, recovery_time=3.0), Drain[str](5.0)
        limit, events = ConnectionLimit[str](3), deque[Event](maxlen=10_000)
        gates: list[Any] = [health, drain, limit, SlowStart[str](4.0)]
        pool = Pool(WeightedRoundRobin([*"abc"]), gates, events=events, limit=6)
        collector = RECIPE.PoolCollector({"web": (pool, events)})
        leases: list[Lease[str]] = []
        before: Samples = {}
        for step in range(150):
            now = step / 2
            backend = rng.choice("abc")
            action = rng.randrange(7)
            if action == 0:
                health.observe(backend, rng.random() < 0.5, now + rng.randrange(3))
            elif action == 1:
                rng.choice([drain.begin, drain.cancel])(backend, now)
                drain.drained(now)
            elif action == 2 and leases:
                pool.release(leases.pop(), now, ok=rng.random() < 0.7)
            elif action == 3:
                pool.update(rng.sample("abc", 2), now, keep=30.0)
                pool.update([*"abc"], now + 0.1)
            else:
                with suppress(NoBackendAvailable):
                    leases.append(pool.acquire(now))
            if rng.random() < 0.3:
                found = samples(collector)
                for key, amount in before.items():
                    if key[0].endswith("_total"):
                        assert found[key] >= amount, key
                before = found


def test_two_pools_share_each_metric_and_the_lock_is_held() -> None:
    one, two = (Pool(RoundRobin(["a"])), Pool(LeastConnections([("10.0.0.1", 80)])))
    two.release(two.acquire(1.0), 2.0)

    class Watched(deque[Event]):
        def popleft(self) -> Event:
            assert lock.locked()
            return super().popleft()

    lock, events = Lock(), Watched([Event(1.0, "unhealthy", True, "a")], 10)
    pools: dict[str, Any] = {"one": (one, events), "two": (two, deque[Event](maxlen=10))}
    found = samples(RECIPE.PoolCollector(pools, lock), auto_describe=True)
    assert not lock.locked()
    assert value(found, "requests_total", pool="one") == 0
    assert value(found, "requests_total", pool="two") == 1
    assert value(found, "backend_requests_total", pool="two", backend="('10.0.0.1', 80)") == 1
    assert not events
