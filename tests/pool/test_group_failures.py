"""Groups whose balancer fails or refuses: what is undone, and what the balancer is informed of."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Outcome,
    Pool,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.algorithms import LeastLoaded
from balancers.errors import MissingKey, UnknownBackend
from balancers.hashing import Rendezvous
from balancers.loads import PeakEwma
from tests.pool.test_pool_groups import Books


class Heard(Books):
    """Stores the times of all reports."""

    def __init__(self, backends: Any = ()) -> None:
        super().__init__(backends)
        self.calls: list[tuple[Any, ...]] = []

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        super().started(backend, now, bound)
        self.calls.append((now, bound))

    def finished(self, backend: str, outcome: Outcome = Outcome(), now: float = 0.0) -> None:  # noqa: B008 - it is immutable
        super().finished(backend, outcome, now)
        self.calls.append((now,))

    def charged(self, backend: str, change: int, now: float) -> None:
        super().charged(backend, change, now)
        self.calls.append((change, now))

    def progressed(self, backend: str, elapsed: float, now: float) -> None:
        super().progressed(backend, elapsed, now)
        self.calls.append((elapsed, now))


def groups_of(pool: Any) -> list[Any]:
    return [*pool._members.groups.all]


def test_the_weights_of_a_group_are_those_given_and_those_of_its_balancer() -> None:
    pool = Pool(RoundRobin(["a", "b", "c"]))
    books = Books("ab")
    books.members["b"] = 5
    group = pool.group(books, {"a": 2, "c": 3})
    assert dict(group.weights) == books.members == {"a": 2, "b": 5, "c": 3}


@pytest.mark.parametrize("members", ["", "a"])
def test_an_unknown_backend_leaves_the_balancer_as_it_was(members: str) -> None:
    pool, books = Pool(RoundRobin(["a"])), Books(members)
    pool.acquire(0.0)
    with pytest.raises(UnknownBackend):
        pool.group(books, ["a", "x"])
    assert books.members == dict.fromkeys(members, 1.0)
    assert books.in_flight == {}


@pytest.mark.parametrize("what", [RoundRobin, 7])
def test_the_error_for_another_object_names_it(what: Any) -> None:
    with pytest.raises(TypeError, match=r"balancer must be a balancer object, not (<class|7)"):
        Pool(RoundRobin(["a"])).group(what, ["a"])


def test_a_group_that_fails_halfway_is_not_called_again() -> None:
    """The error keeps the object of the group alive."""
    pool, books = Pool(RoundRobin(["a", "b"])), Books()
    books.fails = {"put b"}
    with pytest.raises(RuntimeError) as raised:
        pool.group(books, ["a", "b"])
    assert groups_of(pool) == []
    assert raised.tb is not None


def test_a_group_whose_balancer_refuses_to_forget_a_member_is_closed_all_the_same() -> None:
    pool, books = Pool(RoundRobin(["a", "b"])), Books()
    group = pool.group(books, ["a", "b"])
    books.fails = {"discard a"}
    with pytest.raises(RuntimeError):
        group.close()
    assert (groups_of(pool), dict(group.weights)) == ([], {})


def test_a_new_member_joins_with_its_requests_at_the_time_of_the_pool() -> None:
    books = Heard()
    pool = Pool(RoundRobin(["a"]))
    pool.acquire(7.0, cost=3)
    pool.group(books, ["a"])
    load = PeakEwma[str]()
    pool.group(LeastLoaded(load=load), ["a"])
    assert books.calls == [(7.0, True), (3, 7.0)]


def test_a_keyed_group_asks_for_the_key_first() -> None:
    pool = Pool(RoundRobin(["a"]), [ConnectionLimit(1)])
    group = pool.group(Rendezvous(), ["a"])
    group.acquire(0.0, "key")
    with pytest.raises(MissingKey):
        group.acquire(0.0)
    with pytest.raises(NoBackendAvailable, match="saturated"):
        group.acquire(0.0, "key")


def test_only_one_of_pool_and_group_may_count_requests() -> None:
    pool = Pool(LeastConnections(["a", "b"]))
    turns = pool.group(RoundRobin(), ["a", "b"])
    leases = [turns.acquire(0.0), turns.acquire(0.0), pool.acquire(0.0, prefer="a")]
    assert [lease.backend for lease in leases] == ["a", "b", "a"]
    assert pool.acquire(0.0).backend == "b"
    for lease in leases:
        pool.release(lease, 1.0)
    assert pool.acquire(1.0).backend == "a"


def test_a_group_whose_balancer_does_not_ask_causes_no_measurement() -> None:
    own = Books("a")
    pool = Pool(own)
    group = pool.group(RoundRobin(), ["a"])
    pool.release(group.acquire(0.0), 5.0)
    assert own.outcomes[0].elapsed is None


def test_members_share_methods_and_closed_groups_leave_nothing() -> None:
    pool: Any = Pool(LeastConnections(["a", "b", "c"]))
    kept = pool.group(LeastConnections(), ["a", "b"])
    for _ in range(20):
        pool.group(LeastConnections(), ["b", "c"]).close()
    first, second, third = (pool._by_backend[backend] for backend in "abc")
    assert first.started is second.started is not third.started
    assert first.finished is second.finished is not third.finished
    kept.close()
    assert len(pool._members.groups._methods) <= 1


def test_both_balancers_get_the_whole_report() -> None:
    own, books = Heard("a"), Heard()
    pool = Pool(own)
    group = pool.group(books, ["a"])
    pool.release(group.acquire(1.0), 2.0)
    lease = group.acquire(3.0, prefer="a")
    pool.progress(lease, 3.5)
    pool.progress(lease, 3.75)
    pool.release(lease, 4.0, ok=False)
    assert [[o.ok for o in each.outcomes] for each in (own, books)] == [[True, False]] * 2
    assert own.calls == books.calls == [(1.0, False), (2.0,), (3.0, True), (0.5, 3.5), (4.0,)]


def test_an_optional_method_of_only_one_of_two_groups_is_called() -> None:
    pool, books = Pool(RoundRobin(["a"])), Books()
    groups = [pool.group(lb, ["a"]) for lb in (RoundRobin[str](), books)]
    lease = groups[0].acquire(0.0, cost=4)
    pool.progress(lease, 1.0)
    assert (books.costs["a"], books.firsts) == (4, [1.0])


def test_a_group_that_loses_its_last_member_in_the_pool_is_not_called_again() -> None:
    pool, books = Pool(RoundRobin(["a", "b"])), Books()
    group = pool.group(books, ["b"])
    pool.update(["a"])
    assert (groups_of(pool), dict(group.weights), books.members) == ([], {}, {})
    pool.add("b")
    group.put("b")
    assert pool.acquire(0.0, prefer="b").backend == "b"
    assert books.in_flight == {"b": 1}


@pytest.mark.parametrize("own_fails", [set[str](), {"finished"}])
def test_a_start_that_the_group_refuses_is_undone_in_the_pool(own_fails: set[str]) -> None:
    own, books = Heard("a"), Books()
    pool = Pool(own)
    group = pool.group(books, ["a"])
    own.fails, books.fails = own_fails, {"started"}
    with pytest.raises(RuntimeError, match="started"):
        group.acquire(1.0)
    assert [outcome.ok for outcome in own.outcomes] == [None]
    assert (own.in_flight["a"], pool.in_flight("a")) == (0, 0)
    assert own.calls[0] == (1.0, False)
    assert own_fails or own.calls[1] == (1.0,)


@pytest.mark.parametrize("method", ["put", "started", "charged"])
def test_a_member_that_the_balancer_refuses_does_not_join(method: str) -> None:
    pool, books = Pool(RoundRobin(["a", "b"])), Books()
    group = pool.group(books, ["b"])
    held = [pool.acquire(0.0, prefer="a", cost=4) for _ in range(2)]
    books.fails = {f"{method} a"}
    with pytest.raises(RuntimeError, match=method):
        group.put("a")
    assert dict(group.weights) == books.members == {"b": 1}
    assert (+books.in_flight, +books.costs) == ({}, {})
    books.fails = set()
    group.put("a")
    assert (books.in_flight["a"], books.costs["a"]) == (2, 8)
    for lease in held:
        pool.release(lease, 1.0)
    assert (books.in_flight["a"], books.costs["a"]) == (0, 0)


def test_a_weight_that_the_balancer_refuses_changes_nothing() -> None:
    """The member is down, so the new weight is put first, and 0 second, which fails."""

    class Refusing(Books):
        refuses: float | None = None

        def put(self, backend: str, weight: float = 1) -> None:
            if weight == self.refuses:
                self.refuses = None
                raise RuntimeError("put")
            super().put(backend, weight)

    health, books = HealthChecks[str](1), Refusing()
    pool = Pool(RoundRobin(["a", "b"]), [health], panic=None)
    group = pool.group(books, {"a": 0, "b": 1})
    health.observe("a", False, 0.0)
    assert group.acquire(1.0).backend == "b"
    for weight, condition in ((0, "leaving"), (3, "down")):
        group.put("a", weight)
        assert books.conditions["a"] == condition
        books.refuses = 0
        with pytest.raises(RuntimeError):
            group.put("a", 5)
        assert (books.members, books.conditions["a"]) == ({"a": 0, "b": 1}, condition)
        assert dict(group.weights) == {"a": weight, "b": 1}
    health.observe("a", True, 2.0)
    health.observe("a", True, 2.0)
    assert (group.acquire(3.0, prefer="a").backend, books.members["a"]) == ("a", 3)


def test_a_copy_of_a_group_has_its_weights() -> None:
    drain = Drain[str]()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    group = pool.group(WeightedRoundRobin(), {"a": 2, "b": 3})
    drain.begin("a", 0.0)
    twin = copy.deepcopy(group)
    assert twin.weights == group.weights == {"a": 2, "b": 3}
    assert [twin.acquire(1.0).backend for _ in range(3)] == ["b", "b", "b"]


def test_members_stay_open_in_a_group_when_all_weights_of_the_pool_change() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    group = pool.group(LeastConnections(), {"a": 1, "b": 0})
    pool.update({"a": 2, "b": 2}, 1.0)
    assert repr(group) == "<Group of LeastConnections: 1 of 2 open>"
    pool.set_weight("a", 3, 1.0)
    assert group.acquire(2.0).backend == "a"


def test_a_new_weight_does_not_open_a_member_that_leaves() -> None:
    pool, books = Pool(RoundRobin(["a", "b"])), Books()
    group = pool.group(books, ["a", "b"])
    pool.acquire(0.0, prefer="b")
    pool.update(["a"], 1.0, keep=9.0)
    pool.set_weight("b", 3, 2.0)
    assert (books.members, books.conditions["b"]) == ({"a": 1, "b": 0}, "leaving")
    assert {group.acquire(3.0).backend for _ in range(3)} == {"a"}
    pool.update(["a", "b"], 4.0)
    assert (books.members, books.conditions["b"]) == ({"a": 1, "b": 1}, "open")
    assert group.acquire(4.0).backend == "b"


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_removal_that_one_balancer_refuses_is_undone_in_all(place: int, draining: bool) -> None:
    drain = Drain[str]()
    all_books = [Heard("ab"), Heard(), Heard()]
    pool = Pool(all_books[0], [drain])
    groups = [pool.group(books, {"a": 1, "b": 3}) for books in all_books[1:]]
    leases = [pool.acquire(1.0, prefer="b", cost=cost) for cost in (4, 5)]
    if draining:
        drain.begin("b", 2.0)
        pool.acquire(2.0)

    def known() -> list[Any]:
        return [
            (books.members, {"a": "open"} | books.conditions, books.in_flight, books.costs)
            for books in all_books
        ]

    before = copy.deepcopy(known())
    all_books[place].fails = {"discard b"}
    changes: list[Callable[[], object]] = [
        lambda: pool.remove("b", 3.0),
        lambda: pool.update({"a": 2}, 3.0),
        lambda: pool.update({"a": 0}, 3.0),
    ]
    for change in changes:
        with pytest.raises(RuntimeError):
            change()
        assert known() == before
    for books in all_books:
        assert not [call for call in books.calls if None in call], "each has its time"
    all_books[place].fails = set()
    for lease in leases:
        pool.release(lease, 4.0)
    pool.remove("b", 5.0)
    assert [dict(group.weights) for group in groups] == [{"a": 1}] * 2
    assert [books.members for books in all_books] == [{"a": 1}] * 3


@pytest.mark.parametrize("both", [False, True])
def test_an_end_reaches_the_group_although_the_balancer_of_the_pool_fails(both: bool) -> None:
    own, books = Heard("a"), Heard()
    pool = Pool(own)
    group = pool.group(books, ["a"])
    lease = group.acquire(1.0)
    own.fails, books.fails = {"finished"}, {"finished"} if both else set()
    books.calls.clear()
    with pytest.raises(RuntimeError, match="finished"):
        pool.release(lease, 2.0, ok=False)
    assert [outcome.ok for outcome in books.outcomes] == [False]
    assert both or books.calls == [(2.0,)]
    assert pool.in_flight("a") == books.in_flight["a"] == own.in_flight["a"] == 0
