"""One lock around a pool, its gates and its generator makes it safe: tested with real threads."""

import sys
from collections.abc import Iterator
from random import Random
from threading import Lock, Thread
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    Gate,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    SlowStart,
)
from tests.kinds import KINDS, Kind, by_name

THREADS, ROUNDS = 4, 150
MEMBERS = [*"abcdef"]


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Traffic:
    """A pool that several threads use, with every call under one lock."""

    def __init__(self, kind: Kind) -> None:
        self.lock = Lock()
        self.ticks = iter(range(10**9))
        self.health, self.drain = HealthChecks[str](2, 1), Drain[str]()
        gates: list[Gate[str]] = [self.health, self.drain, ConnectionLimit(3)]
        lb: Any = kind.make()
        if lb.fractional:
            gates.append(SlowStart(5.0))
        self.pool: Pool[str] = Pool(lb, gates)
        self.pool.update(MEMBERS)
        self.served = self.refused = 0
        self.failures: list[BaseException] = []

    def run(self, seed: int) -> None:
        rng = Random(seed)
        try:
            for _ in range(ROUNDS):
                self.change_something(rng)
                self.request(rng)
        except BaseException as error:
            self.failures.append(error)
            raise

    def now(self) -> float:
        return next(self.ticks) / 10

    def change_something(self, rng: Random) -> None:
        with self.lock:
            now, backend = self.now(), rng.choice(MEMBERS)
            self.health.observe(backend, rng.random() < 0.8, now)
            (self.drain.begin if rng.random() < 0.1 else self.drain.cancel)(backend, now)
            self.pool.set_weight(backend, rng.choice([0, 1, 2, 3]), now)

    def request(self, rng: Random) -> None:
        with self.lock:
            try:
                lease = self.pool.acquire(self.now(), f"10.0.7.{rng.randrange(256)}")
            except NoBackendAvailable:
                self.refused += 1
                return
        with self.lock:
            self.served += 1
            self.pool.release(lease, self.now(), rng.choice([True, False, None]))

    def reopen_all(self) -> None:
        for backend in MEMBERS:
            self.drain.cancel(backend, self.now())
            self.health.observe(backend, ok=True, now=self.now())
            self.pool.set_weight(backend, 1, self.now())


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_counts_are_correct_with_real_threads(kind: Kind) -> None:
    traffic = Traffic(kind)
    threads = [Thread(target=traffic.run, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not traffic.failures
    assert traffic.served + traffic.refused == THREADS * ROUNDS
    assert traffic.served > THREADS * ROUNDS / 2
    pool = traffic.pool
    assert {backend: pool.in_flight(backend) for backend in MEMBERS} == dict.fromkeys(MEMBERS, 0)
    traffic.reopen_all()
    for number in range(6):
        pool.acquire(traffic.now(), f"10.1.{number}.9")
    assert sum(pool.in_flight(backend) for backend in MEMBERS) == 6


def test_no_method_calls_back() -> None:
    """A lock that is not re-entrant is enough: a pool never calls the caller's code."""
    lock = Lock()
    pool: Pool[str] = Pool(KINDS[0].make(), [HealthChecks(), Drain(), ConnectionLimit(2)])
    with lock:
        pool.update(MEMBERS)

    def clock() -> float:
        assert lock.locked()
        return 0.0

    with lock, pool.lease(clock) as lease:
        assert lease.backend == "a"
    assert pool.in_flight("a") == 0
