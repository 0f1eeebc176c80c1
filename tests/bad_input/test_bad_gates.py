"""Gates in two pools and gates that raise: a failed call changes nothing."""

from collections import deque
from collections.abc import Callable, Iterable
from math import inf, nan

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    Gate,
    HashRing,
    HealthChecks,
    IPHash,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.errors import (
    AlreadyInUse,
    IncompatibleGate,
    InvalidSetting,
    InvalidTime,
    UnknownBackend,
)
from balancers.event import Event
from tests.bad_input.samples import CLIENT, balancer_state, every_kind, filled, pool_state
from tests.kinds import Kind


def test_a_gate_belongs_to_one_pool() -> None:
    attached, unattached = Drain[str](), HealthChecks[str]()
    first = Pool(RoundRobin(["a"]), [attached])
    second = RoundRobin(["b"])
    with pytest.raises(AlreadyInUse, match="Drain"):
        Pool(second, [unattached, attached])
    with pytest.raises(AlreadyInUse):
        Pool(second, [unattached, unattached])
    assert dict(second.weights) == {"b": 1}
    pool = Pool(second, [unattached])
    attached.begin("a", 1.0)
    assert first.state("a") == ("draining",)
    assert (pool.acquire(1.0).backend, first.due) == ("b", inf)


def test_a_pool_that_refuses_its_gates_leaves_them_unattached() -> None:
    ramp, drain = SlowStart[str](30.0), Drain[str]()
    for lb in (RoundRobin[str](), HashRing[str](), IPHash[str](), LeastConnections[str]()):
        with pytest.raises(IncompatibleGate, match=f"SlowStart.*{type(lb).__name__}"):
            Pool(lb, [drain, ramp])
    with pytest.raises(InvalidSetting):
        Pool(WeightedRoundRobin[str](), [drain, ramp], panic=2.0)
    with pytest.raises(InvalidTime):
        Pool(WeightedRoundRobin[str](), [drain, ramp], now=nan)
    Pool(WeightedRoundRobin[str](["a"]), [drain, ramp])


class Failing(Gate[str]):
    """Every backend is open; one chosen method raises."""

    reason = "failing"

    def __init__(self, method: str = "") -> None:
        self.method = method
        self.calls: list[str] = []
        self.changed: list[str] = []
        self.members: list[str] = []
        self.closed: set[str] = set()

    def check(self, method: str) -> None:
        self.calls.append(method)
        if method == self.method:
            raise ArithmeticError(method)

    def attach(self, in_flight: Callable[[str], int], events: deque[Event] | None) -> None:
        self.check("attach")

    def factor(self, backend: str, now: float) -> float:
        self.check("factor")
        return 0 if backend in self.closed else 1

    def changes(self, now: float) -> Iterable[str]:
        self.check("changes")
        changed, self.changed, self.due = self.changed, [], inf
        return changed

    def added(self, backend: str, now: float) -> None:
        self.check("added")
        self.members.append(backend)

    def removed(self, backend: str, now: float) -> None:
        if backend in self.members:
            self.members.remove(backend)

    def started(self, backend: str, in_flight: int, now: float) -> None:
        self.check("started")

    def close(self, backend: str) -> None:
        self.closed.add(backend)
        self.changed.append(backend)
        self.due = -inf


@every_kind
@pytest.mark.parametrize("method", ["attach", "added", "factor"])
def test_a_gate_that_raises_while_a_pool_is_created(kind: Kind, method: str) -> None:
    failing, drain, lb = Failing(method), Drain[str](), filled(kind)
    before = balancer_state(lb)
    with pytest.raises(ArithmeticError):
        Pool(lb, [drain, failing])
    assert balancer_state(lb) == before
    assert failing.members == []
    with pytest.raises(UnknownBackend):
        drain.begin("a", 0.0)
    failing.method = ""
    pool = Pool(lb, [drain, failing])
    assert pool.acquire(0.0, CLIENT).backend in {"a", "b"}


@every_kind
@pytest.mark.parametrize("method", ["added", "factor"])
def test_a_gate_that_raises_when_a_backend_joins(kind: Kind, method: str) -> None:
    failing, drain = Failing(), Drain[str]()
    pool = Pool(filled(kind), [drain, failing])
    pool.acquire(1.0, CLIENT)
    before = pool_state(pool)
    failing.method = method
    with pytest.raises(ArithmeticError):
        pool.add("new", 1, 2.0)
    with pytest.raises(ArithmeticError):
        pool.update({"a": 5, "new": 1}, 2.0)
    failing.method = ""
    assert pool_state(pool) == before
    assert failing.members == ["a", "b", "c"]
    with pytest.raises(UnknownBackend):
        drain.begin("new", 2.0)
    pool.add("new", 1, 2.0)
    assert pool.weight("new") == 1


@every_kind
@pytest.mark.parametrize("method", ["changes", "factor"])
def test_a_gate_that_raises_during_an_evaluation_is_evaluated_again(
    kind: Kind, method: str
) -> None:
    failing, drain = Failing(), Drain[str]()
    pool = Pool(filled(kind, {"a": 1, "b": 1}), [failing, drain])
    failing.close("a")
    failing.method = method
    for _ in range(3):
        failing.calls.clear()
        with pytest.raises(ArithmeticError):
            pool.acquire(1.0, CLIENT)
        assert method in failing.calls
        assert pool.due == -inf
        assert [pool.in_flight(b) for b in pool.backends] == [0, 0]
    failing.method = ""
    assert {pool.acquire(1.0, CLIENT).backend for _ in range(5)} == {"b"}
    assert pool.due == inf
    drain.begin("b", 1.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(1.0, CLIENT)
    assert dict(refusal.value.counts) == {"failing": 1, "draining": 1}


@every_kind
def test_a_gate_that_raises_when_a_request_starts(kind: Kind) -> None:
    failing, limit = Failing(), ConnectionLimit[str](1)
    pool = Pool(filled(kind, {"a": 1}), [limit, failing])
    failing.method = "started"
    for prefer in (None, "a", None):
        with pytest.raises(ArithmeticError):
            pool.acquire(1.0, CLIENT, prefer=prefer)
        assert pool.in_flight("a") == 0
        assert pool.admits("a")
    failing.method = ""
    lease = pool.acquire(1.0, CLIENT)
    assert pool.state("a") == ("saturated",)
    pool.release(lease, 2.0)
    assert pool.in_flight("a") == 0
    assert pool.acquire(2.0, CLIENT).backend == "a"


@pytest.mark.parametrize("factor", [-0.1, 1.5, nan, inf])
def test_a_factor_must_be_0_to_1(factor: float) -> None:
    class Wrong(Failing):
        def factor(self, backend: str, now: float) -> float:
            return factor if backend == "b" else 1

    pool = Pool(RoundRobin(["a"]), [Wrong()])
    with pytest.raises(InvalidSetting, match=f"Wrong.*'b'.*{factor!r}"):
        pool.add("b")
    assert list(pool.backends) == ["a"]
