"""Groups: views of some members of a pool, on one set of accounts."""

import copy
import gc
import pickle
from collections import Counter, deque
from collections.abc import Callable
from random import Random
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
    Outcome,
    Pool,
    PowerOfTwoChoices,
    Rendezvous,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import (
    AlreadyInUse,
    IncompatibleGate,
    InvalidSetting,
    InvalidWeight,
    MissingKey,
    UnknownBackend,
)
from balancers.hashing import Jump
from balancers.loads import InFlight
from balancers.pool import Group
from tests.depth import runs


class Books(Balancer[str]):
    """Counts what it is informed of, and fails when it is asked to."""

    fractional = True

    def __init__(self, backends: Any = ()) -> None:
        self.members: dict[str, float] = dict.fromkeys(backends, 1.0)
        self.in_flight: Counter[str] = Counter()
        self.costs: Counter[str] = Counter()
        self.firsts: list[float] = []
        self.conditions: dict[str, str] = {}
        self.outcomes: list[Outcome] = []
        self.fails: set[str] = set()

    @property
    def weights(self) -> dict[str, float]:
        return self.members

    def put(self, backend: str, weight: float = 1) -> None:
        self.fail("put", backend)
        self.members[backend] = weight

    def discard(self, backend: str) -> None:
        self.fail("discard", backend)
        self.members.pop(backend, None)
        del self.in_flight[backend], self.costs[backend]
        self.conditions.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        fit = [b for b, weight in self.members.items() if weight and b not in avoid]
        if not fit:
            raise NoBackendAvailable("avoided")
        return min(fit, key=self.in_flight.__getitem__)

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        self.fail("started", backend)
        assert backend in self.members
        self.in_flight[backend] += 1

    def finished(self, backend: str, outcome: Outcome = Outcome(), now: float = 0.0) -> None:  # noqa: B008 - it is immutable
        assert backend in self.members
        self.in_flight[backend] -= 1
        self.outcomes.append(outcome)
        self.fail("finished", backend)

    def charged(self, backend: str, change: int, now: float) -> None:
        assert backend in self.members
        self.costs[backend] += min(0, change)
        self.fail("charged", backend)
        self.costs[backend] += max(0, change)

    def progressed(self, backend: str, elapsed: float, now: float) -> None:
        assert backend in self.members
        self.firsts.append(elapsed)

    def condition_changed(self, backend: str, condition: str) -> None:
        self.conditions[backend] = condition

    def fail(self, method: str, backend: str) -> None:
        if {method, f"{method} {backend}"} & self.fails:
            raise RuntimeError(method)


def test_a_host_of_two_groups_is_counted_once_and_seen_by_both() -> None:
    pool = Pool(RoundRobin(["a", "b", "c"]))
    small, large = (pool.group(LeastConnections(), members) for members in (["a", "b"], ["b", "c"]))
    leases = [small.acquire(0.0) for _ in range(4)]
    assert [lease.backend for lease in leases] == ["a", "b", "a", "b"]
    assert [large.acquire(0.0).backend for _ in range(4)] == ["c", "c", "b", "c"]
    assert [pool.in_flight(b) for b in "abc"] == [2, 3, 3]
    for lease in leases:
        pool.release(lease, 1.0)
    assert [pool.in_flight(b) for b in "abc"] == [0, 1, 3]
    assert [large.acquire(1.0).backend for _ in range(2)] == ["b", "b"]


