"""The recipe in which a request waits for the backend of its key, against what the pool says.

No key is served elsewhere while its own backend is only full, no request is lost, each backend
serves in the order of arrival, and a backend that is down or leaves releases its requests.
"""

import sys
from collections import Counter
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    NoBackendAvailable,
    Pool,
)
from balancers.errors import InvalidKey, InvalidPick, InvalidSetting, MissingKey, QueueFull
from balancers.gates import CostLimit
from balancers.hashing import HashedBalancer, Maglev, OwnerOnly, Rendezvous
from balancers.overload import AdmissionQueue
from tests.depth import runs


def recipe() -> Any:
    path = Path(__file__).parents[2] / "docs" / "recipes" / "key_affinity.py"
    spec = spec_from_file_location("key_affinity", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["key_affinity"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


RECIPE = recipe()
METHODS: list[Any] = [partial(HashRing, points=8), Rendezvous, partial(Maglev, size=67)]


class Case:
    """Random requests, and what must be true after each of them."""

    def __init__(self, seed: int, maxqueue: float, panic: float | None = None) -> None:
        self.rng, self.now, self.maxqueue = Random(seed), 0.0, maxqueue
        self.method: Any = METHODS[seed % 3]
        self.lb: OwnerOnly[str] = OwnerOnly(self.method(["a", "b", "c", "d"]))
        self.health: HealthChecks[str] = HealthChecks(1)
        self.drain: Drain[str] = Drain(timeout=inf)
        gates: list[Any] = [ConnectionLimit(2), self.health, self.drain]
        self.rng.shuffle(gates)
        self.pool: Pool[str] = Pool(self.lb, gates, panic=panic)
        self.queue: AdmissionQueue[Any] = AdmissionQueue(30, timeout=40.0)
        self.room = RECIPE.KeyedRoom(self.pool, self.lb, self.queue, maxqueue)
        self.leases: list[Any] = []
        self.arrived = self.refused = self.started = self.failed = 0
        self.entries: list[Any] = []
        self.requests: dict[int, Any] = {}

    def order(self, request: Any) -> list[str]:
        """The backends of a request that are open or full, in the order of preference of its key.

        Those that had no place for it are left out.
        """
        ring: HashedBalancer[str] = self.method([*self.pool.backends])
        for backend in self.pool.backends:
            if not {*self.pool.state(backend)} <= {"saturated"}:
                ring.put(backend, 0)
        order = ring.succession(ring.hash_key(request.key))
        return [backend for backend in order if backend not in request.passed]

    def started_on(self, number: int, waited: list[Any], lease: Any) -> None:
        self.started += 1
        self.leases.append(lease)
        request = self.requests[number]
        assert self.order(request)[0] == lease.backend, "its own backend was only full"
        if not waited:
            for passed in request.passed:
                assert self.queue.waiting_for(passed) >= self.maxqueue
        for other in self.queue:
            if waited and waited[0] == other.backend == lease.backend:
                assert other.item.number > number

    def arrive(self) -> None:
        key = f"key {self.rng.randrange(12)}"
        waited: list[Any] = []
        number = self.arrived = self.arrived + 1
        request = RECIPE.Request(key, partial(self.started_on, number, waited), self.fail)
        request.number = number
        self.requests[number] = request
        try:
            entry = self.room.arrive(request, self.now)
        except (NoBackendAvailable, QueueFull):
            self.refused += 1
            return
        if entry is not None:
            waited.append(entry.backend)
            self.entries.append(entry)
            if entry.backend is not None:
                assert self.queue.waiting_for(entry.backend) <= self.maxqueue

    def fail(self, error: Exception) -> None:
        assert isinstance(error, NoBackendAvailable | TimeoutError)
        self.failed += 1

    def change(self) -> None:
        backend = self.rng.choice("abcd")
        what = self.rng.randrange(6)
        if what < 3 and backend not in self.pool:
            self.pool.add(backend, now=self.now)
        elif what < 2:
            self.health.observe(backend, self.rng.random() < 0.6, self.now)
        elif what == 2:
            (self.drain.begin if self.rng.random() < 0.4 else self.drain.cancel)(backend, self.now)
        elif what == 3 and backend in self.pool and len(self.pool) > 1:
            self.pool.remove(backend, self.now)
        elif what == 4 and backend not in self.pool:
            self.pool.add(backend, now=self.now)
        elif what == 5 and backend in self.pool:
            self.pool.set_weight(backend, self.rng.choice([0, 1, 1]), self.now)
        self.room.serve(self.now)

    def check(self) -> None:
        assert self.arrived == self.refused + self.started + self.failed + len(self.queue)
        for backend in self.queue.backends:
            state = self.pool.state(backend) if backend in self.pool else ("gone",)
            assert state == ("saturated",), "requests wait for a backend that is not only full"
            first = self.queue.peek(self.now, backend)
            assert first is not None
            assert self.order(first.item)[0] == backend
        assert self.queue.waiting_for(None) == 0


@pytest.mark.parametrize("maxqueue", [inf, 3, 0])
def test_requests_wait_for_their_own_backend(maxqueue: float) -> None:
    waited = 0
    for seed in range(runs(150)):
        case = Case(seed, maxqueue)
        for _ in range(200):
            case.now += case.rng.choice([0.0, 0.1, 0.5])
            what = case.rng.randrange(10)
            if what < 5:
                case.arrive()
            elif what < 8 and case.leases:
                lease = case.leases.pop(case.rng.randrange(len(case.leases)))
                case.room.release(lease, case.now)
            elif what == 8:
                case.change()
            elif case.entries and case.rng.random() < 0.3:
                if case.queue.leave(case.entries.pop()):
                    case.failed += 1
                case.room.serve(case.now)
            case.room.serve(case.now)
            case.check()
            waited += len(case.queue)
        while case.leases:
            case.now += 0.1
            case.room.release(case.leases.pop(), case.now)
        assert len(case.queue) == 0
    assert bool(waited) is (maxqueue > 0)


def test_a_busy_key_takes_no_turns_of_other_keys_under_a_limit_of_the_pool() -> None:
    lb = OwnerOnly(Rendezvous(["a", "b", "c"]))
    pool = Pool(lb, [ConnectionLimit(1)], limit=1)
    room = RECIPE.KeyedRoom(pool, lb, AdmissionQueue(100, timeout=inf))
    started: list[tuple[str, Any]] = []

    def arrive(owner: str, name: str) -> None:
        key = next(key for key in map(str, range(99)) if lb.owner(key) == owner)

        def start(lease: Any) -> None:
            started.append((name, lease))

        room.arrive(RECIPE.Request(key, start, print), 0.0)

    for owner, name in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")):
        arrive(owner, name)
    for number in range(3, 9):
        arrive("a", f"a{number}")
        room.release(started[-1][1], 0.0)
    assert [name for name, _ in started] == ["a1", "a2", "b1", "c1", "a3", "a4", "a5"]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_waiting_request_starts_once_though_others_leave_at_its_start(leaves: bool) -> None:
    """A start can release its lease at once, or cancel a request that waits for another backend."""
    lb = OwnerOnly(Rendezvous(["a", "b", "c"]))
    pool = Pool(lb, limit=2)
    room = RECIPE.KeyedRoom(pool, lb, AdmissionQueue(100, timeout=inf))
    held = [pool.acquire(0.0, str(number)) for number in range(2)]
    starts: Counter[str] = Counter()
    waiting: dict[str, Any] = {}

    def arrive(owner: str) -> None:
        key = next(key for key in map(str, range(99)) if lb.owner(key) == owner)

        def start(lease: Any) -> None:
            starts[owner] += 1
            if leaves:
                room.queue.leave(waiting["bac"["abc".index(owner)]])
            else:
                room.release(lease, 0.0)

        waiting[owner] = room.arrive(RECIPE.Request(key, start, print), 0.0)

    for owner in "abc":
        arrive(owner)
    for lease in held:
        pool.release(lease, 0.0)
    room.serve(0.0)
    assert starts == ({"a": 1, "c": 1} if leaves else {"a": 1, "b": 1, "c": 1})
    assert len(room.queue) == 0


def test_a_full_owner_is_named_and_the_next_one_after_it() -> None:
    lb = OwnerOnly(HashRing(["a", "b", "c"]))
    pool = Pool(lb, [ConnectionLimit(1)])
    order = HashRing(["a", "b", "c"]).replicas("user", 3)
    assert pool.plan(0.0, "user") == order
    assert pool.acquire(0.0, "user").backend == order[0]
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(1.0, "user")
    error = refused.value
    assert (error.reason, error.counts, error.full) == ("saturated", {"saturated": 1}, 1)
    with pytest.raises(NoBackendAvailable):
        pool.plan(1.0, "user")
    assert (lb.owner("user"), lb.owner("user", avoid=[order[0]])) == (order[0], order[1])
    assert pool.plan(1.0, "user", avoid=[order[0]]) == order[1:]
    assert pool.acquire(1.0, "user", avoid=[order[0]]).backend == order[1]
    assert pool.acquire(1.0, "user", avoid=order[:2]).backend == order[2]
    assert lb.owner("user", avoid=order) is None
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(1.0, "user", avoid=order)
    assert refused.value.full == 0
    assert pool.explain(2.0, "user").error is not None


def test_the_refusal_of_a_full_owner_counts_what_the_caller_avoids() -> None:
    lb = OwnerOnly(Rendezvous(["a", "b", "c", "d"]))
    pool = Pool(lb, [ConnectionLimit(1)])
    first, second, third, _ = lb.over.replicas("user", 4)
    pool.acquire(0.0, "user")
    pool.acquire(0.0, among=[second])
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0, "user", avoid=[second, third, "no member"])
    assert (refusal.value.reason, refusal.value.full) == ("saturated", 1)
    assert refusal.value.counts == {"saturated": 2, "avoided": 1}
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0, "user", avoid=[first, third])
    assert (refusal.value.reason, refusal.value.full) == ("saturated", 1)
    assert refusal.value.counts == {"saturated": 2, "avoided": 1}


