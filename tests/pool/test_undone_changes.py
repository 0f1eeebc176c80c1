"""A change that the balancer refuses at any step leaves the pool and the balancer as they were."""

from typing import Any

import pytest

from balancers import Drain, LeastConnections, Pool, WeightedRoundRobin
from balancers.gate import Gate
from balancers.outcome import SUCCESS, Outcome
from tests.pool.test_raising_parts import Steps

Call = tuple[object, ...]


class Refusing(LeastConnections[str]):
    """Raises at the step ``refused_at`` of a change, counted from 1, and logs all calls."""

    def __init__(self, backends: dict[str, float]) -> None:
        self.refused_at, self.steps = 0, 0
        self.calls: list[Call] = []
        self.counts: dict[str, int] = {}
        super().__init__(backends)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.refused_at:
            raise ArithmeticError(f"step {self.steps}")

    def put(self, backend: str, weight: float = 1.0) -> None:
        self._step()
        self.calls.append(("put", backend, weight))
        super().put(backend, weight)
        self.counts.setdefault(backend, 0)

    def discard(self, backend: str) -> None:
        self._step()
        self.calls.append(("discard", backend))
        super().discard(backend)
        self.counts.pop(backend, None)

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        self.calls.append(("started", backend, now, bound))
        super().started(backend, now, bound)
        self.counts[backend] += 1

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        super().finished(backend, outcome, now)
        self.counts[backend] -= 1


def pool_with_requests(gates: list[Gate[str]]) -> tuple[Pool[str], Refusing]:
    balancer = Refusing({"a": 1, "b": 2, "c": 3, "d": 4})
    pool = Pool(balancer, gates)
    for backend in "aabbbc":
        pool.acquire(1.0, prefer=backend)
    return pool, balancer


@pytest.mark.parametrize("keep", [None, 10.0])
@pytest.mark.parametrize("drained", ["", "a", "b"])
def test_an_update_that_is_refused_at_any_step_changes_nothing(
    drained: str, keep: float | None
) -> None:
    refusals = 0
    for at in range(1, 30):
        drain = Drain[str]()
        pool, balancer = pool_with_requests([drain])
        if drained:
            drain.begin(drained, 1.0)
        pool.acquire(1.0, prefer="c")
        weights, counts, before = dict(balancer.weights), dict(balancer.counts), pool.snapshot()
        balancer.calls.clear()
        balancer.refused_at = balancer.steps + at
        try:
            pool.update({"b": 5, "c": 1, "e": 6, "f": 7}, 2.0, keep=keep)
        except ArithmeticError:
            refusals += 1
            assert dict(balancer.weights) == weights
            assert balancer.counts == counts
            assert pool.snapshot() == before
            again = [call for call in balancer.calls if call[0] == "started"]
            assert again in ([], [("started", "a", 2.0, True)] * 2)
        else:
            assert [*pool.backends] == [*("abcdef" if keep else "bcef")]
    assert 5 < refusals < 20


def test_a_balancer_that_already_has_the_joining_backend_gets_its_weight_back() -> None:
    balancer = Refusing({"a": 1})
    pool = Pool(balancer)
    balancer.put("x", 9)  # not by the pool
    balancer.refused_at = balancer.steps + 2
    with pytest.raises(ArithmeticError):
        pool.update({"a": 1, "x": 2, "y": 3})
    assert dict(balancer.weights) == {"a": 1, "x": 9}
    assert [*pool.backends] == ["a"]


@pytest.mark.parametrize("change", ["add", "set_weight", "update", "remove"])
def test_every_refused_change_of_one_backend_changes_nothing(change: str) -> None:
    pool, balancer = pool_with_requests([])
    before, weights = pool.snapshot(), dict(balancer.weights)
    calls: dict[str, Any] = {
        "add": lambda: pool.add("e", 7, 2.0),
        "set_weight": lambda: pool.set_weight("a", 7, 2.0),
        "update": lambda: pool.update({"a": 7, "b": 2, "c": 3, "d": 4}, 2.0),
        "remove": lambda: pool.remove("a", 2.0),
    }
    balancer.refused_at = balancer.steps + 1
    with pytest.raises(ArithmeticError):
        calls[change]()
    assert (pool.snapshot(), dict(balancer.weights)) == (before, weights)
    calls[change]()
    assert pool.snapshot() != before


def test_weights_that_the_balancer_refuses_in_a_panic_are_put_at_the_next_request() -> None:
    """The first attempt to ignore the soft gates fails in the middle."""
    gate = Steps(soft=True, fractional=False)
    balancer = Refusing({"a": 1, "b": 2, "c": 3})
    pool = Pool(balancer, [gate])
    for refused in range(1, 4):
        gate.set(a=0, b=0, c=0)
        # three backends are closed, and opened again because of the panic
        balancer.refused_at = balancer.steps + 3 + refused
        with pytest.raises(ArithmeticError):
            pool.acquire(1.0)
        assert pool.acquire(1.0).panic
        assert dict(balancer.weights) == {"a": 1, "b": 2, "c": 3}
        gate.set(a=1, b=1, c=1)
        assert not pool.acquire(1.0).panic


def test_decreases_come_before_increases_and_the_last_joined_leaves_first() -> None:
    balancer = Refusing({"a": 1, "b": 2, "c": 3, "d": 4})
    pool = Pool(balancer)
    balancer.calls.clear()
    pool.update({"b": 9, "a": 2, "e": 1}, 1.0)
    assert balancer.calls == [
        ("put", "a", 2),
        ("put", "b", 9),
        ("put", "e", 1),
        ("discard", "d"),
        ("discard", "c"),
    ]
    balancer.calls.clear()
    pool.update({"b": 9, "a": 1, "e": 3}, 2.0)
    assert balancer.calls == [("put", "a", 1), ("put", "e", 3)]


def test_a_weight_is_put_once_if_nothing_limits_it() -> None:
    gate = Steps()
    pool = Pool(WeightedRoundRobin({"a": 4, "b": 4}), [gate])
    gate.set(a=0.5)
    pool.acquire(1.0)
    assert pool.effective_weight("a") == 2
    pool.set_weight("a", 8, 2.0)
    assert pool.effective_weight("a") == 4
    pool.set_weight("b", 8, 2.0)
    assert pool.effective_weight("b") == 8