def test_all_requests_on_a_backend_reach_its_groups() -> None:
    own, one, two = Books("abc"), Books(), Books()
    pool = Pool(own)
    first, second = pool.group(one, ["a", "b"]), pool.group(two, ["b", "c"])
    leases = [
        pool.acquire(0.0, cost=5),
        first.acquire(1.0, prefer="b", cost=7),
        second.acquire(2.0, among=["c", "b"]),
        second.acquire(3.0, avoid=["c"], cost=2),
    ]
    assert [lease.backend for lease in leases] == ["a", "b", "c", "b"]
    assert [lease.bound for lease in leases] == [False, True, False, False]
    pool.progress(leases[1], 3.5, cost=4)
    for books, backends in ((own, "abc"), (one, "ab"), (two, "bc")):
        for backend in backends:
            assert books.in_flight[backend] == pool.in_flight(backend)
            assert books.costs[backend] == pool.cost_in_flight(backend)
    assert (own.firsts, one.firsts, two.firsts) == ([2.5], [2.5], [2.5])
    for lease in leases:
        pool.release(lease, 4.0, ok=False)
    for books in (own, one, two):
        assert not +books.in_flight
        assert not +books.costs
    assert [len(books.outcomes) for books in (own, one, two)] == [4, 3, 3]
    assert pool.snapshot().failures == 4


class Model:
    """What the balancer of a group must know, computed from the pool alone."""

    def __init__(self, pool: Pool[str], books: Books, group: Group[str]) -> None:
        self.pool, self.books, self.group = pool, books, group
        self.weights: dict[str, float] = {}
        self.generations: dict[str, int] = {}

    def check(self) -> None:
        pool, books = self.pool, self.books
        pool.panicking  # noqa: B018 - applies the changes that are due
        assert self.group.weights == self.weights
        assert [*books.members] == [*self.weights]
        for backend, weight in self.weights.items():
            state = {*pool.state(backend)}
            own = pool.weight(backend)
            expected = weight * pool.effective_weight(backend) / own if own else 0
            assert books.members[backend] == pytest.approx(expected)
            assert books.in_flight[backend] == pool.in_flight(backend)
            assert books.costs[backend] == pool.cost_in_flight(backend)
            if not weight or {"leaving", "quiesced", "draining"} & state:
                condition = "leaving"
            else:
                condition = "full" if state == {"saturated"} else "down" if state else "open"
            assert books.conditions.get(backend, "open") == condition

    def forget_leavers(self) -> None:
        pool = self.pool
        for backend in [*self.weights]:
            if backend not in pool or pool.generation(backend) != self.generations[backend]:
                del self.weights[backend]


@pytest.mark.parametrize("seed", range(runs(300)))
def test_the_balancer_of_a_group_knows_what_the_pool_knows(seed: int) -> None:  # noqa: C901, PLR0912 - one step for each action
    rng = Random(seed)
    health, drain, limit = HealthChecks[str](1), Drain[str](timeout=9.0), ConnectionLimit[str](2)
    slow: SlowStart[str] = SlowStart(window=5.0)
    gates: list[Any] = [health, drain, limit, slow]
    rng.shuffle(gates)
    own = Books("abcd")
    pool = Pool(own, gates, panic=rng.choice([None, 0.0, 0.5]))
    models: list[Model] = []
    for _ in range(2):
        books = Books()
        models.append(Model(pool, books, pool.group(books)))
    leases: list[Any] = []
    now = 0.0
    for _ in range(150):
        now += rng.choice([0.0, 0.0, 0.3, 2.0])
        backend, model = rng.choice("abcdef"), rng.choice(models)
        what = rng.randrange(14)
        try:
            if what < 4:
                asked: Any = rng.choice([pool, model.group])
                cost = rng.choice([0, 3])
                leases.append(asked.acquire(now, prefer=rng.choice([None, backend]), cost=cost))
                if asked is not pool:
                    assert leases[-1].backend in model.weights
            elif what < 7 and leases:
                lease = leases.pop(rng.randrange(len(leases)))
                pool.release(lease, now, ok=rng.random() < 0.7)
            elif what == 7:
                weight = rng.choice([0, 1, 2])
                model.group.put(backend, weight)
                model.weights[backend] = weight
                model.generations[backend] = pool.generation(backend)
            elif what == 8:
                model.group.discard(backend)
                model.weights.pop(backend, None)
            elif what == 9:
                pool.remove(backend, now)
            elif what == 10:
                pool.set_weight(backend, rng.choice([0, 1, 3]), now)
            elif what == 11:
                members, keep = rng.sample("abcdef", 4), rng.choice([None, 3.0])
                pool.update(members, now, keep)
            elif what == 12:
                health.observe(backend, rng.random() < 0.5, now)
            else:
                (drain.begin if rng.random() < 0.5 else drain.cancel)(backend, now)
        except (NoBackendAvailable, UnknownBackend):
            pass
        for each in models:
            each.forget_leavers()
            each.check()


