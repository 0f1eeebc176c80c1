"""Drains: when they end, what is reported, and which requests a backend still gets."""

import copy
import pickle
from collections import deque
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    Event,
    HealthChecks,
    Lease,
    NoBackendAvailable,
    Pool,
    RoundRobin,
)
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.gates import CoolDown, Drained
from tests.depth import runs


def test_a_drain_that_begins_again_is_reported_again() -> None:
    events: deque[Event] = deque(maxlen=20)
    drain: Drain[str] = Drain(timeout=30.0)
    pool = Pool(RoundRobin(["a", "b"]), [drain], events=events)
    events.clear()
    for now in (0.0, 100.0, 200.0):
        lease = pool.acquire(now, prefer="a")
        drain.begin("a", now)
        assert drain.drained(now + 1.0) == []
        pool.release(lease, now + 2.0)
        assert drain.drained(now + 3.0) == [Drained("a", False, 0, now + 3.0)]
        assert drain.drained(now + 4.0) == []
        drain.cancel("a", now + 5.0)
        assert drain.drained(now + 6.0) == []
    recorded = [(event.at % 100.0, event.reason, event.began) for event in events]
    assert recorded == 3 * [
        (0.0, "draining", True),
        (3.0, "drained", True),
        (5.0, "drained", False),
        (5.0, "draining", False),
    ]


def test_a_backend_that_joins_again_does_not_drain() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 0.0)
    assert drain.drained(1.0) == [Drained("a", False, 0, 1.0)]
    pool.remove("a", 1.0)
    assert drain.drained_due == inf
    with pytest.raises(UnknownBackend):
        drain.draining("a")
    pool.add("a", now=2.0)
    assert not drain.draining("a")
    assert pool.admits("a")
    drain.begin("a", 3.0)
    assert drain.drained(3.0) == [Drained("a", False, 0, 3.0)]


def test_a_pause_between_two_requests_of_a_session_does_not_end_a_drain() -> None:
    drain: Drain[str] = Drain(timeout=60.0, quiet=5.0)
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    lease = pool.acquire(0.0, prefer="a")
    drain.begin("a", 1.0)
    assert drain.drained_due == 61.0
    for now in (2.0, 6.0, 10.0):
        pool.release(lease, now)
        assert drain.drained_due == now + 5.0
        assert drain.drained(now + 3.0) == []
        lease = pool.acquire(now + 3.5, prefer="a", strict=True)
        assert drain.drained_due == 61.0
        assert drain.drained(now + 3.5) == []
    pool.release(lease, 20.0)
    # A request that starts and ends between two calls counts too.
    pool.release(pool.acquire(22.0, prefer="a"), 23.0)
    assert drain.drained(27.9) == []
    assert drain.drained_due == 28.0
    assert drain.drained(28.0) == [Drained("a", False, 0, 28.0)]
    assert drain.drained_due == inf


def test_an_idle_backend_is_quiet_from_the_begin_of_its_drain() -> None:
    drain: Drain[str] = Drain(timeout=4.0, quiet=3.0)
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 10.0)
    assert drain.drained(12.9) == []
    assert drain.drained(13.0) == [Drained("a", False, 0, 13.0)]
    pool.release(pool.acquire(13.0, prefer="b"), 20.0)
    drain.begin("b", 21.0)
    pool.release(pool.acquire(22.5, prefer="b"), 23.0)
    assert drain.drained_due == 25.0  # the deadline comes first
    assert drain.drained(24.9) == []
    assert drain.drained(25.0) == [Drained("b", True, 0, 25.0)]


def test_copies_wait_for_quiet_too() -> None:
    drain: Drain[str] = Drain(timeout=60.0, quiet=5.0)
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 1.0)
    for copied in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):  # noqa: S301 - its own
        gate: Any = copied._gates[0]
        assert gate is not drain
        copied.release(copied.acquire(3.0, prefer="a"), 4.0)
        assert gate.drained_due == 9.0
        assert drain.drained_due == 6.0
        assert gate.drained(6.0) == []
        assert gate.drained(9.0) == [Drained("a", False, 0, 9.0)]
    assert drain.drained(6.0) == [Drained("a", False, 0, 6.0)]


