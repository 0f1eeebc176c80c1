"""A pool with every gate of the package, for the long runs, and names that can be watched."""

from collections import deque
from random import Random
from typing import Any

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    Event,
    Gate,
    HealthChecks,
    Outcome,
    Pool,
    SlowStart,
)
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    CostLimit,
    CostRateLimit,
    DynamicLimit,
    FailurePercentage,
    MedianGap,
    MemberGate,
    OutlierEjection,
    PassiveChecks,
    RequestRateLimit,
    WarmUp,
)
from tests.kinds import Kind

__all__ = ["EVENTS", "Fault", "Faulty", "Name", "Parts"]

POOL_LIMIT, LIMIT, COST_LIMIT = 90, 12, 3000
PANIC, CALM = 0.3, 0.5
EVENTS = 500
RATE_PERIOD = 24.0


class Name(str):
    """The name of a backend, a key or an item.  A WeakSet shows whether it is still referred to."""

    __slots__ = ("__weakref__",)


class Fault(Exception):
    """Raised by :class:`Faulty`."""


class Faulty(MemberGate[Name, None]):
    """Raises an exception in one of ``rarity`` calls of the pool, before or after it counted."""

    reason = "faulty"

    def __init__(self, rarity: int, rng: Random) -> None:
        super().__init__()
        self.rarity, self.rng = rarity, rng

    def new_state(self, now: float) -> None:
        del now

    def factor(self, backend: Name, now: float) -> float:
        self.state_of(backend)
        return 1

    def fail(self) -> None:
        if self.rarity and self.rng.randrange(self.rarity) == 0:
            raise Fault

    def added(self, backend: Name, now: float) -> None:
        super().added(backend, now)
        self.fail()

    def removed(self, backend: Name, now: float) -> None:
        super().removed(backend, now)
        self.fail()

    def started(self, backend: Name, in_flight: int, now: float) -> None:
        self.fail()

    def finished(
        self, backend: Name, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        self.fail()


class Parts:
    """A pool, its balancer, and all of its gates."""

    def __init__(self, kind: Kind, rng: Random, faults: int = 0, burst: int = 24) -> None:
        """With ``faults``, one of so many calls of a gate raises :class:`Fault`.

        ``burst`` is how many requests the rates allow at once.
        """
        self.kind = kind
        self.balancer: Balancer[Any] = kind.make()
        self.outliers: OutlierEjection[Name] = OutlierEjection(
            3,
            [FailurePercentage(minimum_hosts=3, request_volume=5), MedianGap(request_volume=3)],
            consecutive_gateway_failures=2,
            consecutive_local_failures=4,
            local_rules=[MedianGap(request_volume=3)],
            enforcing={"consecutive gateway failures": 0.5},
            interval=4.0,
            base_ejection_time=3.0,
            jitter=0.5,
            max_ejected_share=0.3,
            rng=Random(rng.random()),
        )
        self.health: HealthChecks[Name] = HealthChecks(2, 1, 4.0)
        self.active: ActiveChecks[Name] = ActiveChecks(
            2, 1, rng=Random(rng.random()), interval=2.0, timeout=1.0, restores=self.outliers
        )
        self.passive: PassiveChecks[Name] = PassiveChecks(3, 4.0, max_trials=2)
        self.cooling: CoolDown[Name] = CoolDown(4, max_time=8.0, rng=Random(rng.random()))
        self.drain: Drain[Name] = Drain(timeout=5.0, quiet=0.5)
        self.last_resort: Drain[Name] = Drain(timeout=5.0, last_resort=True)
        self.limit: ConnectionLimit[Name] = ConnectionLimit(LIMIT)
        self.costs: CostLimit[Name] = CostLimit(COST_LIMIT)
        self.rate: RequestRateLimit[Name] = RequestRateLimit(burst, burst=burst, period=RATE_PERIOD)
        self.cost_rate: CostRateLimit[Name] = CostRateLimit(
            1000 * burst, burst=1000 * burst, period=RATE_PERIOD
        )
        self.dynamic: DynamicLimit[Name] = DynamicLimit(minconn=3, maxconn=LIMIT, fullconn=60)
        self.warm_up: WarmUp[Name] = WarmUp(6.0, 4)
        self.slow_start: SlowStart[Name] | None = (
            SlowStart(6.0, 4) if self.balancer.fractional else None
        )
        self.faulty = Faulty(faults, Random(rng.random()))
        self.gates: list[Gate[Any]] = [
            self.active,
            self.health,
            self.outliers,
            self.passive,
            self.cooling,
            self.drain,
            self.last_resort,
            self.limit,
            self.dynamic,
            self.costs,
            self.rate,
            self.cost_rate,
            self.warm_up,
        ]
        if self.slow_start is not None:
            self.gates.append(self.slow_start)
        if faults:
            self.gates.insert(rng.randrange(len(self.gates) + 1), self.faulty)
        self.events: deque[Event] = deque(maxlen=EVENTS)
        self.pool: Pool[Name] = Pool(
            self.balancer,
            self.gates,
            panic=PANIC,
            calm=CALM,
            limit=POOL_LIMIT,
            events=self.events,
        )
