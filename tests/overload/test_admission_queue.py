"""The admission queue against a list: bounded, in order, and each entry ends exactly once."""

import copy
import pickle
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from balancers import ConnectionLimit, NoBackendAvailable, Pool, RoundRobin
from balancers.errors import InvalidSetting, InvalidTime, QueueFull
from balancers.overload import AdmissionQueue, Waiting
from tests.depth import runs

LIMIT, TIMEOUT = 4, 5.0
STEPS = st.sampled_from([0.0, 0.0, 1.0, 3.0, -2.0])
BACKENDS = st.sampled_from([None, "a", "b"])
"""What an entry waits for.  None is any backend."""


class QueueMachine(RuleBasedStateMachine):
    """The model: a list of entries that wait, and a list of those that expired, unreported."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: AdmissionQueue[int] = AdmissionQueue(LIMIT, TIMEOUT)
        assert self.queue.wake(0.0) is None
        self.waiting: list[Waiting[int]] = []
        self.unreported: list[Waiting[int]] = []
        self.gone: list[Waiting[int]] = []
        self.now = 0.0
        self.items = 0

    def tick(self, step: float) -> float:
        """Return a time, perhaps an earlier one; expire the entries of the model."""
        asked = self.now + step
        self.now = max(self.now, asked)
        due = [one for one in self.waiting if one.deadline <= self.now]
        self.unreported += sorted(due, key=lambda one: (one.deadline, one.number))
        self.waiting = [one for one in self.waiting if one not in due]
        return asked

    @rule(
        step=STEPS,
        priority=st.integers(-1, 1),
        timeout=st.sampled_from([None, 1.0, 9.0, inf]),
        backend=BACKENDS,
    )
    def join(self, step: float, priority: int, timeout: float | None, backend: str | None) -> None:
        now = self.tick(step)
        if len(self.waiting) == LIMIT:
            with pytest.raises(QueueFull, match=str(LIMIT)):
                self.queue.join(0, now, priority, timeout, backend)
            return
        self.items += 1
        entry = self.queue.join(self.items, now, priority, timeout, backend)
        assert entry.backend is backend
        assert (entry.item, entry.priority, entry.since) == (self.items, priority, self.now)
        assert entry.deadline == self.now + (TIMEOUT if timeout is None else timeout)
        self.waiting.append(entry)

    @rule(step=STEPS, backend=BACKENDS, peeks=st.booleans())
    def wake(self, step: float, backend: str | None, peeks: bool) -> None:
        now = self.tick(step)
        woken = self.queue.peek(now, backend) if peeks else self.queue.wake(now, backend)
        fitting = [one for one in self.waiting if backend is None or one.backend in (None, backend)]
        if not fitting:
            assert woken is None
            return
        first = min(fitting, key=lambda one: (-one.priority, one.number))
        assert woken == first
        if not peeks:
            self.waiting.remove(first)
            self.gone.append(first)

    @rule(step=STEPS)
    def expired(self, step: float) -> None:
        assert self.queue.expired(self.tick(step)) == self.unreported
        self.gone += self.unreported
        self.unreported = []

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        known = [*self.waiting, *self.unreported, *self.gone]
        if known:
            one = data.draw(st.sampled_from(known))
            assert self.queue.leave(one) is (one in self.waiting)
            if one in self.waiting:
                self.waiting.remove(one)
                self.gone.append(one)

    @rule(data=st.data(), backend=BACKENDS, leaves=st.booleans())
    def move(self, data: st.DataObject, backend: str | None, leaves: bool) -> None:
        """The caller may still have the entry as it was before the move."""
        known = [*self.waiting, *self.unreported, *self.gone]
        if known:
            one = data.draw(st.sampled_from(known))
            moved = self.queue.move(one, backend)
            if one not in self.waiting:
                assert moved is None
                return
            assert moved is not None
            assert moved == one._replace(backend=backend)
            self.waiting.remove(one)
            if leaves:
                assert self.queue.leave(one)
                self.gone.append(one)
            else:
                self.waiting.append(moved)

    @rule(data=st.data())
    def are_looked_through(self, data: st.DataObject) -> None:
        """Some leave meanwhile, and one joins."""
        ordered = sorted(self.waiting, key=lambda one: (-one.priority, one.number))
        seen: list[Waiting[int]] = []
        for entry in self.queue:
            seen.append(entry)
            if data.draw(st.booleans()):
                assert self.queue.leave(entry)
                self.waiting.remove(entry)
                self.gone.append(entry)
                if entry.item % 3 == 0:
                    self.items += 1
                    joined = self.queue.join(self.items, self.now, -9)
                    self.waiting.append(joined)
                    ordered.append(joined)
        assert seen == ordered

    @rule()
    def copies_behave_alike(self) -> None:
        pickled = pickle.loads(pickle.dumps(self.queue))  # noqa: S301 - its own pickle
        for copied in (copy.deepcopy(self.queue), pickled):
            woken = [one for _ in range(LIMIT) if (one := copied.wake(self.now))]
            assert sorted(woken) == sorted(self.waiting)

    @invariant()
    def no_entry_is_lost(self) -> None:
        assert len(self.queue) == len(self.waiting) <= LIMIT
        wanted = [one.backend for one in self.waiting]
        assert set(self.queue.backends) == {*wanted} - {None}
        assert len(self.queue.backends) == len({*wanted} - {None})
        for backend in (None, "a", "b", "c"):
            assert self.queue.waiting_for(backend) == wanted.count(backend)
        ends = [one.deadline for one in self.waiting]
        expected = -inf if self.unreported else min(ends, default=inf)
        assert self.queue.due == expected
        assert len(self.waiting) + len(self.unreported) + len(self.gone) == self.items


def test_the_queue_against_a_list() -> None:
    run_state_machine_as_test(
        QueueMachine, settings=settings(max_examples=runs(200), stateful_step_count=50)
    )


def test_a_released_lease_wakes_exactly_one() -> None:
    pool = Pool(RoundRobin(["a"]), [ConnectionLimit(2)])
    queue: AdmissionQueue[str] = AdmissionQueue(limit=10)
    leases = [pool.acquire(0.0) for _ in range(2)]
    for name in ("x", "y", "z"):
        with pytest.raises(NoBackendAvailable, match="saturated"):
            pool.acquire(0.0)
        queue.join(name, 0.0)
    for expected in ("x", "y", "z"):
        pool.release(leases.pop(0), 1.0)
        woken = queue.wake(1.0)
        assert woken is not None
        assert woken.item == expected
        leases.append(pool.acquire(1.0))
        with pytest.raises(NoBackendAvailable):
            pool.acquire(1.0)
    assert queue.wake(1.0) is None
    assert repr(queue) == "<AdmissionQueue: 0 of 10 waiting, timeout 60.0 s>"


def test_entries_leave_and_join_while_the_queue_is_looked_through() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(limit=10)
    for name in "abcd":
        queue.join(name, 0.0)
    queue.join("urgent", 0.0, priority=1)
    seen: list[str] = []
    for entry in queue:
        seen.append(entry.item)
        if entry.item in {"urgent", "b"}:
            assert queue.leave(entry)
        if entry.item == "c":
            queue.join("last", 0.0)
            queue.join("too late", 0.0, priority=2)
    assert seen == ["urgent", "a", "b", "c", "d", "last"]
    assert [entry.item for entry in queue] == ["too late", "a", "c", "d", "last"]


def test_bad_calls_change_nothing() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(2)
    queue.join("a", 1.0)
    bad: list[tuple[type[Exception], dict[str, Any]]] = [
        (InvalidTime, {"now": nan}),
        (InvalidTime, {"now": inf}),
        (InvalidTime, {"now": None}),
        (InvalidTime, {"now": Decimal(2)}),
        (InvalidTime, {"now": "2"}),
        (InvalidSetting, {"now": 9.0, "timeout": 0.0}),
        (InvalidSetting, {"now": 9.0, "timeout": nan}),
        (TypeError, {"now": 9.0, "priority": 0.5}),
        (TypeError, {"now": 9.0, "backend": ["a"]}),
    ]
    for error, arguments in bad:
        with pytest.raises(error):
            queue.join("b", **arguments)
        assert len(queue) == 1
        if error is InvalidTime:
            for method in (queue.wake, queue.expired):
                with pytest.raises(InvalidTime):
                    method(arguments["now"])
                assert [entry.item for entry in queue] == ["a"]
    (entry,) = queue
    with pytest.raises(TypeError):
        queue.move(entry, ["a"])
    assert [*queue] == [entry]
    joined = queue.join("b", 1.0)
    assert (joined.since, joined.number) == (1.0, 2)
    for settings_ in ({"limit": 0}, {"limit": 1, "timeout": 0.0}, {"limit": 1, "timeout": nan}):
        made: Any = AdmissionQueue
        with pytest.raises(InvalidSetting):
            made(**settings_)


def test_copies_share_the_backends_that_entries_wait_for() -> None:
    class Host:
        """Equal to no other object."""

    host = Host()
    queue: AdmissionQueue[str] = AdmissionQueue(2)
    queue.join("x", 0.0, backend=host)
    copied = copy.deepcopy(queue)
    assert copied.waiting_for(host) == 1
    assert copied.wake(1.0, host) is not None
    assert queue.waiting_for(host) == 1


def test_a_backend_of_a_thousand_is_served_in_order_without_a_look_at_the_others() -> None:
    queue: AdmissionQueue[int] = AdmissionQueue(10_000)
    for number in range(5000):
        queue.join(number, 0.0, backend=number % 1000 + 1)
    queue.join(-1, 0.0)
    assert [queue.waiting_for(backend) for backend in (1, 1000, 1001, None)] == [5, 5, 0, 1]
    woken = [entry.item for _ in range(7) if (entry := queue.wake(1.0, 1000))]
    assert woken == [999, 1999, 2999, 3999, 4999, -1]
    assert len(queue.backends) == 999
