"""Every balancer in a pool with every gate that it accepts, compared with a model."""

import copy
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import permutations
from math import inf
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    Lease,
    NoBackendAvailable,
    Pool,
    SlowStart,
)
from balancers.errors import AlreadyReleased, InvalidSetting
from balancers.hashing import OwnerOnly
from tests.depth import runs
from tests.kinds import KINDS, Kind, by_name

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
WEIGHTS = st.sampled_from([0, 1, 1, 2, 3, 0.5])
KEY = "192.0.2.7"
RUNS, STEPS = runs(100), 50  # some runs end early: the test requires 70 % of the steps
LIMIT, FALL, RISE, RECOVERY = 3, 2, 2, 5.0
FULL, SPARING = {"saturated"}, {"draining", "quiesced", "leaving"}


@dataclass
class Model:
    """The expected state of one member."""

    weight: float
    since: float
    generation: int
    in_flight: int = 0
    limit: int = LIMIT
    drains: bool = False
    healthy: bool = True
    probed: bool = False
    streak: int = 0
    failures: int = 0
    flipped_at: float = 0.0
    recovers_at: float = inf
    kept_until: float | None = None

    def flip(self, healthy: bool, when: float) -> None:
        self.healthy, self.flipped_at = healthy, when
        self.streak = self.failures = 0
        self.recovers_at = inf

    def catch_up(self, now: float) -> None:
        if self.recovers_at <= now:
            self.flip(healthy=True, when=self.recovers_at)

    def probe(self, ok: bool, now: float) -> None:
        self.catch_up(now)
        self.probed, self.recovers_at = True, inf
        self.streak = 0 if ok == self.healthy else self.streak + 1
        if self.streak >= (FALL if self.healthy else RISE):
            self.flip(not self.healthy, now)

    def outcome(self, ok: bool | None, started_at: float, now: float) -> None:
        if ok is None or started_at < self.flipped_at:
            return
        if ok:
            self.failures = 0
            return
        self.catch_up(now)
        if self.healthy:
            self.failures += 1
            if self.failures >= FALL:
                self.flip(healthy=False, when=now)
                if not self.probed:
                    self.recovers_at = now + RECOVERY

    def closed(self) -> set[str]:
        reasons = {
            "quiesced": not self.weight,
            "leaving": self.kept_until is not None,
            "unhealthy": not self.healthy,
            "draining": self.drains,
            "saturated": self.in_flight >= self.limit,
        }
        return {reason for reason, holds in reasons.items() if holds}


def ignored_reasons(members: Iterable[Model], last_resort: bool, before: set[str]) -> set[str]:
    """Return the reasons that the pool ignores: as few as possible, so that a member is open.

    If no member can be opened, a panic stays as it is.
    """
    soft, drains = {"unhealthy"}, {"draining"}
    choices: list[set[str]] = [set(), drains, soft, drains | soft] if last_resort else [set(), soft]
    for ignored in choices:
        if any(not member.closed() - ignored for member in members):
            return ignored
    return before & soft


ACTIONS = [
    "leave",
    "re_add",
    "update",
    "update_and_keep",
    "tune",
    "acquire",
    "avoid_all",
    "plan",
    "among",
    "prefer",
    "release",
    "double_release",
    "drain",
    "probe",
    "tick",
    "copies_behave_alike",
]


