"""Costs of requests: what a pool counts, what it avoids, and what it refuses."""

from fractions import Fraction
from math import inf, nan
from random import Random
from typing import Any, cast

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
    HashRing,
    HealthChecks,
    Lease,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    PowerOfTwoChoices,
    RoundRobin,
)
from balancers.errors import AlreadyReleased, ForeignLease, InvalidSetting
from balancers.gate import NoRoom
from balancers.gates import CostLimit, CostRateLimit, MemberGate, RequestRateLimit
from balancers.loads import InFlightCost
from tests.depth import runs

NAMES = st.sampled_from("abcd")
COSTS = st.sampled_from([0, 1, 2, 3, 5, 8, 9, 30])


def refusal(pool: Pool[str], now: float = 0.0, **request: Any) -> NoBackendAvailable:
    explained = pool.explain(now, **request)
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(now, **request)
    assert (str(explained.error), explained.backend) == (str(refused.value), None)
    assert isinstance(explained.error, NoBackendAvailable)
    assert explained.error.full == refused.value.full
    return refused.value


class Failing(MemberGate[str, None]):
    """Raises when the cost changes, if it is told to."""

    reason = "failing"
    fails = False

    def new_state(self, now: float) -> None:
        return None

    def factor(self, backend: str, now: float) -> float:
        return 1

    def charged(self, backend: str, change: int, now: float) -> None:
        if self.fails:
            raise ArithmeticError(f"{backend} {change}")


class CostMachine(RuleBasedStateMachine):
    """Costs in flight, beside a dict of the costs of all leases of current members."""

    LIMIT = 9

    def __init__(self) -> None:
        super().__init__()
        self.load: InFlightCost[str] = InFlightCost()
        self.limits = CostLimit[str](self.LIMIT), CostLimit[str](self.LIMIT)
        self.failing = Failing()
        gates: list[Any] = [self.limits[0], self.failing, self.limits[1], Drain[str]()]
        balancer: Any = PowerOfTwoChoices(rng=Random(1), load=self.load)
        self.pool: Pool[str] = Pool(balancer, gates)
        self.costs: dict[Lease[str], int] = {}
        self.own_limits: dict[str, int] = {}
        self.now = 0.0

    def cost_on(self, backend: str) -> int:
        return sum(cost for lease, cost in self.costs.items() if self.is_on(lease, backend))

    def is_on(self, lease: Lease[str], backend: str) -> bool:
        current = lease.backend == backend and backend in self.pool.backends
        return current and lease.generation == self.pool.generation(backend)

    def limit_of(self, backend: str) -> int:
        return self.own_limits.get(backend, self.LIMIT)

    @initialize(members=st.sets(NAMES, min_size=1))
    def begin(self, members: set[str]) -> None:
        self.pool.update(sorted(members))

    @rule(members=st.sets(NAMES))
    def update(self, members: set[str]) -> None:
        self.pool.update(sorted(members), self.now)
        for backend in {*self.own_limits} - members:
            del self.own_limits[backend]

    @rule(backend=NAMES, limit=st.sampled_from([None, 1, 4, 20]))
    def set_limit(self, backend: str, limit: int | None) -> None:
        if backend in self.pool.backends:
            for gate in self.limits:
                gate.set(backend, limit, self.now)
            self.own_limits[backend] = self.LIMIT if limit is None else limit

    @rule(cost=COSTS, prefer=st.none() | NAMES, fails=st.booleans())
    def acquire(self, cost: int, prefer: str | None, fails: bool) -> None:
        rooms = {b: self.limit_of(b) - self.cost_on(b) for b in self.pool.backends}
        able = {b for b, room in rooms.items() if room > 0 and room >= cost}
        assert {b for b in rooms if self.pool.admits(b, cost=cost)} == able
        waiting = {b for b in rooms if b not in able and cost <= self.limit_of(b)}
        assert {b for b in rooms if self.pool.full(b, cost=cost)} == waiting
        self.failing.fails = fails
        try:
            lease = self.pool.acquire(self.now, prefer=prefer, cost=cost)
        except ArithmeticError:
            assert fails
            assert cost
            assert able
        except NoBackendAvailable as error:
            assert not able
            self.check_refusal(error, len(rooms), len(waiting))
        else:
            assert lease.backend in able
            assert lease.cost == cost
            if prefer in able:
                assert lease.backend == prefer
            self.costs[lease] = cost
        self.failing.fails = False

    def check_refusal(self, error: NoBackendAvailable, members: int, waiting: int) -> None:
        assert error.full == waiting
        assert error.counts.get("too large", 0) == members - waiting
        if members:
            assert (error.reason == "too large") is (waiting == 0)

    @rule(data=st.data(), cost=st.none() | COSTS, fails=st.booleans())
    def progress(self, data: st.DataObject, cost: int | None, fails: bool) -> None:
        if self.costs:
            lease = data.draw(st.sampled_from([*self.costs]))
            before = self.costs[lease]
            changes = cost is not None and cost != before and self.is_on(lease, lease.backend)
            self.failing.fails = fails
            if fails and changes:
                with pytest.raises(ArithmeticError):
                    self.pool.progress(lease, self.now, cost)
            else:
                self.pool.progress(lease, self.now, cost)
            self.failing.fails = False
            self.costs[lease] = before if cost is None else cost

    @rule(data=st.data(), fails=st.booleans())
    def release(self, data: st.DataObject, fails: bool) -> None:
        if self.costs:
            lease = data.draw(st.sampled_from([*self.costs]))
            self.failing.fails = fails
            changes = self.costs[lease] and self.is_on(lease, lease.backend)
            if fails and changes:
                with pytest.raises(ArithmeticError):
                    self.pool.release(lease, self.now)
            else:
                self.pool.release(lease, self.now)
            self.failing.fails = False
            del self.costs[lease]
            assert lease.cost == 0
            with pytest.raises(AlreadyReleased):
                self.pool.progress(lease, self.now, 5)

    @invariant()
    def the_costs_agree(self) -> None:
        for backend in "abcd":
            cost = self.cost_on(backend)
            assert self.load.value(backend, self.now) == cost
            if backend in self.pool.backends:
                assert self.pool.cost_in_flight(backend) == cost
                assert [gate.cost_on(backend) for gate in self.limits] == [cost, cost]
        for lease, cost in self.costs.items():
            assert lease.cost == cost

    def teardown(self) -> None:
        for lease in self.costs:
            self.pool.release(lease, self.now)
        self.costs.clear()
        self.the_costs_agree()