def test_a_backend_that_joins_again_is_not_back_in_its_group() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    group = pool.group(LeastConnections(), ["a", "b"])
    old = group.acquire(0.0)
    pool.remove("a", 1.0)
    pool.add("a", now=2.0)
    assert dict(group.weights) == {"b": 1}
    assert [group.acquire(3.0).backend for _ in range(2)] == ["b", "b"]
    group.put("a")
    pool.release(old, 4.0)
    assert group.acquire(4.0).backend == "a"


def test_a_backend_joins_a_group_with_its_requests_and_costs_in_flight() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    leases = [pool.acquire(0.0, cost=10) for _ in range(4)]
    books = Books()
    group = pool.group(books, ["a"])
    assert (books.in_flight["a"], books.costs["a"]) == (2, 20)
    group.discard("a")
    assert books.members == {}
    for lease in leases[:2]:
        pool.release(lease, 1.0)
    group.put("a", 2)
    assert (books.in_flight["a"], books.costs["a"], group.weights["a"]) == (1, 10, 2)
    pool.release(leases[2], 2.0)
    assert (books.in_flight["a"], books.costs["a"]) == (0, 0)


def test_a_refusal_counts_the_members_of_the_group_only() -> None:
    limit: ConnectionLimit[str] = ConnectionLimit(1)
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(list("abcdef")), [limit, drain], limit=5)
    group = pool.group(LeastConnections(), ["a", "b", "c"])
    drain.begin("a", 0.0)
    group.put("c", 0)
    group.acquire(0.0)
    with pytest.raises(NoBackendAvailable) as refused:
        group.acquire(0.0)
    error = refused.value
    assert (error.reason, error.counts, error.full) == (
        "mixed",
        {"saturated": 1, "draining": 1, "quiesced": 1},
        1,
    )
    for _ in range(4):
        pool.acquire(0.0)
    with pytest.raises(NoBackendAvailable) as refused:
        group.acquire(0.0)
    assert refused.value.counts["saturated"] == 3
    assert sum(pool.snapshot().refusals.values()) == 2
    with pytest.raises(NoBackendAvailable, match="unknown"):
        group.acquire(0.0, prefer="d", strict=True)
    with pytest.raises(NoBackendAvailable) as refused:
        Pool(RoundRobin(["x"])).group(LeastConnections()).acquire(0.0)
    assert (refused.value.reason, refused.value.counts) == ("empty", {})


def test_the_list_of_a_request_is_restricted_to_the_group() -> None:
    pool = Pool(RoundRobin(["a", "b", "c"]))
    group = pool.group(RoundRobin(), ["b", "c"])
    assert group.acquire(0.0, among=["a", "c", "b"]).backend == "c"
    with pytest.raises(NoBackendAvailable) as refused:
        group.acquire(0.0, among=["a"])
    assert refused.value.counts == {"unknown": 1}
    group.put("c", 0)
    with pytest.raises(NoBackendAvailable) as refused:
        group.acquire(0.0, among=["c"])
    assert refused.value.counts == {"quiesced": 1}


def test_a_group_plans_its_own_members() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(LeastConnections(["a", "b", "c", "d"]), [drain])
    group = pool.group(RoundRobin(), ["b", "c", "d"])
    assert [group.plan(0.0, n=2) for _ in range(2)] == [["b", "c"], ["c", "d"]]
    drain.begin("c", 1.0)
    assert group.plan(1.0, n=9) == ["d", "b"]
    keyed = pool.group(HashRing(), ["a", "b"])
    assert keyed.plan(1.0, "user") == HashRing(["a", "b"]).replicas("user", 2)
    for call in (keyed.plan, keyed.acquire):
        with pytest.raises(MissingKey):
            call(1.0)


