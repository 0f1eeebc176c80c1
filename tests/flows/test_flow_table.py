"""The flow table, compared with a naive model."""

import copy
import pickle
import subprocess
import sys
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from balancers import HashRing, NoBackendAvailable, Pool
from balancers.errors import InvalidSetting, InvalidTime
from balancers.flows import FlowCounts, FlowKey, FlowTable
from balancers.flows import _idle_queue as idle_queue
from balancers.flows.flow_table import FlowState
from tests.depth import runs


def number(port: int) -> FlowKey:
    return FlowKey("tcp", "192.0.2.1", port, "198.51.100.7", 443)


ONE, TWO = number(1), number(2)

SIZE = 4
TIMEOUTS: dict[FlowState, float] = {"new": 3.0, "closing": 5.0, "established": 10.0}
"""In the order of eviction."""
STEPS = st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.0, 3.0, 5.0, 10.0, -2.0])
FLOWS = st.sampled_from([FlowKey("udp", "::1", port, "::2", 53) for port in range(8)])
BACKENDS = st.sampled_from(["a", "b", "c"])
STATES: Any = st.sampled_from([*TIMEOUTS])


class ModelFlow:
    """A flow of the model; ``joined`` orders it in its state, ``bound`` on its backend."""

    def __init__(self, backend: str, state: FlowState, seen: float, serial: int) -> None:
        self.backend, self.seen = backend, seen
        self.state: FlowState = state
        self.joined = self.bound = serial

    @property
    def ends(self) -> float:
        return self.seen + TIMEOUTS[self.state]


class TableMachine(RuleBasedStateMachine):
    """The model is a dict that is scanned completely for every result."""

    def __init__(self) -> None:
        super().__init__()
        self.table = self.make()
        self.model: dict[bytes, ModelFlow] = {}
        self.now = 0.0
        self.serial = 0
        self.counts = [0, 0, 0, 0]
        self.retiring: set[str] = set()
        self.retired: list[str] = []

    def make(self) -> FlowTable[str]:
        table: FlowTable[str] = FlowTable(
            SIZE, new_timeout=3.0, closing_timeout=5.0, established_timeout=10.0
        )
        assert table.expire(0.0) == 0
        return table

    def tick(self, step: float) -> float:
        """Return a time, possibly an earlier one; expire the due flows of the model."""
        requested = self.now + step
        self.now = max(self.now, requested)
        for state in TIMEOUTS:
            due = [f for f, m in self.model.items() if m.state == state and m.ends <= self.now]
            for flow in sorted(due, key=lambda f: (self.model[f].seen, self.model[f].joined)):
                self.remove(flow)
                self.counts[3] += 1
        return requested

    def remove(self, flow: bytes) -> None:
        self.flow_left(self.model.pop(flow).backend)

    def flow_left(self, backend: str) -> None:
        if backend in self.retiring and backend not in {m.backend for m in self.model.values()}:
            self.retiring.remove(backend)
            self.retired.append(backend)

    def cancel_retirement(self, backend: str) -> None:
        self.retiring.discard(backend)
        self.retired = [one for one in self.retired if one != backend]

    def look_up(self, flow: bytes) -> str | None:
        found = self.model.get(flow)
        self.counts[found is None] += 1
        if found is None:
            return None
        found.seen = self.now
        return found.backend

    def bind(self, flow: bytes, backend: str, state: FlowState) -> None:
        self.serial += 1
        found = self.model.get(flow)
        if found is None:
            if len(self.model) == SIZE:
                order: list[FlowState] = [*TIMEOUTS]
                self.remove(
                    min(
                        self.model,
                        key=lambda f: (
                            order.index(self.model[f].state),
                            self.model[f].seen,
                            self.model[f].joined,
                        ),
                    )
                )
                self.counts[2] += 1
            self.model[flow] = ModelFlow(backend, state, self.now, self.serial)
            self.cancel_retirement(backend)
            return
        if found.backend != backend:
            old, found.backend, found.bound = found.backend, backend, self.serial
            self.flow_left(old)
            self.cancel_retirement(backend)
        elif found.state == "established" and state == "new":
            state = "established"
        if found.state != state:
            found.state, found.joined = state, self.serial
        found.seen = self.now

    @rule(flow=FLOWS, step=STEPS)
    def find(self, flow: FlowKey, step: float) -> None:
        found = self.table.find(FlowKey.from_bytes(bytes(flow)), self.tick(step))
        assert found == self.look_up(flow)

    @rule(flow=FLOWS, backend=BACKENDS, step=STEPS, state=STATES)
    def keep(self, flow: FlowKey, backend: str, step: float, state: FlowState) -> None:
        self.table.keep(flow, backend, self.tick(step), state)
        self.bind(flow, backend, state)

    @rule(flow=FLOWS, backend=BACKENDS, step=STEPS, state=STATES)
    def route(self, flow: FlowKey, backend: str, step: float, state: FlowState) -> None:
        picked: list[FlowKey] = []

        def pick(flow: FlowKey) -> str:
            picked.append(flow)
            return backend

        found = self.table.route(flow, pick, self.tick(step), state)
        expected = self.look_up(flow)
        assert picked == ([flow] if expected is None else [])
        assert found == (expected or backend)
        self.bind(flow, found, state)

    @rule(flow=FLOWS)
    def discard(self, flow: FlowKey) -> None:
        self.table.discard(flow)
        if flow in self.model:
            self.remove(flow)

    @rule(backend=BACKENDS)
    def forget(self, backend: str) -> None:
        removed = [f for f, m in self.model.items() if m.backend == backend]
        removed.sort(key=lambda f: self.model[f].bound)
        assert self.table.forget(backend) == removed
        for flow in removed:
            del self.model[flow]
        self.flow_left(backend)

    @rule(backend=BACKENDS)
    def retire(self, backend: str) -> None:
        self.table.retire(backend)
        if backend not in self.retired:
            self.retiring.add(backend)
            self.flow_left(backend)

    @rule(step=STEPS)
    def report_retired_backends(self, step: float) -> None:
        assert self.table.retired(self.tick(step)) == self.retired
        self.retired = []

    @rule(step=STEPS)
    def expire(self, step: float) -> None:
        before = len(self.model)
        assert self.table.expire(self.tick(step)) == before - len(self.model)

    @rule(pickled=st.booleans())
    def continue_with_a_copy(self, pickled: bool) -> None:
        old = self.table
        self.table = pickle.loads(pickle.dumps(old)) if pickled else copy.deepcopy(old)  # noqa: S301 - own pickle
        old.keep(ONE, "d", self.now, "new")
        old.forget("a")

    @invariant()
    def properties_equal_those_of_the_model(self) -> None:
        table, model = self.table, self.model
        assert len(table) == len(model) <= SIZE == table.max_flows
        assert table.counts == FlowCounts(*self.counts)
        states = [m.state for m in model.values()]
        assert table.states == {state: states.count(state) for state in TIMEOUTS}
        backends = [m.backend for m in model.values()]
        assert table.backends == {b: backends.count(b) for b in set(backends)}
        assert [table.flows_on(b) for b in "abc"] == [backends.count(b) for b in "abc"]
        assert all(flow in table for flow in model)
        assert ONE not in table
        assert f"{len(model)} of {SIZE} flows" in repr(table)

    @rule()
    def due_equals_that_of_the_model(self) -> None:
        assert self.table.due == min((m.ends for m in self.model.values()), default=inf)