def test_costs_against_a_dict() -> None:
    run_state_machine_as_test(
        CostMachine, settings=settings(max_examples=runs(400), stateful_step_count=40)
    )


def test_a_cost_above_every_limit_is_not_worth_waiting_for() -> None:
    limit: CostLimit[str] = CostLimit(10)
    pool = Pool(LeastConnections(["a", "b"]), [limit])
    for prefer in (None, "a"):
        error = refusal(pool, cost=11, prefer=prefer)
        assert (error.reason, error.full, error.retry_at) == ("too large", 0, inf)
        assert error.counts == {"too large": 2}
    pool.acquire(0.0, prefer="a", cost=10)  # closes a, which still never takes 11
    error = refusal(pool, cost=11)
    assert (error.reason, error.full) == ("too large", 0)
    assert error.counts == {"too large": 2, "saturated": 1}
    limit.set("b", 30)
    pool.acquire(0.0, prefer="b", cost=25)
    error = refusal(pool, cost=11)
    assert (error.reason, error.full) == ("saturated", 1)
    error = refusal(pool, cost=11, avoid=["b"])
    assert (error.reason, error.full) == ("mixed", 0)
    assert error.counts == {"too large": 1, "saturated": 1, "avoided": 1}
    error = refusal(pool, cost=11, prefer="a", strict=True)
    assert (error.reason, error.full) == ("mixed", 0)
    assert refusal(pool, cost=11, among=["a"]).full == 0
    assert refusal(pool, cost=11, among=["b", "a"]).full == 1


def test_a_refusal_counts_other_reasons_beside_the_cost() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    limit: CostLimit[str] = CostLimit(10)
    pool = Pool(LeastConnections(["a", "b", "c"]), [health, limit], panic=None)
    health.observe("a", False, 0.0)
    for backend in ("b", "c"):
        pool.acquire(0.0, prefer=backend, cost=6)
    error = refusal(pool, cost=5)
    assert (error.reason, error.counts, error.full) == (
        "mixed",
        {"saturated": 2, "unhealthy": 1},
        2,
    )
    assert refusal(pool, cost=5, avoid=["b"]).full == 1
    assert pool.acquire(0.0, cost=4).backend in {"b", "c"}
    assert pool.snapshot().refusals["mixed"] == 2


def test_the_pool_limit_and_the_cost_refuse_together() -> None:
    pool = Pool(LeastConnections(["a", "b"]), [CostLimit[str](10)], limit=1)
    pool.acquire(0.0, prefer="a", cost=1)
    assert refusal(pool, cost=11).full == 0
    assert refusal(pool, cost=11).reason == "too large"
    error = refusal(pool, cost=10)
    assert (error.reason, error.full) == ("saturated", 2)


