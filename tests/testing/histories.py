"""Random histories of a pool with every gate, and functions that construct this pool again."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from balancers import (
    BalancersError,
    ConnectionLimit,
    Drain,
    Key,
    Lease,
    NoBackendAvailable,
    Pool,
    SlowStart,
)
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    DynamicLimit,
    FailurePercentage,
    HealthChecks,
    OutlierEjection,
    PassiveChecks,
    WarmUp,
)
from balancers.testing import Header, Recorder
from tests.kinds import Kind

__all__ = ["Limits", "Traffic", "every_gate", "maker", "recorded"]

NAMES = [f"10.0.0.{number}:80" for number in range(8)]


class Limits:
    """The settings of the gates.  A test changes one of them, and the replay must notice."""

    def __init__(self, **changed: Any) -> None:
        self.unhealthy = 2
        self.limit = 2
        self.fails = 2
        self.window = 8.0
        self.cooling = 3
        self.__dict__.update(changed)


def every_gate(limits: Limits, *, fractional: bool, rng: Random) -> list[Any]:
    outliers: Any = OutlierEjection(
        3,
        [FailurePercentage(minimum_hosts=2, request_volume=3)],
        interval=4.0,
        base_ejection_time=6.0,
        jitter=0.5,
        max_ejected_share=0.4,
        rng=rng,
    )
    return [
        ActiveChecks(limits.unhealthy, 2, rng=rng, slow_after=20.0, restores=outliers),
        HealthChecks(limits.unhealthy),
        PassiveChecks(max_fails=limits.fails, fail_timeout=5.0, max_trials=2),
        outliers,
        CoolDown(consecutive_failures=limits.cooling, max_time=20.0, rng=rng),
        Drain(timeout=10.0),
        ConnectionLimit(limits.limit),
        DynamicLimit(minconn=2, maxconn=5, fullconn=12),
        (SlowStart if fractional else WarmUp)(limits.window, 4),
    ]


def maker(kind: Kind, limits: Limits | None = None) -> Callable[[Header], Pool[Any]]:
    """Return a function that constructs the pool of a kind, with every gate."""

    def make(header: Header) -> Pool[Any]:
        balancer = kind.make(header.members)
        gates = every_gate(limits or Limits(), fractional=balancer.fractional, rng=header.rngs[0])
        return Pool(balancer, gates, panic=0.3, calm=0.6, limit=12, now=header.now)

    return make


def header(rng: Random) -> Header:
    """Return what a pool without members is constructed from."""
    return Header("", 0.0, {}, (), {}, (rng,))


class Traffic:
    """Makes random calls to a pool and its gates."""

    def __init__(self, pool: Pool[Any], gates: Sequence[Any], kind: Kind, rng: Random) -> None:
        self.pool, self.gates, self.kind, self.rng = pool, gates, kind, rng
        self.keyed = kind.make().keyed
        self.now = 0.0
        self.leases: list[Lease[Any]] = []
        self.probes: list[Any] = []
        self.picks: list[Any] = []
        pool.update(dict.fromkeys(NAMES[:4], 1), self.now)

    def run(self, steps: int) -> None:
        actions = [self.acquire] * 8 + [self.release] * 7 + [self.call_gate] * 4
        actions += [self.use_block, self.change_members, self.read]
        for _ in range(steps):
            self.now += self.rng.choice([0.0, 0.01, 0.1, 1.0, 3.0]) * self.rng.random()
            if self.rng.random() < 0.02:
                self.now -= 2.0
            try:
                self.rng.choice(actions)()
            except (BalancersError, TypeError) as error:
                self.picks.append(type(error))

    def member(self) -> str:
        name: str = self.rng.choice([*self.pool.backends] or NAMES)
        return name

    def acquire(self) -> None:
        rng, member = self.rng, self.member
        keys: list[Key] = [f"user:{rng.random()}", rng.getrandbits(60), rng.randbytes(5)]
        key = rng.choice(keys)
        prefer = rng.choice([None, None, None, *NAMES[:2]])
        avoids: list[Any] = [(), (), [member()], {member(), member()}, {member(): 1}, "a"]
        strict = prefer is not None and rng.random() < 0.2
        given = key if self.keyed or rng.random() < 0.5 else None
        lease = self.pool.acquire(self.now, given, prefer, strict, rng.choice(avoids))
        self.leases.append(lease)
        self.picks.append((lease.backend, lease.acquired_at, lease.bound, lease.panic))

    def release(self) -> None:
        rng = self.rng
        if not self.leases:
            return
        lease = self.leases.pop(rng.randrange(len(self.leases)))
        if rng.random() < 0.05:
            lease.failed(status=503)
        ok = rng.choice([True, True, False, False, None])
        retry_after = rng.choice([None] * 9 + [2.0])
        self.pool.release(lease, self.now, ok, rng.choice([None, 0.25]), retry_after)
        if rng.random() < 0.02:
            self.pool.release(lease, self.now)

    def use_block(self) -> None:
        with (
            suppress(ZeroDivisionError, NoBackendAvailable),
            self.pool.lease(lambda: self.now, key="user:7") as lease,
        ):
            if self.rng.random() < 0.3:
                lease.failed(status=502, retry_after=1.5)
            if self.rng.random() < 0.3:
                raise ZeroDivisionError

    def change_members(self) -> None:
        rng, pool, now = self.rng, self.pool, self.now
        match rng.randrange(5):
            case 0:
                pool.add(rng.choice(NAMES), rng.choice([1, 2, 0.5]), now)
            case 1 if len(pool) > 2:
                for leaver in self.kind.leavers(pool.backends, self.member()):
                    pool.remove(leaver, now=now)
            case 2:
                pool.set_weight(self.member(), rng.choice([0, 1, 2, 3]), now)
            case 3:
                staying = [*pool.backends][: rng.randrange(2, 6)]
                pool.update(staying, now, keep=rng.choice([None, 4.0]))
            case _:
                pool.set_weight("unknown", float("nan"), now)

    def call_gate(self) -> None:
        rng, now, backend = self.rng, self.now, self.member()
        checks, health, _, outliers, _, drain, limit, dynamic, ramp = self.gates
        calls: list[Callable[[], Any]] = [
            lambda: health.observe(backend, rng.random() < 0.5, now, immediate=False),
            lambda: health.observe("unknown", ok=True, now=now),
            lambda: checks.observe(backend, ok=rng.random() < 0.5, now=now),
            lambda: self.probes.extend(checks.probes(now)),
            lambda: checks.answer(self.probes.pop(), rng.random() < 0.6, now),
            lambda: drain.begin(backend, now=now),
            lambda: drain.cancel(backend, now=now),
            lambda: drain.drained(now),
            lambda: limit.set(backend, rng.choice([1, 2, 5, None]), now),
            lambda: dynamic.set_waiting(rng.randrange(4), now),
            lambda: ramp.begin(backend, now),
            lambda: outliers.restore(backend, now),
            lambda: outliers.probe_passed(backend, now, now - 1.0),
        ]
        with suppress(IndexError):
            self.picks.append(rng.choice(calls)())

    def read(self) -> None:
        self.pool.state(self.member())
        self.pool.explain(max(self.now, 0.0), key="user:1")
        self.picks.append((self.pool.panicking, self.pool.snapshot()))
        self.pool.admits(self.member(), bound=True)


def recorded(
    kind: Kind, seed: int, steps: int, limits: Limits | None = None, log: bool = True
) -> tuple[list[str], list[Any]]:
    """Return the log of a random history, and what its calls returned."""
    lines: list[str] = []
    rng = Random(seed)
    pool = maker(kind, limits)(header(rng))
    recorder = Recorder(pool, write=lines.append, rng=rng) if log else None
    traffic = Traffic(pool, pool._gates, kind, Random(seed + 1))
    traffic.run(steps)
    if recorder is not None:
        recorder.close()
    return lines, [*traffic.picks, pool.snapshot()]
