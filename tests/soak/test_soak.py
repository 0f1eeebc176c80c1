"""Short runs of the soak, of the threads and of the tasks, and that the soak covers every gate."""

import asyncio
import inspect
import signal
from random import Random

import pytest

from balancers import Gate, LeastConnections, Pool, gates
from tests.depth import runs
from tests.kinds import KINDS, Kind, by_name
from tests.soak.parts import Parts
from tests.soak.run import soak
from tests.soak.site import Site
from tests.soak.tasks import STATES, run_tasks
from tests.soak.threads import run_threads

OPERATIONS = 1700
"""Of each balancer: 30 000 in all."""
LEASES = runs(5000)
TASKS = runs(3000)
MANY_TASKS = 10_000
every_kind = pytest.mark.parametrize("kind", KINDS, ids=by_name)
least_connections = next(kind for kind in KINDS if kind.name == "LeastConnections")


@every_kind
def test_a_short_soak(kind: Kind) -> None:
    report = soak(kind, OPERATIONS, seed=7)
    assert report.requests > OPERATIONS / 4
    assert report.backends > OPERATIONS / 25
    assert report.checks >= 40


def test_a_longer_soak() -> None:
    report = soak(least_connections, 8 * OPERATIONS, seed=8)
    assert report.requests > 2 * OPERATIONS
    assert report.faults > 10


def test_the_soak_has_every_gate_of_the_package() -> None:
    concrete = {
        each
        for _, each in inspect.getmembers(gates, inspect.isclass)
        if Gate in each.__mro__ and not inspect.isabstract(each)
    }
    for kind in KINDS:
        used = {type(gate) for gate in Parts(kind, Random(1), faults=9).gates}
        missing = {each.__name__ for each in concrete - used}
        assert missing <= {"SlowStart"}
        assert bool(missing) == (not kind.make().fractional)


def test_a_site_does_the_same_with_the_same_seed() -> None:
    sites = [Site(least_connections, 3) for _ in range(2)]
    for site in sites:
        site.run(2000)
    one, two = sites
    assert one.pool.snapshot() == two.pool.snapshot()
    assert one.done == two.done


def test_the_operations_of_a_site_are_of_every_kind() -> None:
    """Backends are closed for every reason, panics begin, all tables are full at times."""
    site = Site(least_connections, 1)
    reasons: set[str] = set()
    for _ in range(100):
        site.run(100)
        for event in site.parts.events:
            reasons.add(event.reason)
    expected = {gate.reason for gate in site.parts.gates if gate.reason != "faulty"}
    expected |= {"member", "leaving", "drained", "on trial", "panic", "last resort", "outlier"}
    if site.parts.slow_start is None:
        expected.discard("slow start")
    assert reasons >= expected, expected - reasons
    assert site.learned.evicted
    assert site.learned.expired
    assert site.flows.counts.evictions
    assert site.flows.counts.expirations
    for name in ("faults", "retries", "queue full", "joined", "woken", "gave up", "left"):
        assert site.done[name], name


@every_kind
def test_threads_leak_nothing(kind: Kind) -> None:
    crowd = run_threads(kind, LEASES, threads=16, seed=5)
    assert crowd.done["requests"] >= LEASES
    assert crowd.done["KeyboardInterrupt"]


@every_kind
def test_cancelled_tasks_leak_nothing(kind: Kind) -> None:
    tasks = run_tasks(kind, TASKS, seed=2)
    assert tasks.acquired > TASKS / 2


def test_ten_thousand_tasks_are_cancelled_in_every_state() -> None:
    tasks = run_tasks(least_connections, MANY_TASKS, seed=4)
    assert tasks.acquired > 0.8 * MANY_TASKS
    assert all(tasks.cancelled[state] > MANY_TASKS / 100 for state in STATES), tasks.cancelled
    assert tasks.ended["cancelled"] > MANY_TASKS / 10
    assert tasks.ended["Interruption"] > MANY_TASKS / 50


def in_flight(pool: Pool[str]) -> int:
    return pool.snapshot().in_flight


def interrupted(pool: Pool[str]) -> None:
    with pool.lease(lambda: 1.0):
        assert in_flight(pool) == 1
        signal.raise_signal(signal.SIGINT)


def test_a_key_interrupts_a_request() -> None:
    """A real SIGINT within the block releases the lease, and its outcome is unknown."""
    pool = Pool(LeastConnections(["a", "b"]))
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            interrupted(pool)
    assert in_flight(pool) == 0
    assert pool.snapshot().failures == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_event_loop_releases_every_lease(error: type[BaseException]) -> None:
    """``asyncio.run`` cancels all other tasks then."""
    pool = Pool(LeastConnections(["a", "b"]))
    held: list[int] = []

    async def hold() -> None:
        with pool.lease(lambda: 1.0):
            await asyncio.Event().wait()

    async def fail() -> None:
        with pool.lease(lambda: 1.0):
            await asyncio.sleep(0)
            held.append(in_flight(pool))
            raise error

    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        tasks.extend(asyncio.create_task(hold()) for _ in range(99))
        tasks.append(asyncio.create_task(fail()))
        await asyncio.Event().wait()

    with pytest.raises(error):
        asyncio.run(main())
    assert held == [100]
    assert in_flight(pool) == 0
    assert all(task.cancelled() for task in tasks[:-1])
    assert isinstance(tasks[-1].exception(), error)