class PoolMachine(RuleBasedStateMachine):
    """Every call goes to two pools with a different order of the gates."""

    kind: Kind
    steps: Counter[str]
    order: tuple[int, ...]
    last_resort: bool

    def __init__(self) -> None:
        super().__init__()
        self.pools: list[Pool[str]] = []
        self.gates: list[list[Any]] = []
        self.balancers: list[Any] = []
        for order in (range(4), self.order):
            balancer = self.kind.make()
            drain: Drain[str] = Drain(last_resort=self.last_resort)
            gates: list[Any] = [HealthChecks(FALL, RISE, RECOVERY), drain, ConnectionLimit(LIMIT)]
            gates.append(SlowStart(4.0, 4) if balancer.fractional else Drain())
            self.gates.append(gates)
            self.balancers.append(balancer)
            self.pools.append(Pool(balancer, [gates[place] for place in order]))
        self.members: dict[str, Model] = {}
        self.ignored: set[str] = set()
        self.now = 0.0
        self.serial = 0
        self.held: list[tuple[list[Lease[str]], str, int]] = []

    @initialize(members=st.dictionaries(NAMES, WEIGHTS, max_size=5))
    def begin(self, members: dict[str, float]) -> None:
        for backend, weight in members.items():
            self.add(backend, weight)

    @rule(action=st.sampled_from(ACTIONS), data=st.data())
    def step(self, action: str, data: st.DataObject) -> None:
        self.steps[action] += 1
        getattr(self, action)(data)

    def served(self, model: Model) -> bool:
        return not model.closed() - self.ignored

    def is_full(self, model: Model) -> bool:
        """Return whether the member would serve if its limit did not close it."""
        others = [other for other in self.members.values() if other is not model]
        freed = replace(model, in_flight=0)
        ignored = ignored_reasons([*others, freed], self.last_resort, self.ignored)
        return "saturated" in model.closed() and not freed.closed() - ignored

    def forget(self) -> None:
        """Remove the kept members whose time is over, last joined first."""
        for backend, model in reversed([*self.members.items()]):
            over = model.kept_until is not None and model.kept_until <= self.now
            is_last = backend == list(self.members)[-1]
            if over and not model.in_flight and (is_last or not self.kind.only_last_leaves):
                del self.members[backend]

    def add(self, backend: str, weight: float) -> None:
        self.request_nothing()
        for pool in self.pools:
            pool.add(backend, weight, self.now)
        self.note(backend, weight)

    def note(self, backend: str, weight: float) -> None:
        self.serial += 1
        self.members[backend] = Model(weight, self.now, self.serial, flipped_at=self.now)

    def leave(self, data: st.DataObject) -> None:
        self.remove(data.draw(NAMES))

    def remove(self, backend: str) -> str:
        """Remove a member and return it: the last member if only the last member can leave."""
        self.request_nothing()
        if backend not in self.members:
            return backend
        if self.kind.only_last_leaves and backend != list(self.members)[-1]:
            for pool in self.pools:
                with pytest.raises(InvalidSetting, match=repr(backend)):
                    pool.remove(backend, self.now)
            backend = list(self.members)[-1]
        for pool in self.pools:
            pool.remove(backend, self.now)
        del self.members[backend]
        self.settle()
        return backend

    def re_add(self, data: st.DataObject) -> None:
        backend = self.remove(data.draw(NAMES))
        self.add(backend, data.draw(WEIGHTS))

    def tune(self, data: st.DataObject) -> None:
        backend, weight = data.draw(NAMES), data.draw(WEIGHTS)
        n = data.draw(st.sampled_from([None, 1, 2, 5]))
        self.request_nothing()
        if backend in self.members:
            for pool in self.pools:
                pool.set_weight(backend, weight, self.now)
            self.members[backend].weight = weight
            self.settle()
            for gates in self.gates:
                gates[2].set(backend, n)
            self.members[backend].limit = LIMIT if n is None else n

    def update(self, data: st.DataObject) -> None:
        wanted = data.draw(st.dictionaries(NAMES, WEIGHTS, min_size=2, max_size=5))
        self.request_nothing()
        if self.kind.only_last_leaves:  # every member before the last one that stays, stays too
            staying = [place for place, b in enumerate(self.members) if b in wanted]
            for backend in list(self.members)[: max(staying, default=-1) + 1]:
                wanted.setdefault(backend, self.members[backend].weight)
        for pool in self.pools:
            pool.update(wanted, self.now)
        self.members = {b: model for b, model in self.members.items() if b in wanted}
        self.apply(wanted)

    def update_and_keep(self, data: st.DataObject) -> None:
        wanted = data.draw(st.dictionaries(NAMES, WEIGHTS, max_size=4))
        keep = data.draw(st.sampled_from([0.0, 1.0, 4.0]))
        self.request_nothing()
        for pool in self.pools:
            pool.update(wanted, self.now, keep=keep)
        for backend, model in self.members.items():
            if backend not in wanted and model.kept_until is None:
                model.kept_until = self.now + keep
        self.apply(wanted)

    def apply(self, wanted: dict[str, float]) -> None:
        for backend, weight in wanted.items():
            if backend in self.members:
                self.members[backend].weight = weight
                self.members[backend].kept_until = None
            else:
                self.note(backend, weight)

    def acquire(self, data: st.DataObject) -> None:
        avoid = data.draw(st.just(set[str]()) | st.sets(NAMES, max_size=3))
        for _ in range(data.draw(st.integers(1, 4))):
            self.check(avoid)

    def avoid_all(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from([list, set, tuple]))
        self.check(kind([*self.members, "no member"]))

    def plan(self, data: st.DataObject) -> None:
        """Plan, and compare the plan with the model, and its first backend with a request's."""
        avoid = data.draw(st.just(set[str]()) | st.sets(NAMES, max_size=3))
        n = data.draw(st.sampled_from([1, 2, 3, 9]))
        self.request_nothing()
        opened = {b for b, model in self.members.items() if self.served(model)} - avoid
        if not opened or self.waits(avoid):
            self.check_refused(lambda pool: pool.plan(self.now, KEY, n, avoid), avoid)
            return
        first = copy.deepcopy(self.pools[0]).acquire(self.now, KEY, avoid=avoid).backend
        plans = [pool.plan(self.now, KEY, n, avoid) for pool in self.pools]
        assert plans[0] == plans[1]
        assert plans[0][0] == first
        assert len(opened.intersection(plans[0])) == len(plans[0])
        until = len(plans[0]) if self.waits({*avoid, *plans[0]}) else len(opened)
        assert len(plans[0]) == min(n, until)

    def among(self, data: st.DataObject) -> None:
        """Acquire the first open backend of a list, in the order of the list."""
        among = data.draw(st.lists(NAMES, max_size=4))
        avoid = data.draw(st.just(set[str]()) | st.sets(NAMES, max_size=2))
        self.request_nothing()
        reasons: list[set[str]] = []
        for backend in dict.fromkeys(among):
            model = self.members.get(backend)
            closed = model.closed() - self.ignored if model is not None else {"unknown"}
            reasons.append(closed or ({"avoided"} if backend in avoid else set()))
        if set() in reasons:
            chosen = [*dict.fromkeys(among)][reasons.index(set())]
            leases = [pool.acquire(self.now, KEY, avoid=avoid, among=among) for pool in self.pools]
            assert leases[0].backend == chosen
            self.record(leases, False)
            return
        for pool in self.pools:
            with pytest.raises(NoBackendAvailable) as refusal:
                pool.acquire(self.now, KEY, avoid=avoid, among=among)
            assert refusal.value.counts == Counter(each for closed in reasons for each in closed)

    def prefer(self, data: st.DataObject) -> None:
        backend, strict = data.draw(NAMES), data.draw(st.booleans())
        self.request_nothing()
        model = self.members.get(backend)
        hard_to_bound = {"unhealthy", "saturated"} - self.ignored
        if model is not None and not model.closed() & hard_to_bound:
            self.record([pool.acquire(self.now, KEY, backend, strict) for pool in self.pools], True)
            assert self.held[-1][1] == backend
        elif strict:
            for pool in self.pools:
                with pytest.raises(NoBackendAvailable) as refusal:
                    pool.acquire(self.now, KEY, backend, strict)
                reasons = model.closed() & hard_to_bound if model else {"unknown"}
                assert set(refusal.value.counts) == reasons
                full = reasons == FULL or (model is not None and self.is_full(model))
                assert refusal.value.full == full
        else:
            self.check([], prefer=backend)

    def release(self, data: st.DataObject) -> None:
        if not self.held:
            return
        place = data.draw(st.integers(0, len(self.held) - 1))
        ok = data.draw(st.sampled_from([True, False, False, None]))
        leases, backend, generation = self.held.pop(place)
        for pool, lease in zip(self.pools, leases, strict=True):
            pool.release(lease, self.now, ok)
        model = self.members.get(backend)
        if model is not None and model.generation == generation:
            model.in_flight -= 1
            model.outcome(ok, leases[0].acquired_at, self.now)

    def double_release(self, data: st.DataObject) -> None:
        if self.held:
            leases = self.held[-1][0]
            self.release(data)
            if leases[0].released:
                for pool, lease in zip(self.pools, leases, strict=True):
                    with pytest.raises(AlreadyReleased):
                        pool.release(lease, self.now)

    def drain(self, data: st.DataObject) -> None:
        backend, begins = data.draw(NAMES), data.draw(st.booleans())
        if backend in self.members:
            for gates in self.gates:
                (gates[1].begin if begins else gates[1].cancel)(backend, self.now)
            self.members[backend].drains = begins

    def probe(self, data: st.DataObject) -> None:
        backend, ok = data.draw(NAMES), data.draw(st.booleans())
        if backend in self.members:
            for gates in self.gates:
                gates[0].observe(backend, ok, self.now)
            self.members[backend].probe(ok, self.now)

    def tick(self, data: st.DataObject) -> None:
        self.now += data.draw(st.sampled_from([0.25, 1.0, 3.0]))
        self.check([])
        self.check([], now=self.now - data.draw(st.sampled_from([0.0, 2.0])))

    def copies_behave_alike(self, data: st.DataObject) -> None:
        del data
        pool = self.pools[0]
        original = copy.deepcopy(pool)
        copies = [original, copy.deepcopy(original), pickle.loads(pickle.dumps(original))]  # noqa: S301 - own
        for turn in range(8):
            picks = {self.outcome(copied, self.now + turn / 4) for copied in copies}
            assert len(picks) == 1

    @staticmethod
    def outcome(pool: Pool[str], now: float) -> str:
        try:
            return pool.acquire(now, KEY).backend
        except NoBackendAvailable as refusal:
            return str(refusal)

    def request_nothing(self) -> None:
        """Make a request that is refused.  Only requests and changes remove kept members."""
        for pool in self.pools:
            with pytest.raises(NoBackendAvailable, match="unknown"):
                pool.acquire(self.now, KEY, "no member", strict=True)
        self.forget()
        self.catch_up()

    def catch_up(self) -> None:
        for model in self.members.values():
            model.catch_up(self.now)
        self.ignored = ignored_reasons(self.members.values(), self.last_resort, self.ignored)

    def settle(self) -> None:
        for pool in self.pools:
            pool.snapshot()
        self.catch_up()

    def check(self, avoid: Any, now: float | None = None, prefer: str | None = None) -> None:
        """Acquire, and compare the lease or the refusal with the model."""
        self.request_nothing()
        now = self.now if now is None else now
        opened = {backend for backend, model in self.members.items() if self.served(model)}
        if opened.difference(avoid) and not self.waits(avoid):
            leases = [pool.acquire(now, KEY, prefer, avoid=avoid) for pool in self.pools]
            assert leases[0].backend in opened.difference(avoid)
            self.record(leases, False)
            return
        self.check_refused(lambda pool: pool.acquire(now, KEY, prefer, avoid=avoid), avoid, prefer)

    def waits(self, avoid: Any) -> bool:
        """Return whether the key belongs to a backend that is full, and is refused for this."""
        balancer: Any = self.balancers[0]
        if type(balancer) is not OwnerOnly:
            return False
        owner: str | None = balancer.owner(KEY, avoid)
        return owner is not None and not self.served(self.members[owner])

    def check_refused(
        self, call: Callable[[Pool[str]], object], avoid: Any, prefer: str | None = None
    ) -> None:
        """Make a call that must be refused, and compare the refusal with the model."""
        opened = {backend for backend, model in self.members.items() if self.served(model)}
        ignored = self.ignored
        models = self.members.values()
        counts = Counter(reason for model in models for reason in model.closed() - ignored)
        waits = self.waits(avoid)
        counts += Counter(avoided=len(opened.intersection(avoid)) if waits else len(opened))
        home = self.members.get(prefer) if prefer is not None else None
        full = {b for b, model in self.members.items() if self.is_full(model)}
        if home is not None and home.closed() - ignored - SPARING == FULL:
            full.add(str(prefer))
        for pool in self.pools:
            with pytest.raises(NoBackendAvailable) as refusal:
                call(pool)
            assert Counter(refusal.value.counts) == counts
            shared = {reason for reason, count in counts.items() if count == len(self.members)}
            if waits:
                assert refusal.value.reason == "saturated"
            elif shared:
                assert refusal.value.reason in shared
            else:
                assert refusal.value.reason == ("mixed" if self.members else "empty")
            assert refusal.value.full == len(full.difference(avoid))
            assert refusal.value.retry_at == pool.due > self.now

    def record(self, leases: list[Lease[str]], bound: bool) -> None:
        first, second = leases
        assert first.panic is second.panic is ("unhealthy" in self.ignored)
        assert (first.backend, first.bound) == (second.backend, second.bound)
        assert first.bound is bound
        assert first.acquired_at == self.now
        model = self.members[first.backend]
        model.in_flight += 1
        self.held.append((leases, first.backend, model.generation))

    @invariant()
    def counts_equal_the_model(self) -> None:
        self.settle()
        for pool in self.pools:
            assert list(pool.backends) == list(self.members)
            assert len(pool) == len(self.members)
            for backend, model in self.members.items():
                assert pool.in_flight(backend) == model.in_flight
                assert pool.weight(backend) == model.weight
                assert set(pool.state(backend)) == model.closed()
                assert pool.admits(backend) is self.served(model)


ORDERS = list(permutations(range(4)))[1:]


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_every_balancer_in_a_pool_against_a_model(kind: Kind) -> None:
    steps: Counter[str] = Counter()
    order = ORDERS[KINDS.index(kind) * 2 % len(ORDERS)]
    machine = type(
        f"{kind.name} in a pool",
        (PoolMachine,),
        {"kind": kind, "steps": steps, "order": order, "last_resort": KINDS.index(kind) % 2 == 0},
    )
    run_state_machine_as_test(
        machine, settings=settings(max_examples=RUNS, stateful_step_count=STEPS)
    )
    assert sum(steps.values()) >= 0.6 * RUNS * STEPS
    rare = {name: steps[name] for name in ACTIONS if steps[name] < 0.015 * sum(steps.values())}
    assert not rare, f"actions that are rarely tested: {rare} of {sum(steps.values())}"