@pytest.mark.parametrize("min_stale", [64, 0])
def test_the_table_equals_the_model(min_stale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the normal setting, and with heaps that are rebuilt as early as possible."""
    monkeypatch.setattr(idle_queue, "_MIN_STALE", min_stale)
    run_state_machine_as_test(
        TableMachine, settings=settings(max_examples=runs(300), stateful_step_count=60)
    )


def test_a_flow_is_removed_at_its_timeout_and_not_before() -> None:
    for state, timeout in TIMEOUTS.items():
        for now, found in ((timeout - 2**-40, "a"), (timeout, None)):
            table: FlowTable[str] = FlowTable(
                new_timeout=3.0, closing_timeout=5.0, established_timeout=10.0
            )
            table.keep(ONE, "a", 0.0, state)
            assert table.due == timeout
            assert table.find(ONE, now) == found
            assert table.counts.expirations == (found is None)


def test_an_earlier_time_counts_as_the_latest_seen() -> None:
    table: FlowTable[str] = FlowTable(new_timeout=10.0)
    table.keep(ONE, "a", 0.0, "new")
    assert table.find(TWO, 5.0) is None
    assert table.find(ONE, 3.0) == "a"
    assert table.due == 15.0
    table.keep(TWO, "a", 4.0, "new")
    assert table.expire(15.0) == 2


def test_the_idlest_flow_is_evicted_and_of_equals_the_first_to_join() -> None:
    table: FlowTable[str] = FlowTable(2)
    reports: list[tuple[FlowKey, FlowState]]
    reports = [(ONE, "closing"), (TWO, "closing"), (ONE, "new"), (ONE, "closing")]
    for flow, state in reports:
        table.keep(flow, "a", 1.0, state)
    table.keep(number(3), "a", 1.0, "established")
    assert (ONE in table, TWO in table) == (True, False)


@pytest.mark.parametrize("seed", range(5))
def test_among_many_flows_the_idlest_is_evicted(seed: int) -> None:
    """Hits in random order, one eviction, and then the end of most flows."""
    rng, table = Random(seed), FlowTable[str](400, established_timeout=inf)
    seen = {number(i): 0.0 for i in range(400)}
    for flow in seen:
        table.keep(flow, "a", 0.0, "established")
    for turn in range(400):
        flow = rng.choice([*seen])
        seen[flow] = turn + 1.0
        table.find(flow, turn + 1.0)
    table.keep(number(400), "a", 1000.0, "new")
    del seen[min(seen, key=seen.__getitem__)]
    table.discard(number(400))
    for flow in rng.sample([*seen], 300):
        table.discard(flow)
        del seen[flow]
    expected = sorted(seen, key=lambda flow: (seen[flow], flow))
    for i in range(400 - len(seen)):
        table.keep(number(1000 + i), "b", 1001.0, "established")
    for i, flow in enumerate(expected):
        assert flow in table
        table.keep(number(2000 + i), "b", 1002.0, "established")
        assert flow not in table


def test_the_defaults_are_those_of_ipvs() -> None:
    defaults: dict[FlowState, float] = {"new": 60.0, "established": 900.0, "closing": 120.0}
    for state, timeout in defaults.items():
        table: FlowTable[str] = FlowTable()
        table.keep(ONE, "a", 5.0, state)
        assert table.due == 5.0 + timeout


def test_a_flood_of_handshakes_evicts_one_established_flow_at_most() -> None:
    table: FlowTable[str] = FlowTable(100)
    for i in range(100):
        table.keep(number(i), "a", 0.0, "established")
    for i in range(1000, 6000):
        table.keep(number(i), "b", 1.0, "new")
    assert table.states == {"new": 1, "closing": 0, "established": 99}
    assert number(0) not in table, "the idlest of the established"
    assert table.counts.evictions == 5000


def test_a_stray_syn_does_not_shorten_the_timeout_of_a_connection() -> None:
    table: FlowTable[str] = FlowTable()
    table.keep(ONE, "a", 0.0, "established")
    assert table.route(ONE, lambda _: "b", 1.0, "new") == "a"
    assert table.states["established"] == 1
    table.keep(ONE, "a", 2.0, "closing")
    table.keep(ONE, "a", 3.0, "new")
    assert table.states["new"] == 1, "a port is used again"
    table.keep(ONE, "a", 4.0, "established")
    table.keep(ONE, "b", 5.0, "new")
    assert (table.states["new"], table.find(ONE, 5.0)) == (1, "b"), "as reported"


def test_a_retiring_backend_is_reported_once_when_its_last_flow_has_closed() -> None:
    table: FlowTable[str] = FlowTable(closing_timeout=120.0)
    table.keep(ONE, "a", 0.0, "established")
    table.keep(TWO, "a", 0.0, "established")
    table.retire("a")
    assert (table.find(ONE, 1.0), table.retired(1.0)) == ("a", [])
    table.discard(TWO)
    table.keep(ONE, "a", 2.0, "closing")
    assert table.find(ONE, 3.0) == "a", "packets still arrive while the flow closes"
    assert table.retired(122.0) == []
    assert table.retired(123.0) == ["a"]
    assert table.retired(123.0) == []


def test_with_a_pool_a_flow_prefers_its_backend() -> None:
    pool = Pool(HashRing(["a", "b", "c"]))
    table: FlowTable[str] = FlowTable()
    for i in range(30):
        flow = number(i)
        lease = pool.acquire(0.0, key=flow, prefer=table.find(flow, 0.0))
        table.keep(flow, lease.backend, 0.0, "new")
    before = dict(table.backends)
    pool.add("d", now=1.0)
    for i in range(30):
        lease = pool.acquire(1.0, key=(flow := number(i)), prefer=table.find(flow, 1.0))
        assert lease.bound
        table.keep(flow, lease.backend, 1.0, "established")
    assert table.backends == before


def state_of(table: FlowTable[Any]) -> tuple[object, ...]:
    return table.counts, table.states, table.backends, len(table), table.due


@pytest.mark.parametrize("bad", [0, -1, 1.0, nan, "4", True, None, inf])
def test_a_size_below_one_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidSetting, match=repr(bad)):
        FlowTable(bad)


@pytest.mark.parametrize("state", TIMEOUTS)
@pytest.mark.parametrize("bad", [0, -1.0, nan, -inf])
def test_a_timeout_that_is_not_positive_is_refused(state: FlowState, bad: float) -> None:
    timeouts: dict[str, Any] = {f"{state}_timeout": bad}
    with pytest.raises(
        InvalidSetting, match=f"{state}_timeout must be positive seconds, not {bad!r}"
    ):
        FlowTable(**timeouts)


def test_an_infinite_timeout_never_expires() -> None:
    table: FlowTable[str] = FlowTable(established_timeout=inf)
    table.keep(ONE, "a", 0.0, "established")
    table.keep(TWO, "a", 0.0, "new")
    assert table.find(ONE, 1e18) == "a"
    assert (len(table), table.due) == (1, inf)


@pytest.mark.parametrize("bad", [nan, inf, -inf, 10**400, -(10**400), 1e301])
@pytest.mark.parametrize("filled", [False, True])
def test_an_invalid_time_changes_nothing(bad: float, filled: bool) -> None:
    table: FlowTable[str] = FlowTable(established_timeout=inf)
    if filled:
        table.keep(ONE, "a", 1.0, "established")
    before = state_of(table)
    calls: list[Any] = [
        lambda: table.find(ONE, bad),
        lambda: table.keep(ONE, "b", bad, "closing"),
        lambda: table.route(ONE, lambda _: "b", bad, "closing"),
        lambda: table.expire(bad),
        lambda: table.retired(bad),
    ]
    for call in calls:
        with pytest.raises(InvalidTime, match="finite"):
            call()
        assert state_of(table) == before


@pytest.mark.parametrize("bad", ["syn", "NEW", "", None, 1, ["new"], nan, "\ud800"])
def test_an_invalid_state_changes_nothing(bad: Any) -> None:
    table: FlowTable[str] = FlowTable()
    table.keep(ONE, "a", 1.0, "new")
    before = state_of(table)
    with pytest.raises(InvalidSetting) as raised:
        table.keep(TWO, "b", 99.0, bad)
    assert repr(bad) in str(raised.value)
    with pytest.raises(InvalidSetting):
        table.route(ONE, lambda _: "b", 99.0, bad)
    assert state_of(table) == before


@pytest.mark.parametrize(
    ("flow", "backend"), [(ONE, None), (ONE, ["b"]), (TWO, {}), (bytearray(37), "b"), ([], "b")]
)
def test_an_invalid_flow_or_backend_changes_nothing(flow: Any, backend: Any) -> None:
    table: FlowTable[Any] = FlowTable(1)
    table.keep(ONE, "a", 1.0, "new")
    before = state_of(table)
    with pytest.raises(TypeError):
        table.keep(flow, backend, 99.0, "established")
    assert state_of(table) == before
    with pytest.raises(TypeError):
        table.retire([])  # the backend is unhashable
    assert state_of(table) == before


def test_nothing_is_stored_when_no_backend_can_be_picked() -> None:
    table: FlowTable[str] = FlowTable()
    with pytest.raises(NoBackendAvailable, match="empty"):
        table.route(ONE, HashRing[str]().pick, 0.0, "new")
    assert len(table) == 0
    assert table.counts.misses == 1


def test_a_retiring_backend_that_fails_has_retired() -> None:
    table: FlowTable[str] = FlowTable()
    table.keep(ONE, "a", 0.0, "established")
    table.retire("a")
    assert table.retired(0.0) == []
    assert table.forget("a") == [ONE]
    assert table.retired(0.0) == ["a"]
    assert table.retired(0.0) == []


def test_absent_flows_and_backends_without_flows_are_ignored() -> None:
    table: FlowTable[str] = FlowTable()
    table.discard(ONE)
    assert table.forget("a") == []
    table.retire("a")
    assert table.retired(0.0) == ["a"]


def test_a_copy_shares_its_backends() -> None:
    class Backend:
        pass

    backend = Backend()
    table: FlowTable[Backend] = FlowTable()
    table.keep(ONE, backend, 0.0, "established")
    copied = copy.deepcopy(table)
    assert copied.find(ONE, 1.0) is backend
    assert copied.forget(backend) == [ONE]
    assert ONE in table


def test_a_table_of_many_flows_can_be_copied_and_pickled() -> None:
    table: FlowTable[str] = FlowTable()
    for i in range(20_000):
        table.keep(number(i), f"b{i % 7}", i / 1000, "established")
    for copied in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):  # noqa: S301 - own pickle
        assert state_of(copied) == state_of(table)
        assert copied.expire(910.0) == number_expired(910.0)


def number_expired(now: float) -> int:
    return sum(i / 1000 + 900.0 <= now for i in range(20_000))


def test_a_table_imports_no_heavy_module() -> None:
    code = (
        "import sys; from balancers.flows.flow_table import FlowTable;"
        "from balancers.flows.flow_key import FlowKey; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "mmh3", "sortedcontainers", "socket"} & set(run.stdout.split())