def test_a_drain_that_is_over_still_gets_bound_requests_until_its_backend_is_removed() -> None:
    """The deadline is reported; who asks for the report removes the backend."""
    drain: Drain[str] = Drain(timeout=30.0)
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    running = pool.acquire(0.0, prefer="a")
    drain.begin("a", 1.0)
    assert drain.drained(31.0) == [Drained("a", True, 1, 31.0)]
    assert not pool.admits("a", now=31.0)
    assert pool.admits("a", bound=True, now=31.0)
    assert pool.acquire(31.0, prefer="a").bound
    pool.remove("a", now=31.0)
    moved = pool.acquire(31.0, prefer="a")
    assert (moved.backend, moved.bound) == ("b", False)
    pool.release(running, 32.0)  # its request could finish
    assert drain.drained(33.0) == []


def test_the_report_is_due_at_the_earliest_end_of_all_drains() -> None:
    drain: Drain[str] = Drain(timeout=10.0, quiet=2.0)
    pool = Pool(RoundRobin(["a", "b", "c"]), [drain])
    assert drain.drained_due == inf
    leases = {backend: pool.acquire(0.0, prefer=backend) for backend in "abc"}
    for now, backend in enumerate("abc"):
        drain.begin(backend, float(now))
    assert drain.drained_due == 10.0
    pool.release(leases["c"], 5.0)
    assert drain.drained_due == 7.0
    assert [ended.backend for ended in drain.drained(drain.drained_due)] == ["c"]
    assert drain.drained_due == 10.0
    drain.cancel("a", 8.0)
    assert drain.drained_due == 11.0
    endless: Drain[str] = Drain(timeout=inf)
    pool = Pool(RoundRobin(["a"]), [endless])
    pool.acquire(0.0)
    endless.begin("a", 1.0)
    assert endless.drained_due == inf
    assert endless.drained(1e300) == []


class Others:
    """A pool in which "a" drains as a last resort, and "b" is closed for another reason."""

    def __init__(self, why: str, last_resort: bool, panic: float | None) -> None:
        self.drain: Drain[str] = Drain(last_resort=last_resort)
        self.health: HealthChecks[str] = HealthChecks(1, 1)
        self.pauses: CoolDown[str] = CoolDown(rng=Random(1))
        gates: list[Any] = [self.pauses, self.drain, self.health, ConnectionLimit(3)]
        self.pool = Pool(RoundRobin(["a", "b"]), gates, panic=panic)
        self.drain.begin("a", 0.0)
        if why == "down":
            self.health.observe("b", False, 0.0)
        elif why == "of weight 0":
            self.pool.set_weight("b", 0, 0.0)
        elif why == "full":
            for _ in range(3):
                self.pool.acquire(0.0, prefer="b")
        elif why == "cooling down":
            self.pool.release(self.pool.acquire(0.0, prefer="b"), 0.0, retry_after=9.0)
        elif why == "removed":
            self.pool.remove("b", 0.0)
        elif why == "draining":
            self.drain.begin("b", 0.0)


WHY = ["down", "of weight 0", "full", "cooling down", "removed", "draining"]


@pytest.mark.parametrize("why", WHY)
@pytest.mark.parametrize("panic", [0.0, 0.9, None])
def test_a_last_resort_serves_when_the_other_member_cannot(why: str, panic: float | None) -> None:
    """It once served only if every member drained."""
    case = Others(why, last_resort=True, panic=panic)
    served = {case.pool.acquire(1.0).backend for _ in range(3)}
    assert "a" in served
    if why != "draining" and (why, panic) != ("down", 0.9):  # then the pool also panics
        assert served == {"a"}
    if (why, panic) in {("down", 0.0), ("down", 0.9)}:
        return  # the pool fails open, with or without a last resort
    case = Others(why, last_resort=False, panic=panic)
    with pytest.raises(NoBackendAvailable):
        case.pool.acquire(1.0)


@pytest.mark.parametrize("panic", [0.0, 0.9, None])
def test_a_last_resort_is_not_used_while_another_member_is_open(panic: float | None) -> None:
    case = Others("not closed", last_resort=True, panic=panic)
    leases = [case.pool.acquire(1.0) for _ in range(3)]
    assert [lease.backend for lease in leases] == ["b"] * 3
    assert case.pool.acquire(1.0).backend == "a"  # "b" is full
    case.pool.release(leases[0], 2.0)
    assert case.pool.acquire(2.0).backend == "b"


