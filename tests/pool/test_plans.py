"""A pool's plan counts nothing and honours every gate; ``among`` is the caller's order."""

from copy import deepcopy
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers._internal.checks import shown
from balancers.errors import InvalidPick, InvalidSetting, InvalidTime, MissingKey, NotPlannable
from balancers.gates import RequestRateLimit
from balancers.membership import Membership


class Spy(RoundRobin[str]):
    """Notes the calls that a pool makes."""

    def __init__(self, backends: Any = ()) -> None:
        self.calls: list[tuple[Any, ...]] = []
        super().__init__(backends)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        self.calls.append(("pick",))
        return super().pick(key, now, avoid)

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        self.calls.append(("started", backend, bound))


def books(pool: Pool[str]) -> Any:
    shot = pool.snapshot()
    return [(m.backend, m.in_flight, m.requests, m.failures) for m in shot.members], shot.requests


def test_a_plan_counts_nothing() -> None:
    limit = ConnectionLimit[str](1)
    pool = Pool(LeastConnections(["a", "b", "c"]), [limit], limit=1)
    before = books(pool)
    for _ in range(50):
        assert len(pool.plan(1.0)) == 3
    assert books(pool) == before
    assert pool.snapshot().refusals == {}
    assert all(pool.admits(backend) for backend in pool.backends)


def test_a_plan_honours_every_gate_the_weights_and_avoid() -> None:
    health, drain, limit = HealthChecks[str](1, 1), Drain[str](), ConnectionLimit[str](1)
    pool = Pool(RoundRobin([*"abcdefg"]), [health, drain, limit])
    health.observe("a", False, 0.0)
    drain.begin("b", 0.0)
    pool.acquire(0.0, prefer="c")
    pool.set_weight("d", 0, 0.0)
    for avoid in (["e"], {"e"}, {"e": 1}, ("e", "no member")):
        assert sorted(pool.plan(0.0, n=9, avoid=avoid)) == ["f", "g"]
    health.observe("a", True, 1.0)
    assert sorted(pool.plan(1.0, n=9)) == ["a", "e", "f", "g"]


def test_a_plan_applies_what_is_due() -> None:
    health = HealthChecks[str](1, 1, recovery_time=5.0)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert pool.plan(1.0) == ["b"]
    assert sorted(pool.plan(6.0)) == ["a", "b"]
    assert pool.plan(2.0)  # an earlier time counts as the latest one


def test_a_plan_in_a_panic_has_the_members_that_a_request_would_get() -> None:
    health = HealthChecks[str](1, 1)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    for backend in ("a", "b"):
        health.observe(backend, False, 0.0)
    assert sorted(pool.plan(0.0)) == ["a", "b"]
    strict = Pool(RoundRobin(["a"]), [health2 := HealthChecks[str](1, 1)], panic=None)
    health2.observe("a", False, 0.0)
    with pytest.raises(NoBackendAvailable, match="unhealthy"):
        strict.plan(0.0)


def remove_all(pool: Pool[str]) -> None:
    pool.update([])


def quiesce_all(pool: Pool[str]) -> None:
    pool.update(dict.fromkeys([*pool.backends], 0))


def occupy_all(pool: Pool[str]) -> None:
    for _ in "ab":
        pool.acquire(0.0)


def occupy_one(pool: Pool[str]) -> None:
    pool.acquire(0.0)


def change_nothing(_: Pool[str]) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "avoid"),
    [
        (remove_all, ()),
        (quiesce_all, ()),
        (occupy_all, ()),
        (change_nothing, ["a", "b"]),
        (occupy_one, ["a", "b"]),
    ],
)
@pytest.mark.parametrize("limit", [None, 2])
def test_a_refused_plan_has_the_words_of_a_refused_request(
    change: Any, avoid: Any, limit: int | None
) -> None:
    pool = Pool(RoundRobin(["a", "b"]), [ConnectionLimit[str](1)], limit=limit)
    change(pool)
    with pytest.raises(NoBackendAvailable) as request:
        deepcopy(pool).acquire(0.0, avoid=avoid)
    with pytest.raises(NoBackendAvailable) as plan:
        pool.plan(0.0, avoid=avoid)
    for name in ("reason", "counts", "retry_at", "full"):
        assert getattr(plan.value, name) == getattr(request.value, name)