def test_a_closed_owner_passes_its_keys_on_and_gets_them_back_while_it_is_full() -> None:
    health: HealthChecks[str] = HealthChecks(1, healthy_threshold=1)
    lb = OwnerOnly(Rendezvous(["a", "b", "c"]))
    pool = Pool(lb, [ConnectionLimit(1), health], panic=None)
    first, second, _ = Rendezvous(["a", "b", "c"]).replicas("user", 3)
    lease = pool.acquire(0.0, "user")
    health.observe(first, False, 1.0)
    assert pool.acquire(1.0, "user").backend == second
    health.observe(first, True, 2.0)
    with pytest.raises(NoBackendAvailable):
        pool.acquire(2.0, "user")
    assert lb.owner("user") == first
    pool.release(lease, 3.0)
    assert pool.acquire(3.0, "user").backend == first
    pool.set_weight(first, 0, 4.0)
    assert lb.owner("user") == second
    pool.set_weight(first, 5, 4.0)
    assert lb.owner("user") == first
    pool.remove(first, 5.0)
    pool.add(first, now=5.0)
    assert pool.acquire(5.0, "user").backend == first


def test_a_request_waits_for_its_owner_while_only_its_cost_does_not_fit() -> None:
    lb = OwnerOnly(Rendezvous(["a", "b", "c"]))
    costs: CostLimit[str] = CostLimit(10)
    pool = Pool(lb, [costs])
    first, second, _ = lb.over.replicas("user", 3)
    lease = pool.acquire(0.0, "user", cost=6)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0, "user", cost=5)
    assert (refusal.value.reason, refusal.value.full) == ("saturated", 1)
    assert refusal.value.counts == {"saturated": 1}
    assert pool.explain(0.0, "user", cost=5).backend is None
    assert pool.acquire(0.0, "user", cost=5, avoid=[first]).backend == second
    assert pool.acquire(0.0, "user", cost=4).backend == lease.backend == first
    pool.release(lease, 1.0)
    assert pool.acquire(1.0, "user", cost=5).backend == first
    costs.set(first, 4)  # the cost is too large for it, and it will never fit
    assert pool.acquire(1.0, "user", cost=5).backend == second