@pytest.mark.parametrize("panic", [0.0, None])
def test_two_operators_drain_one_backend_each(panic: float | None) -> None:
    one, two = Drain[str](last_resort=True), Drain[str](last_resort=True)
    pool = Pool(RoundRobin(["a", "b"]), [one, two], panic=panic)
    one.begin("a", 0.0)
    assert {pool.acquire(0.0).backend for _ in range(4)} == {"b"}
    two.begin("b", 1.0)
    assert {pool.acquire(1.0).backend for _ in range(4)} == {"a", "b"}
    one.cancel("a", 2.0)
    assert {pool.acquire(2.0).backend for _ in range(4)} == {"a"}
    one.begin("a", 3.0)
    two.begin("a", 3.0)
    one.cancel("a", 4.0)  # the other operator still drains it
    assert not pool.admits("b", now=4.0) or pool.admits("a", now=4.0)
    assert {pool.acquire(4.0).backend for _ in range(4)} == {"a", "b"}
    pool.add("c", now=5.0)
    assert {pool.acquire(5.0).backend for _ in range(4)} == {"c"}


def test_the_pauses_of_all_members_can_be_a_last_resort() -> None:
    for last_resort in (False, True):
        gate: CoolDown[str] = CoolDown(last_resort=last_resort, rng=Random(1))
        pool = Pool(RoundRobin(["a", "b"]), [gate], panic=None)
        pool.release(pool.acquire(0.0, prefer="a"), 0.0, retry_after=9.0)
        assert {pool.acquire(1.0).backend for _ in range(4)} == {"b"}
        pool.release(pool.acquire(1.0, prefer="b"), 1.0, retry_after=9.0)
        if last_resort:
            assert {pool.acquire(2.0).backend for _ in range(4)} == {"a", "b"}
        else:
            with pytest.raises(NoBackendAvailable, match="cooling down"):
                pool.acquire(2.0)
        assert {pool.acquire(9.5).backend for _ in range(4)} == {"a"}
    assert "last_resort" in repr(gate)
    with pytest.raises(InvalidSetting, match="last_resort must be"):
        CoolDown(last_resort=1, rng=Random(1))  # type: ignore[arg-type] # refused


def test_drains_against_a_model() -> None:  # noqa: C901 - one branch per call
    """The model keeps the starts and ends of all requests, and looks through them each time."""
    for seed in range(runs(300)):
        rng = Random(seed)
        timeout, quiet = rng.choice([3.0, 10.0, inf]), rng.choice([0.0, 1.0, 4.0])
        drain: Drain[str] = Drain(timeout, quiet=quiet)
        pool = Pool(RoundRobin(["a", "b", "c"]), [drain])
        now = 0.0
        leases: list[Lease[str]] = []
        begun: dict[str, float] = {}
        ends: dict[str, float] = dict.fromkeys("abc", -inf)
        reported: set[str] = set()
        for _ in range(200):
            backend = rng.choice("abc")
            action = rng.randrange(7)
            now += rng.choice([0.0, 0.0, 0.5, 1.0])
            if action == 0:
                drain.begin(backend, now)
                begun.setdefault(backend, now)
            elif action == 1 and rng.random() < 0.3:
                drain.cancel(backend, now)
                begun.pop(backend, None)
                reported.discard(backend)
            elif action in {2, 3} and len(leases) < 4:
                leases.append(pool.acquire(now, prefer=backend))
            elif leases:
                lease = leases.pop(rng.randrange(len(leases)))
                pool.release(lease, now)
                ends[lease.backend] = now
            expected: list[tuple[str, bool, int, float]] = []
            due = inf
            for draining, began in begun.items():
                if draining in reported:
                    continue
                in_flight = sum(lease.backend == draining for lease in leases)
                quiet_since = max(ends[draining], began) if quiet else began
                idle = inf if in_flight else quiet_since + quiet
                due = min(due, idle, began + timeout)
                if min(idle, began + timeout) <= now:
                    expected.append((draining, idle > now, in_flight, now))
            assert drain.drained_due == due
            if rng.random() < 0.5:
                assert drain.drained(now) == expected
                reported |= {one[0] for one in expected}
            assert {b for b in "abc" if not pool.admits(b)} == set(begun)


@pytest.mark.parametrize("quiet", [-1.0, nan, inf, True, "1"])
def test_bad_settings(quiet: Any) -> None:
    with pytest.raises(InvalidSetting, match="quiet must be"):
        Drain(quiet=quiet)
    with pytest.raises(InvalidSetting, match="last_resort must be"):
        Drain(last_resort=1)  # type: ignore[arg-type] # refused