def test_a_plan_does_not_change_what_is_explained_later_but_by_one_turn() -> None:
    pool = Pool(WeightedRoundRobin({"a": 5, "b": 1, "c": 1}))
    for _ in range(20):
        twin = deepcopy(pool)
        assert pool.plan(0.0)[0] == twin.explain(0.0).backend == twin.acquire(0.0).backend
        assert pool.explain(0.0).backend == twin.explain(0.0).backend


class Plain(Membership[str]):
    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        return next(b for b, weight in self.weights.items() if weight and b not in avoid)


class Wrong(Plain):
    planned: Any = None

    def plan(self, n: int, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return self.planned


def test_bad_plans_and_arguments_are_typed_errors() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    for bad in (0, -1, True, 1.5, None, "2"):
        with pytest.raises(InvalidSetting, match="n must be an int, 1 or more"):
            pool.plan(0.0, n=bad)  # type: ignore[arg-type]  # a wrong n is the test
    with pytest.raises(InvalidTime):
        pool.plan(float("nan"))
    with pytest.raises(TypeError, match="avoid"):
        pool.plan(0.0, avoid="a")
    with pytest.raises(MissingKey):
        Pool(HashRing(["a"])).plan(0.0)
    with pytest.raises(NotPlannable, match="Plain"):
        Pool(Plain(["a"])).plan(0.0)
    wrong = Wrong(["a"])
    unusual: Pool[str] = Pool(wrong)
    wrong.planned = ["a", "elsewhere"]
    with pytest.raises(InvalidPick, match="planned 'elsewhere', not a member"):
        unusual.plan(0.0)
    for planned in ([["a"]], None, 7, "a", ("a",), {"a": 1}, iter(["a"])):
        wrong.planned = planned
        with pytest.raises(InvalidPick, match="not a list of backends") as error:
            unusual.plan(0.0)
        assert f"Wrong: 1 of 1 open> planned {shown(planned)}, " in str(error.value)
    vars(wrong)["plan"] = None
    with pytest.raises(NotPlannable, match="Wrong"):
        unusual.plan(0.0)
    assert pool.plan(0.0) == ["a", "b"]


def test_among_is_in_the_order_of_the_caller_and_does_not_ask_the_balancer() -> None:
    spy = Spy(["a", "b", "c"])
    pool = Pool(spy)
    for among in (["c", "a"], ("c", "b"), ["no member", "c"], ["c", "c", "a"]):
        lease = pool.acquire(0.0, among=among)
        assert (lease.backend, lease.bound) == ("c", False)
        pool.release(lease, 1.0)
    assert spy.calls == [("started", "c", False)] * 4
    assert pool.acquire(1.0).backend == "a"


def test_among_is_no_debt_of_weighted_round_robin() -> None:
    pool = Pool(WeightedRoundRobin({"a": 1, "b": 1}))
    picks = [pool.plan(0.0)[0] for _ in range(10)]
    for backend in picks:
        pool.acquire(0.0, among=[backend])
    assert picks == [*"ababababab"]


def test_among_honours_gates_limits_and_avoid() -> None:
    health, drain = HealthChecks[str](1, 1), Drain[str]()
    pool = Pool(RoundRobin([*"abcd"]), [health, drain, ConnectionLimit[str](1)])
    health.observe("a", False, 0.0)
    drain.begin("b", 0.0)
    assert pool.acquire(0.0, among=[*"abcd"]).backend == "c"
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(0.0, among=[*"abcd", "e"], avoid=["d"])
    assert refused.value.counts == {
        "unhealthy": 1, "draining": 1, "saturated": 1, "avoided": 1, "unknown": 1,
    }  # fmt: skip
    assert (refused.value.reason, refused.value.full) == ("mixed", 1)
    assert pool.snapshot().refusals == {"mixed": 1}
    assert pool.acquire(0.0, among=[*"abcd"]).backend == "d"
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(0.0, among=["c", "d"])
    nothing: list[list[str] | tuple[str, ...]] = [[], ()]
    for empty in nothing:
        with pytest.raises(NoBackendAvailable):
            pool.acquire(0.0, among=empty)
    full = Pool(RoundRobin(["a", "b"]), limit=1)
    full.acquire(0.0)
    with pytest.raises(NoBackendAvailable, match="saturated"):
        full.acquire(0.0, among=["b"])


def test_bad_lists_are_refused_and_change_nothing() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    for bad in ("ab", b"a", {"a", "b"}, iter(["a"]), 7, {"a": 1}):
        with pytest.raises(TypeError, match="among must be a list"):
            pool.acquire(0.0, among=bad)  # type: ignore[arg-type]  # a wrong list is the test
    with pytest.raises(TypeError):
        pool.acquire(0.0, among=[["a"]])  # type: ignore[list-item]  # not hashable
    assert books(pool)[1] == 0
    assert [pool.acquire(0.0).backend for _ in range(2)] == ["a", "b"]


def test_a_preferred_backend_comes_before_the_list() -> None:
    pool = Pool(RoundRobin(["a", "b", "c"]))
    lease = pool.acquire(0.0, prefer="b", among=["c"])
    assert (lease.backend, lease.bound) == ("b", True)
    assert pool.acquire(0.0, prefer="no member", among=["c"]).backend == "c"


def test_the_least_tokens_of_the_first_three_of_a_key() -> None:
    balancer: Balancer[str] = HashRing([f"b{number}" for number in range(20)])
    pool, tokens = Pool(balancer), {f"b{number}": number * 7 % 20 for number in range(20)}
    for number in range(50):
        plan = pool.plan(0.0, f"key-{number}")
        lease = pool.acquire(0.0, among=sorted(plan, key=tokens.__getitem__), cost=number)
        assert lease.backend == min(plan, key=tokens.__getitem__)
        assert plan == HashRing([*balancer.weights]).replicas(f"key-{number}", 3)
        assert lease.cost == number


class Asked(RoundRobin[str]):
    """Stores the arguments of its plans."""

    asked: tuple[Any, ...] = ()

    def plan(self, n: int, key: Any = None, now: float = 0.0, avoid: Any = ()) -> list[str]:
        self.asked = n, key, now, {*avoid}
        return super().plan(n, key, now, avoid)


def test_the_balancer_gets_the_arguments_of_the_plan() -> None:
    lb = Asked(["a", "b"])
    pool = Pool(lb)
    pool.plan(2.5, "key", 7, ["a"])
    assert lb.asked == (7, "key", 2.5, {"a"})
    for n in (0, -1, 1.5, True, None, "3"):
        with pytest.raises(InvalidSetting, match="n must be an int, 1 or more"):
            pool.plan(3.0, n=n)  # type: ignore[arg-type]  # a wrong number is the test
    assert lb.asked[0] == 7


def test_a_full_pool_refuses_a_plan_before_the_balancer_is_asked() -> None:
    lb = Asked(["a", "b"])
    pool = Pool(lb, limit=1)
    lease = pool.acquire(0.0)
    with pytest.raises(NoBackendAvailable, match="saturated") as refused:
        pool.plan(0.0)
    assert (refused.value.full, lb.asked) == (2, ())
    pool.release(lease, 1.0)
    assert pool.plan(1.0, n=1) == ["b"]


def test_a_plan_knows_what_is_due_now() -> None:
    rate = RequestRateLimit[str](1, 1.0)
    lb = Asked(["a", "b"])
    pool = Pool(lb, [rate])
    for backend in "ab":
        pool.acquire(0.0, prefer=backend)
    with pytest.raises(NoBackendAvailable) as refused:
        pool.plan(0.5)
    assert (refused.value.reason, refused.value.retry_at, lb.asked) == ("rate limited", 1.0, ())
    assert pool.plan(1.0) == ["a", "b"]
    with pytest.raises(NoBackendAvailable, match="avoided"):
        pool.plan(1.0, avoid=["a", "b"])
    keyed = Pool(HashRing(["a"]), [RequestRateLimit[str](1, 1.0)])
    keyed.acquire(0.0, "key")
    with pytest.raises(MissingKey):
        keyed.plan(0.0)


def test_a_planned_backend_that_is_no_member_is_named() -> None:
    class Wrong(Asked):
        def plan(self, n: int, key: Any = None, now: float = 0.0, avoid: Any = ()) -> list[str]:
            return ["a", "x"]

    with pytest.raises(InvalidPick, match=r"<Wrong.* planned 'x', not a member"):
        Pool(Wrong(["a"])).plan(0.0)
