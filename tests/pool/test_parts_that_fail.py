"""A balancer or a gate raises an exception: nothing is counted twice, and nothing stays counted."""

import copy
import pickle
from typing import Any

import pytest

from balancers import LeastConnections, Pool, RoundRobin
from balancers._internal.taken import free, take
from balancers.gates import MemberGate
from balancers.outcome import SUCCESS, Outcome


class Broken(Exception):
    pass


class Failing(RoundRobin[str]):
    """Raises in ``started`` or ``finished`` while ``failing`` names the method."""

    failing = ""

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        if self.failing == "started":
            raise Broken

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        if self.failing == "finished":
            raise Broken


class Counting(MemberGate[str, list[int]]):
    """Counts the requests in flight, and raises in ``removed`` if it should."""

    reason = "counting"

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails

    def new_state(self, now: float) -> list[int]:
        del now
        return [0]

    def factor(self, backend: str, now: float) -> float:
        self.state_of(backend)
        return 1

    def started(self, backend: str, in_flight: int, now: float) -> None:
        self.state_of(backend)[0] += 1

    def finished(
        self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        state = self.find_state(backend)
        if state is not None:
            state[0] -= 1

    def removed(self, backend: str, now: float) -> None:
        super().removed(backend, now)
        if self.fails:
            raise Broken


def test_a_balancer_that_fails_to_start_leaves_no_count() -> None:
    balancer, gate = Failing(["a"]), Counting()
    pool = Pool(balancer, [gate], limit=5)
    balancer.failing = "started"
    for _ in range(9):
        with pytest.raises(Broken):
            pool.acquire(1.0)
    balancer.failing = ""
    assert (pool.in_flight("a"), gate.state_of("a"), pool.snapshot().requests) == (0, [0], 0)
    assert len([pool.acquire(2.0) for _ in range(5)]) == 5


def test_a_balancer_that_fails_to_finish_hides_no_end_from_the_gates() -> None:
    balancer, gates = Failing(["a"]), [Counting(), Counting()]
    pool = Pool(balancer, gates)
    lease = pool.acquire(1.0)
    balancer.failing = "finished"
    with pytest.raises(Broken):
        pool.release(lease, 2.0)
    assert lease.released
    assert pool.in_flight("a") == 0
    assert [gate.state_of("a") for gate in gates] == [[0], [0]]


def test_a_gate_that_fails_when_a_kept_member_leaves_stops_no_removal() -> None:
    gate, later = Counting(fails=True), Counting()
    pool = Pool(LeastConnections(["a", "b", "c"]), [gate, later])
    pool.update(["a"], 1.0, keep=5.0)
    with pytest.raises(Broken):
        pool.acquire(6.0)
    assert [*pool.backends] == [*gate._members] == [*later._members] == ["a"]
    assert pool.snapshot().in_flight == 0
    assert pool.acquire(6.0).backend == "a"


def unpickled(part: Any) -> Any:
    return pickle.loads(pickle.dumps(part))  # noqa: S301 - own


@pytest.mark.parametrize("copied", [copy.deepcopy, unpickled])
def test_the_mark_of_a_part_is_not_copied(copied: Any) -> None:
    part = RoundRobin(["a"])
    Pool(part)
    mark: Any = part.__dict__["taken"]
    assert mark
    assert repr(mark) == "<taken>"
    assert not copied(mark)
    Pool(copied(part))


def test_a_part_that_is_free_stays_free() -> None:
    part = RoundRobin(["a"])
    free(part)
    assert not hasattr(part, "taken")
    take(part)
    free(part)
    free(part)
    Pool(part)