def test_a_refused_update_keeps_the_owners() -> None:
    lb = OwnerOnly(HashRing(["a", "b"]))
    pool = Pool(lb, [ConnectionLimit(1)])
    owner = pool.acquire(0.0, "user").backend
    with pytest.raises(ValueError, match="weight"):
        pool.update({"a": 1, "c": 10**9}, 1.0)
    assert lb.owner("user") == owner
    with pytest.raises(NoBackendAvailable):
        pool.acquire(1.0, "user")


def test_without_a_pool_a_weight_of_0_is_closed() -> None:
    lb = OwnerOnly(HashRing({"a": 1, "b": 0}))
    assert {lb.pick(f"{n}") for n in range(50)} == {"a"}
    assert lb.plan(3, "x") == ["a"]
    lb.put("b", 1)
    lb.condition_changed("b", "full")
    lb.put("b", 0)
    assert {lb.owner(f"{n}") for n in range(50)} == {"a", "b"}
    lb.condition_changed("b", "down")
    assert {lb.owner(f"{n}") for n in range(50)} == {"a"}
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        OwnerOnly(HashRing({"a": 0})).pick("x")


def test_bad_arguments_are_refused() -> None:
    lb: Any = OwnerOnly(HashRing(["a"]))
    wrong: Any
    for wrong in (HashRing, "ring", lb, None):
        with pytest.raises(InvalidSetting, match="over"):
            OwnerOnly(wrong)
    for method in (lb.pick, lb.owner):
        with pytest.raises(InvalidKey):
            method(1 << 70)
        with pytest.raises(TypeError):
            method("x", avoid="a")
    for call in (lb.pick, lambda: lb.owner(None), lambda: lb.plan(1)):
        with pytest.raises(MissingKey):
            call()
    with pytest.raises(InvalidSetting):
        lb.plan(0, "x")
    lb.over.put("z")
    with pytest.raises(InvalidPick):
        [lb.pick(f"{n}") for n in range(50)]