def test_a_panic_is_that_of_the_pool() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin(["a", "b", "c"]), [health])
    group = pool.group(RoundRobin(), ["a", "b"])
    for backend in "ab":
        health.observe(backend, False, 0.0)
    with pytest.raises(NoBackendAvailable, match="unhealthy"):
        group.acquire(1.0)
    health.observe("c", False, 2.0)
    lease = group.acquire(2.0)
    assert (lease.backend, lease.panic) == ("a", True)


@pytest.mark.parametrize("end", ["close", "garbage"])
def test_a_closed_group_is_no_longer_called(end: str) -> None:
    pool, books = Pool(RoundRobin(["a", "b"])), Books()
    group: Any = pool.group(books, ["a", "b"])
    lease = group.acquire(0.0, cost=3)
    if end == "close":
        group.close()
        group.close()
        assert books.members == {}
        with pytest.raises(NoBackendAvailable, match="empty"):
            group.acquire(1.0)
    else:
        books.fails = {"put", "discard", "started", "finished", "charged"}
        del group
    before = copy.copy(books.in_flight)
    pool.release(lease, 1.0)
    pool.release(pool.acquire(1.0, cost=2), 2.0)
    pool.set_weight("a", 0, 3.0)
    pool.remove("a", 3.0)
    assert books.in_flight == before
    plain: Any = pool
    assert plain._members.groups.all == ()
    member = plain._by_backend["b"]
    assert (member.started, member.finished) == (None, None)


def test_groups_need_no_garbage_collection() -> None:
    gc.disable()
    try:
        pool: Any = Pool(LeastConnections(["a"]))
        for _ in range(50):
            pool.group(LeastConnections(), ["a"])
        assert pool._members.groups.all == ()
    finally:
        gc.enable()


def pickled(part: Any) -> Any:
    return pickle.loads(pickle.dumps(part))  # noqa: S301 - its own pickle


COPIED = pytest.mark.parametrize("copied", [copy.deepcopy, pickled])


@COPIED
def test_a_copy_of_a_group_has_a_pool_of_its_own(copied: Callable[[Any], Any]) -> None:
    limit: ConnectionLimit[str] = ConnectionLimit(2)
    pool = Pool(RoundRobin(["a", "b", "c"]), [limit], events=deque(maxlen=9))
    group = pool.group(WeightedLeastConnections(), {"a": 1, "b": 2})
    leases = [group.acquire(0.0) for _ in range(3)]
    twin = copied(group)
    picks = [group.acquire(1.0).backend, twin.acquire(1.0).backend]
    assert picks[0] == picks[1]
    with pytest.raises(NoBackendAvailable):
        twin.acquire(1.0)
    for lease in leases:
        pool.release(lease, 2.0)
    with pytest.raises(NoBackendAvailable):
        twin.acquire(2.0)
    group.put("c")
    assert [*twin.weights] == ["a", "b"]
    with pytest.raises(AlreadyInUse):
        copy.copy(group)
    both, group_of_both = copied((pool, group))
    lease = group_of_both.acquire(3.0)
    assert both.owns(lease)
    both.release(lease, 4.0)


@COPIED
def test_a_copy_of_a_pool_has_no_groups(copied: Callable[[Any], Any]) -> None:
    own, books = Books("ab"), Books()
    pool = Pool(own)
    group = pool.group(books, ["a", "b"])
    group.acquire(0.0)
    twin = copied(pool)
    twin.release(twin.acquire(1.0), 2.0)
    assert twin._balancer.in_flight == Counter(a=1, b=0)
    assert books.in_flight == Counter(a=1)
    assert (len(books.outcomes), len(twin._balancer.outcomes)) == (0, 1)