def test_a_bound_request_needs_room_too() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(LeastConnections(["a", "b"]), [drain, CostLimit[str](10)])
    drain.begin("a", 0.0)
    first = pool.acquire(0.0, prefer="a", cost=8)
    assert first.backend == "a"
    assert pool.acquire(0.0, prefer="a", cost=3).backend == "b"
    error = refusal(pool, prefer="a", strict=True, cost=3)
    assert (error.reason, error.full) == ("saturated", 1)
    error = refusal(pool, prefer="a", cost=8)
    assert (error.counts, error.full) == ({"saturated": 2, "draining": 1}, 2)
    pool.release(first, 1.0)
    assert pool.acquire(1.0, prefer="a", cost=10).backend == "a"


def test_two_limits_that_both_have_no_room() -> None:
    tokens, rate = CostLimit[str](10), CostRateLimit[str](60, 60.0, 20)
    pool = Pool(RoundRobin(["a"]), [tokens, rate])
    lease = pool.acquire(0.0, cost=8)
    error = refusal(pool, cost=5)  # the rate has room
    assert (error.reason, error.full, error.retry_at) == ("saturated", 1, inf)
    pool.release(pool.acquire(0.0, cost=2), 0.0)
    pool.release(lease, 0.0)
    pool.release(pool.acquire(0.0, cost=9), 0.0)
    error = refusal(pool, cost=4)  # the bucket has 1
    assert (error.reason, error.full, error.retry_at) == ("rate limited", 0, 3.0)
    lease = pool.acquire(3.0, cost=4)
    pool.progress(lease, 3.0, cost=9)
    error = refusal(pool, 3.0, cost=2)
    assert (error.counts, error.full, error.retry_at) == (
        {"saturated": 1, "rate limited": 1},
        0,
        9.0,
    )


BAD = [-1, nan, 1.5, 2.0, True, inf, "7", Fraction(3), -(10**400), 0.0, False, "", ()]


@pytest.mark.parametrize("cost", BAD)
def test_a_bad_cost_is_refused_and_changes_nothing(cost: Any) -> None:
    pool = Pool(LeastConnections(["a"]), [CostLimit[str](10)])
    lease = pool.acquire(0.0, cost=3)
    before = pool.snapshot()
    calls: list[Any] = [
        lambda: pool.acquire(5.0, cost=cost),
        lambda: pool.progress(lease, 5.0, cost=cost),
        lambda: pool.explain(5.0, cost=cost),
        lambda: pool.admits("a", cost=cost),
        lambda: pool.full("a", cost=cost),
    ]
    for call in calls:
        with pytest.raises(InvalidSetting, match="cost must be an int, 0 or more"):
            call()
    with pytest.raises(InvalidSetting, match="cost must be an int, 0 or more, not None"):
        pool.acquire(5.0, cost=cast("Any", None))
    assert pool.snapshot() == before
    assert lease.cost == 3


def test_a_cost_may_be_as_large_as_memory_allows() -> None:
    huge = 10**400
    gates: list[Any] = [CostLimit[str](huge), CostRateLimit[str](huge), RequestRateLimit[str](5)]
    pool = Pool(LeastConnections(["a"]), gates)
    assert refusal(pool, cost=huge + 1).reason == "too large"
    lease = pool.acquire(0.0, cost=huge)
    assert refusal(pool, 1.0).reason in {"saturated", "mixed"}
    pool.progress(lease, 1.0, cost=huge * 10**400)
    pool.release(lease, 2.0)
    assert pool.cost_in_flight("a") == 0
    assert refusal(pool, 3.0).retry_at == inf
    assert gates[1].level("a", 3.0) == -inf
    assert repr(gates)


def test_progress_after_the_release_or_of_another_pool_is_refused() -> None:
    pool = Pool(LeastConnections(["a"]), [CostLimit[str](10)])
    other = Pool(LeastConnections(["a"]))
    lease = pool.acquire(0.0, cost=3)
    with pytest.raises(ForeignLease):
        other.progress(lease, 1.0, cost=9)
    with pytest.raises(TypeError):
        pool.progress("lease", 1.0, cost=9)  # type: ignore[arg-type]  # the wrong type
    pool.progress(lease, 1.0, cost=9)
    pool.progress(lease, 2.0, cost=4)
    assert (pool.cost_in_flight("a"), lease.cost) == (4, 4)
    pool.release(lease, 3.0)
    with pytest.raises(AlreadyReleased):
        pool.progress(lease, 4.0, cost=1)
    assert pool.cost_in_flight("a") == 0