def test_a_plan_ends_before_the_first_owner_that_is_full() -> None:
    lb = OwnerOnly(Rendezvous(["a", "b", "c"]))
    order = Rendezvous(["a", "b", "c"]).replicas("key", 3)
    for full in (order[2], order[1]):
        lb.condition_changed(full, "full")
        lb.put(full, 0)
        assert lb.plan(3, "key") == order[: order.index(full)]
        assert lb.plan(1, "key") == [order[0]]
    with pytest.raises(NoBackendAvailable) as refused:
        lb.plan(3, "key", avoid=[order[0]])
    assert (refused.value.reason, refused.value.full) == ("saturated", 1)


def test_a_member_that_joins_again_is_not_full_and_has_no_weight_of_before() -> None:
    lb = OwnerOnly(Rendezvous(["a", "b"]))
    lb.condition_changed("b", "full")
    lb.put("b", 0)
    lb.discard("b")
    lb.put("b", 0)
    assert {lb.owner(f"{number}") for number in range(50)} == {"a"}
    lb.condition_changed("b", "full")
    assert {lb.owner(f"{number}") for number in range(50)} == {"a"}, "it never had a weight"
    assert dict(lb.over.weights) == {"a": 1, "b": 0}


def test_it_takes_fractions_if_the_balancer_below_does() -> None:
    class Fractional(Rendezvous[str]):
        fractional = True

    assert OwnerOnly(Fractional(["a"])).fractional
    assert not OwnerOnly(Rendezvous(["a"])).fractional
