"""One pool and its model, and the operations on both.

Every answer of the pool is compared with that of the model, and so is all that the pool shows.
"""

from collections.abc import Iterable
from typing import Any

from balancers import Lease, NoBackendAvailable, Pool
from balancers.errors import DuplicateBackend, UnknownBackend
from tests.model.gate_models import HealthModel, UnknownName
from tests.model.pool_model import DuplicateName, PoolModel, Refused
from tests.model.scenarios import Op, Scenario

__all__ = ["START", "Differs", "Held", "Model", "World", "initial_model"]

START = 1000.0
"""The time of the first operation in seconds.  Every time is above 500 and every other number of
these pools is below, so that :mod:`tests.model.canonical` can make times relative."""
NAMES = ("a", "b")
Held = tuple[str, int, float]
"""The backend of a lease, its generation in the model, and the time when it was acquired."""


class Differs(AssertionError):
    """Raised when a pool and its model differ."""


class Model:
    """The model of the pool, the leases that are held, and the clock of the caller."""

    def __init__(self, pool: PoolModel, held: Iterable[Held], clock: float) -> None:
        self.pool = pool
        self.held = [*held]
        self.clock = clock

    def copy(self) -> "Model":
        return Model(self.pool.copy(), self.held, self.clock)


def initial_model(scenario: Scenario) -> Model:
    """Return the model of a pool that has just been created."""
    settings: dict[str, Any] = {**scenario.settings}
    settings.setdefault("calm", settings.get("panic", 0.0))
    pool = PoolModel(scenario.models(), least=scenario.least, now=START, **settings)
    for name in NAMES:
        pool.enter(name, 1)
    pool.decide_again()
    return Model(pool, (), START)


def check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Differs(f"{what}: the pool says {found!r}, the model {expected!r}")


def named(value: object) -> str:
    return type(value).__name__