def test_the_lease_of_a_former_member_changes_only_itself() -> None:
    limit: CostLimit[str] = CostLimit(10)
    load: InFlightCost[str] = InFlightCost()
    pool = Pool(PowerOfTwoChoices(["a"], rng=Random(1), load=load), [limit])
    old = pool.acquire(0.0, cost=7)
    pool.remove("a", 1.0)
    pool.progress(old, 1.0, cost=9)
    pool.add("a", now=1.0)
    pool.progress(old, 1.0, cost=8)
    new = pool.acquire(1.0, cost=10)
    assert (old.cost, new.cost, pool.cost_in_flight("a")) == (8, 10, 10)
    pool.release(old, 2.0)
    assert (pool.cost_in_flight("a"), limit.cost_on("a"), load.value("a", 2.0)) == (10, 10, 10)


def test_requests_without_a_cost_ask_no_gate() -> None:
    class Counting(CostLimit[str]):
        asked = 0

        def without_room(self, cost: int, now: float) -> Any:
            self.asked += 1
            return super().without_room(cost, now)

        def charged(self, backend: str, change: int, now: float) -> None:
            self.asked += 1

    gate = Counting(10)
    pool = Pool(LeastConnections(["a"]), [gate])
    lease = pool.acquire(0.0)
    pool.progress(lease, 1.0)
    pool.progress(lease, 1.0, cost=0)
    pool.release(lease, 2.0)
    assert gate.asked == 0


def test_a_gate_of_another_author_may_refuse_by_size() -> None:
    class Small:
        """A gate without a base class, which takes requests of up to 100 on backend a."""

        reason, soft, spares_bound, fractional, due = "small", False, False, False, inf

        def attach(self, *_: Any) -> None: ...
        def factor(self, *_: Any) -> float:
            return 1

        def changes(self, now: float) -> list[str]:
            return []

        def added(self, *_: Any) -> None: ...
        def removed(self, *_: Any) -> None: ...
        def recovered(self, *_: Any) -> None: ...
        def started(self, *_: Any) -> None: ...
        def finished(self, *_: Any) -> None: ...
        def without_room(self, cost: int, now: float) -> dict[str, NoRoom]:
            unknown = {"not a member": NoRoom("too large")}
            return {"a": NoRoom("small", True, 7.0), **unknown} if cost > 100 else {}

    gate: Any = Small()
    pool = Pool(HashRing(["a"]), [gate])
    assert pool.acquire(0.0, "key", cost=100).backend == "a"
    error = refusal(pool, key="key", cost=101)
    assert (error.reason, error.counts, error.full, error.retry_at) == ("small", {"small": 1}, 1, 7)
    assert pool.explain(0.0, "key", cost=101).members[0].excluded == ("small",)


def test_a_request_that_fails_to_start_costs_nothing() -> None:
    class Broken(LeastConnections[str]):
        def charged(self, backend: str, change: int, now: float) -> None:
            raise ArithmeticError("broken")

    limit: CostLimit[str] = CostLimit(10)
    pool = Pool(Broken(["a"]), [limit, ConnectionLimit[str](1)])
    for _ in range(3):
        with pytest.raises(ArithmeticError):
            pool.acquire(0.0, cost=7)
    assert (pool.cost_in_flight("a"), pool.in_flight("a"), limit.cost_on("a")) == (0, 0, 0)
    assert pool.acquire(0.0).backend == "a"


def test_the_first_of_several_exceptions_is_raised() -> None:
    class Wrong(MemberGate[str, None]):
        reason = "wrong"

        def __init__(self, name: str, *signs: int) -> None:
            super().__init__()
            self.name, self.signs = name, signs
            self.changes_seen: list[tuple[int, float]] = []

        def new_state(self, now: float) -> None:
            return None

        def factor(self, backend: str, now: float) -> float:
            return 1

        def charged(self, backend: str, change: int, now: float) -> None:
            self.changes_seen.append((change, now))
            if (change > 0) - (change < 0) in self.signs:
                raise ArithmeticError(f"{self.name} {change}")

    first, second = Wrong("first", -1), Wrong("second", 1, -1)
    pool = Pool(LeastConnections(["a"]), [first, second])
    with pytest.raises(ArithmeticError, match="second 5"):
        pool.acquire(1.0, cost=5)
    assert first.changes_seen == [(5, 1.0), (-5, 1.0)]
    assert second.changes_seen == [(5, 1.0)]
    second.signs = (-1,)
    lease = pool.acquire(2.0, cost=5)
    with pytest.raises(ArithmeticError, match="first -2"):
        pool.progress(lease, 3.0, cost=3)
    with pytest.raises(ArithmeticError, match="first -3"):
        pool.release(lease, 4.0)
    assert second.changes_seen[1:] == [(5, 2.0), (-2, 3.0), (-3, 4.0)]
    assert pool.cost_in_flight("a") == 0