def test_an_explanation_of_a_pool_with_groups_changes_nothing() -> None:
    drain: Drain[str] = Drain(timeout=5.0)
    pool = Pool(LeastConnections(["a", "b"]), [drain])
    books = Books()
    group = pool.group(books, ["a", "b"])
    drain.begin("a", 0.0)
    assert pool.explain(1.0).backend == "b"
    assert books.members == {"a": 1, "b": 1}
    assert group.acquire(2.0).backend == "b"
    assert books.members == {"a": 0, "b": 1}
    drain.cancel("a", 3.0)
    assert pool.explain(9.0).backend == "a"
    assert books.members == {"a": 0, "b": 1}


def test_a_part_belongs_to_one_owner() -> None:
    lb, load, own = LeastConnections[str](), InFlight[str](), RoundRobin(["a"])
    pool = Pool(own)
    group = pool.group(lb, ["a"])
    for reuse in (
        lambda: pool.group(lb, ["a"]),
        lambda: Pool(lb),
        lambda: pool.group(own, ["a"]),
        lambda: Pool(RoundRobin(["a"])).group(lb),
    ):
        with pytest.raises(AlreadyInUse):
            reuse()
    ring: HashRing[str] = HashRing()
    second = pool.group(LeastConnections(ties=ring), ["a"])
    with pytest.raises(AlreadyInUse):
        pool.group(ring, ["a"])
    third = pool.group(PowerOfTwoChoices(rng=Random(1), load=load), ["a"])
    with pytest.raises(AlreadyInUse):
        pool.group(PowerOfTwoChoices(rng=Random(1), load=load), ["a"])
    assert [each.acquire(0.0).backend for each in (group, second, third)] == ["a", "a", "a"]
    assert load.value("a", 0.0) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((RoundRobin(), ["a", "x"]), UnknownBackend),
        ((RoundRobin(["x"]),), UnknownBackend),
        ((RoundRobin(), {"a": -1}), InvalidWeight),
        ((RoundRobin(), {"a": float("nan")}), InvalidWeight),
        ((RoundRobin(), "a"), TypeError),
        ((RoundRobin(), 7), TypeError),
        ((RoundRobin(), [["a"]]), TypeError),
        ((RoundRobin, ["a"]), TypeError),
        ((None, ["a"]), TypeError),
    ],
)
def test_bad_arguments_make_no_group(arguments: Any, error: type[Exception]) -> None:
    pool: Any = Pool(RoundRobin(["a", "b"]))
    with pytest.raises(error):
        pool.group(*arguments)
    assert pool._members.groups.all == ()
    lb: Any = arguments[0]
    if hasattr(lb, "taken"):
        assert not getattr(lb, "taken", False)
        Pool(lb)


def test_a_fractional_gate_needs_a_fractional_balancer_in_each_group() -> None:
    pool = Pool(WeightedRoundRobin(["a"]), [SlowStart(window=10.0)])
    lb = LeastConnections[str]()
    with pytest.raises(IncompatibleGate, match=r"SlowStart.*LeastConnections"):
        pool.group(lb, ["a"])
    Pool(lb)
    pool.group(WeightedLeastConnections(), ["a"])


def test_put_changes_nothing_if_the_backend_or_the_weight_is_invalid() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    group = pool.group(LeastConnections(), ["a"])
    for backend, weight, error in (("x", 1, UnknownBackend), ("b", -1, InvalidWeight)):
        with pytest.raises(error):
            group.put(backend, weight)
    group.discard("x")
    assert dict(group.weights) == {"a": 1}
    assert repr(group) == "<Group of LeastConnections: 1 of 1 open>"