class World:
    """A real pool.  ``do`` replays operations, and ``compare`` also asks a model."""

    def __init__(self, scenario: Scenario) -> None:
        self.gates = scenario.gates()
        balancer = scenario.balancer(NAMES)
        self.pool: Pool[str] = Pool(balancer, self.gates, now=START, **scenario.settings)
        self.held: list[Lease[str]] = []
        self.clock = START

    # The operations on the pool.  Each returns what the model is to predict.

    def do(self, op: Op) -> Any:
        """Return the result of an operation, or the error that it raises."""
        name, *arguments = op
        try:
            return getattr(self, name)(*arguments)
        except (DuplicateBackend, UnknownBackend, NoBackendAvailable) as error:
            return error

    def wait(self, seconds: float) -> None:
        self.clock += seconds

    def add(self, name: str, weight: float) -> None:
        self.pool.add(name, weight, self.clock)

    def remove(self, name: str) -> None:
        self.pool.remove(name, self.clock)

    def set_weight(self, name: str, weight: float) -> None:
        self.pool.set_weight(name, weight, self.clock)

    def update(self, weights: Iterable[tuple[str, float]], keep: float | None) -> None:
        self.pool.update(dict(weights), self.clock, keep)

    def acquire(self, prefer: str | None, strict: bool, avoid: str, late: float) -> Lease[str]:
        lease = self.pool.acquire(self.clock + late, None, prefer, strict, tuple(avoid))
        self.held.append(lease)
        return lease

    def release(self, place: int, ok: bool | None) -> None:
        self.pool.release(self.held.pop(place), self.clock, ok)

    def observe(self, gate: int, name: str, ok: bool) -> None:
        self.gates[gate].observe(name, ok, self.clock)

    def begin(self, gate: int, name: str) -> None:
        self.gates[gate].begin(name, self.clock)

    def cancel(self, gate: int, name: str) -> None:
        self.gates[gate].cancel(name, self.clock)

    def set_limit(self, gate: int, name: str, limit: int | None) -> None:
        self.gates[gate].set(name, limit, self.clock)

    def drained(self, gate: int) -> set[tuple[str, bool, int]]:
        ended = self.gates[gate].drained(self.clock)
        return {(one.backend, one.forced, one.in_flight) for one in ended}

    # The comparison

    def compare(self, op: Op, model: Model) -> None:
        """Do an operation on the pool and the model.  Raise Differs if they do not agree."""
        before = model.pool.now
        result = self.do(op)
        try:
            expected = predict(op, model)
        except (UnknownName, DuplicateName) as error:
            kind = UnknownBackend if isinstance(error, UnknownName) else DuplicateBackend
            check("the error", named(result), kind.__name__)
            # The time of a refused change counts only if the pool had a kept member to look at.
            if self.pool._members.now in {before, model.pool.now}:
                model.pool.now = self.pool._members.now
            return
        except Refused as refused:
            check("the error", named(result), "NoBackendAvailable")
            if result.reason not in refused.reasons:
                check("the reason of the refusal", result.reason, refused.reasons)
            check("the counts of the refusal", result.counts, refused.counts)
            check("retry_at of the refusal", result.retry_at, refused.retry_at)
            check("full of the refusal", result.full, refused.full)
            model.pool.count_refusal(result.reason)
            return
        if op[0] != "acquire":
            check("the result", result, expected)
            return
        if named(result) != "Lease":
            raise Differs(f"the pool refuses, but {sorted(expected.allowed)} may serve: {result}")
        lease = self.held[-1]
        if lease.backend not in expected.allowed:
            check("the pick", lease.backend, sorted(expected.allowed))
        check("bound", lease.bound, expected.bound)
        check("panic of the lease", lease.panic, expected.panic)
        check("acquired_at", lease.acquired_at, model.pool.now)
        model.pool.started(lease.backend)
        serial = model.pool.members[lease.backend].serial
        model.held.append((lease.backend, serial, model.pool.now))

    def check_state(self, model: PoolModel) -> None:
        """Read all that the pool shows.  Raise Differs if the model does not agree.

        Reading also changes what is remembered: neither can be continued afterwards.
        """
        pool = self.pool
        model.read()
        check("panicking", pool.panicking, bool(model.ignored & model.of_kind("soft")))
        check("the members", [*pool.backends], [*model.members])
        weights = {name: model.effective(member) for name, member in model.members.items()}
        check("the weights of the balancer", {**pool._balancer.weights}, weights)
        snapshot = pool.snapshot()
        check("the latest time", snapshot.at, model.now)
        members = model.members.values()
        check(
            "requests", snapshot.requests, model.former_requests + sum(m.requests for m in members)
        )
        check(
            "failures", snapshot.failures, model.former_failures + sum(m.failures for m in members)
        )
        check("in flight", snapshot.in_flight, model.total_in_flight())
        check("refusals", snapshot.refusals, model.refusals)
        if not any(member.until is not None for member in members):
            check("due", pool.due, model.due())
        elif any(model.is_over(member) for member in members) and pool.due > model.now:
            raise Differs("a kept member is over, and due is later")
        for row, (name, member) in zip(snapshot.members, model.members.items(), strict=True):
            shown = (row.backend, row.weight, row.effective_weight, row.in_flight, row.requests)
            expected = (name, member.weight, weights[name], member.in_flight, member.requests)
            check("a row of the snapshot", shown, expected)
            check(f"failures of {name}", row.failures, member.failures)
            self.check_member(model, name)

    def check_member(self, model: PoolModel, name: str) -> None:
        pool, member = self.pool, model.members[name]
        whole = {"saturated"} if model.full() else set[str]()
        reasons = {reason for reason, _ in model.closing(member)} | whole
        state = pool.state(name)
        check(f"state of {name}", {*state}, reasons)
        check(f"length of the state of {name}", len(state), len(reasons))
        over = model.is_over(member)
        admitted = not (over or whole or model.heeded(member))
        bound = not (over or whole or model.closes_bound(member))
        check(f"admits {name}", pool.admits(name), admitted)
        check(f"admits {name} bound", pool.admits(name, bound=True), bound)
        if not over:
            check(f"full {name}", pool.full(name), model.helps_to_wait(name, bound=True))
        for gate, gate_model in zip(self.gates, model.gates, strict=True):
            if isinstance(gate_model, HealthModel):
                closed = gate_model.closes(name, 0, model.now)
                check(f"healthy {name}", gate.healthy(name), not closed)


def predict(op: Op, model: Model) -> Any:
    """Do an operation on the model, and return its result."""
    name, *arguments = op
    pool, clock = model.pool, model.clock
    result: Any = None
    if name == "wait":
        model.clock += arguments[0]
    elif name == "acquire":
        prefer, strict, avoid, late = arguments
        result = pool.acquire(clock + late, prefer, strict, frozenset(avoid))
    elif name == "release":
        backend, serial, started_at = model.held.pop(arguments[0])
        pool.ended(backend, serial, arguments[1], started_at, clock)
    elif name == "update":
        pool.update(dict(arguments[0]), clock, arguments[1])
    elif name in {"add", "remove", "set_weight"}:
        getattr(pool, name)(*arguments, clock)
    else:
        result = call_gate(pool, name, arguments, clock)
    return result


def call_gate(pool: PoolModel, name: str, arguments: list[Any], clock: float) -> Any:
    gates: list[Any] = [*pool.gates]
    gate: Any = gates[int(arguments[0])]
    if name == "set_limit":
        return gate.set(*arguments[1:])
    if name == "drained":
        in_flight = {backend: member.in_flight for backend, member in pool.members.items()}
        return gate.drained(in_flight, clock)
    return getattr(gate, name)(*arguments[1:], clock)
