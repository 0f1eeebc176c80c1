"""The counts and events of pools as metrics of Prometheus."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from balancers import Drain, Event, HealthChecks, NoBackendAvailable, Pool, RoundRobin

METRICS: dict[str, tuple[type[CounterMetricFamily | GaugeMetricFamily], str, tuple[str, ...]]] = {
    "requests": (CounterMetricFamily, "Requests, also those of backends that left", ()),
    "failures": (CounterMetricFamily, "Failed requests, also those of backends that left", ()),
    "refusals": (CounterMetricFamily, "Refused requests", ("reason",)),
    "in_flight": (GaugeMetricFamily, "Requests in flight", ()),
    "panicking": (GaugeMetricFamily, "1 while soft gates are ignored, else 0", ()),
    "backend_requests": (CounterMetricFamily, "Requests since the backend joined", ("backend",)),
    "backend_failures": (CounterMetricFamily, "Failures since the backend joined", ("backend",)),
    "backend_in_flight": (GaugeMetricFamily, "Requests in flight on the backend", ("backend",)),
    "effective_weight": (GaugeMetricFamily, "The weight that the balancer uses", ("backend",)),
    "closed": (GaugeMetricFamily, "1 for each reason that closes it", ("backend", "reason")),
    "transitions": (CounterMetricFamily, "Reasons that began or ended", ("reason", "began")),
    "reason_seconds": (CounterMetricFamily, "How long the reason held", ("backend", "reason")),
}


class Reasons:
    """Counts the events of one pool, and adds up how long each reason held."""

    def __init__(self) -> None:
        self.transitions: Counter[tuple[str, bool]] = Counter()
        self.seconds: defaultdict[tuple[object, str], float] = defaultdict(float)
        self.holding: Counter[tuple[object, str]] = Counter()  # how many gates report the reason
        self.since: dict[tuple[object, str], float] = {}

    def read(self, events: deque[Event], now: float) -> None:
        """Remove all events from the deque, and add the time until ``now``."""
        if len(events) == events.maxlen:  # older events may be lost, so their ends are unknown
            self.holding.clear()
            self.since.clear()
        while events:
            event = events.popleft()
            self.transitions[event.reason, event.began] += 1
            if event.began:
                self.begin(event)
            elif event.reason == "member":  # all reasons of the backend end
                self.forget(event.backend)
            else:
                self.end(event)
        for key, since in self.since.items():
            self.seconds[key] += max(0.0, now - since)
            self.since[key] = max(now, since)

    def begin(self, event: Event) -> None:
        key = event.backend, event.reason
        self.holding[key] += 1
        self.since.setdefault(key, event.at)

    def end(self, event: Event) -> None:
        key = event.backend, event.reason
        self.holding[key] -= 1
        if self.holding[key] <= 0:  # a reason of two gates ends when it has ended in both
            del self.holding[key]
            if key in self.since:
                self.seconds[key] += max(0.0, event.at - self.since.pop(key))

    def forget(self, backend: object) -> None:
        keys = {key for key in (*self.seconds, *self.holding) if key[0] == backend}
        for key in keys:
            self.seconds.pop(key, None)
            self.holding.pop(key, None)
            self.since.pop(key, None)


class PoolCollector(Collector):
    """Collects the metrics of pools.  Each pool has a name and a deque of events.

    ``lock`` is the lock that all threads share which use the pools.
    """

    def __init__(
        self,
        pools: Mapping[str, tuple[Pool[Any], deque[Event]]],
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.pools = pools
        self.lock = nullcontext() if lock is None else lock
        self.reasons = {name: Reasons() for name in pools}

    def collect(self) -> Iterable[Metric]:
        """Called for each request of Prometheus."""
        families = {
            name: kind(f"balancers_{name}", text, labels=("pool", *labels))
            for name, (kind, text, labels) in METRICS.items()
        }
        with self.lock:
            for pool in self.pools:
                for name, value, *labels in self.samples(pool):
                    families[name].add_metric([pool, *map(str, labels)], value)
        return families.values()

    def samples(self, name: str) -> Iterable[tuple[Any, ...]]:
        """Return the name, the value and the labels of each sample of a pool."""
        pool, events = self.pools[name]
        snapshot, reasons = pool.snapshot(), self.reasons[name]
        reasons.read(events, snapshot.at)
        yield "requests", snapshot.requests
        yield "failures", snapshot.failures
        yield "in_flight", snapshot.in_flight
        yield "panicking", snapshot.panicking
        for reason, count in snapshot.refusals.items():
            yield "refusals", count, reason
        for member in snapshot.members:
            yield "backend_requests", member.requests, member.backend
            yield "backend_failures", member.failures, member.backend
            yield "backend_in_flight", member.in_flight, member.backend
            yield "effective_weight", member.effective_weight, member.backend
            for reason in member.state:
                yield "closed", 1, member.backend, reason
        for (reason, began), count in reasons.transitions.items():
            yield "transitions", count, reason, "true" if began else "false"
        for (backend, reason), seconds in reasons.seconds.items():
            yield "reason_seconds", seconds, "" if backend is None else backend, reason


def main() -> None:
    """Close one backend for ten seconds, drain the other one, and print the metrics."""
    events: deque[Event] = deque(maxlen=10_000)
    health: HealthChecks[str] = HealthChecks(1, recovery_time=10.0)
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(["a", "b"]), [health, drain], events=events)
    registry = CollectorRegistry()
    registry.register(PoolCollector({"web": (pool, events)}))

    times = iter(range(10))
    for _ in range(5):
        with pool.lease(lambda: float(next(times))) as lease:
            if lease.backend == "a":
                lease.failed(status=500)
    pool.release(pool.acquire(15.0), 20.0)
    for backend in pool.backends:
        drain.begin(backend, 30.0)
    try:
        pool.acquire(35.0)
    except NoBackendAvailable:
        print(generate_latest(registry).decode(), end="")


if __name__ == "__main__":
    main()