@pytest.mark.parametrize("method", ["started", "finished", "charged", "put", "discard"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_balancer_that_fails_leaves_all_books_right(method: str, place: int) -> None:
    all_books = [Books("abc"), Books(), Books()]
    pool = Pool(all_books[0], [Drain(), ConnectionLimit(9)])
    groups = [pool.group(books, ["a", "b", "c"]) for books in all_books[1:]]
    held = [group.acquire(0.0, cost=4) for group in groups]

    def check() -> None:
        for books in all_books:
            for backend in "abc":
                assert books.in_flight[backend] == pool.in_flight(backend), (method, backend)
                assert books.costs[backend] == pool.cost_in_flight(backend)
                assert books.members[backend] == pool.effective_weight(backend)

    check()
    all_books[place].fails = {method}
    calls: list[Callable[[], object]] = [
        lambda: groups[0].acquire(1.0, cost=5),
        lambda: pool.acquire(1.0, cost=5),
        lambda: pool.release(held.pop(), 1.0),
        lambda: groups[1].acquire(1.0, prefer="c", cost=2),
    ]
    if method in {"put", "discard"}:
        calls += [lambda: pool.set_weight("b", 0), lambda: pool.update(["a", "c"], keep=5.0)]
        calls += [lambda: pool.update(["a", "c"]), lambda: pool.remove("b")]
    raised = 0
    for call in calls:
        all_books[place].fails = {method}
        try:
            call()
        except RuntimeError:
            raised += 1
        all_books[place].fails = set()
        if "b" not in pool:
            break
        pool.panicking  # noqa: B018 - applies what is pending
        check()
    assert raised


def test_a_gate_change_that_a_group_refuses_is_made_later() -> None:
    drain, books = Drain[str](), Books()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    group = pool.group(books, ["a", "b"])
    drain.begin("a", 0.0)
    books.fails = {"put"}
    for asked in (pool, group):
        with pytest.raises(RuntimeError):
            asked.acquire(1.0)
    books.fails = set()
    assert [group.acquire(2.0).backend for _ in range(2)] == ["b", "b"]
    assert pool.acquire(2.0).backend == "b"


def test_a_group_of_jump_keeps_the_pool_from_losing_another_member_than_the_last() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    group = pool.group(Jump(), ["a", "b"])
    with pytest.raises(InvalidSetting):
        pool.remove("a", 1.0)
    assert [*pool.backends] == ["a", "b"]
    assert {pool.acquire(1.0).backend for _ in range(2)} == {"a", "b"}
    pool.remove("b", 2.0)
    assert dict(group.weights) == {"a": 1}


def test_durations_are_measured_while_a_group_asks_for_them() -> None:
    class Timed(Books):
        timed = True

    pool, books = Pool(RoundRobin(["a"])), Timed()
    group = pool.group(books, ["a"])
    pool.release(pool.acquire(1.0), 3.0)
    assert [outcome.elapsed for outcome in books.outcomes] == [2.0]
    group.close()
    plain: Any = pool
    assert plain._timed is False


def test_times_that_go_back_count_as_the_latest() -> None:
    pool = Pool(RoundRobin(["a"]))
    group = pool.group(Rendezvous(), ["a"])
    group.acquire(5.0, key="x")
    assert pool.acquire(1.0).acquired_at == 5.0
    pool.acquire(9.0)
    assert group.acquire(1, key="x").acquired_at == 9.0


def test_a_lease_of_a_group_says_that_the_pool_is_in_a_panic() -> None:
    """The backends that look sick are not in the group."""
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin(["a", "b", "c"]), [health], panic=0.5)
    group = pool.group(RoundRobin(), ["a"])
    assert not group.acquire(0.0).panic
    for backend in "bc":
        health.observe(backend, False, 1.0)
    assert group.acquire(2.0).panic


def test_the_counts_of_a_refusal_follow_the_panic_of_the_pool() -> None:
    health, limit = HealthChecks[str](1), ConnectionLimit[str](1)
    pool = Pool(RoundRobin(["a", "b"]), [health, limit])
    group = pool.group(RoundRobin(), ["a"])
    group.acquire(0.0)
    health.observe("a", False, 1.0)
    found: list[tuple[dict[str, int], int]] = []
    for now in (2.0, 3.0):
        with pytest.raises(NoBackendAvailable) as refused:
            group.acquire(now)
        found.append((dict(refused.value.counts), refused.value.full))
        health.observe("b", False, 2.5)
    assert found == [({"unhealthy": 1, "saturated": 1}, 0), ({"saturated": 1}, 1)]
