"""Session tables compared with an ordered dict, sessions by address, and memory bounds."""

import copy
import pickle
from collections import Counter, OrderedDict
from ipaddress import ip_address
from math import inf, nan
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from balancers import HealthChecks, Pool, RoundRobin
from balancers.errors import DuplicateBackend, ForeignLease, InvalidKey, InvalidSetting, InvalidTime
from balancers.http import Request
from balancers.sessions import AddressSessions, LearnedSessions
from tests.depth import runs
from tests.sessions.samples import pool_of
from tests.test_memory import reachable_size

SESSIONS = st.integers(0, 9).map(lambda n: f"session {n}")
BACKENDS = st.sampled_from([*"abcd"])
SIZE, IDLE = 5, 10.0


class TableMachine(RuleBasedStateMachine):
    """The model maps a session to its backend and the time of its last use, in order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.latest = 0.0, -inf
        self.pool = Pool(RoundRobin([*"abcd"]))
        self.sticky = LearnedSessions(self.pool, max_sessions=SIZE, idle_timeout=IDLE)
        self.table: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.evicted = self.expired = 0

    def advance(self, now: float) -> None:
        self.latest = max(self.latest, now)
        for session, (_, used) in [*self.table.items()]:
            if self.latest - used > IDLE:
                del self.table[session]
                self.expired += 1

    def use(self, session: str, backend: str) -> None:
        self.table.pop(session, None)
        self.table[session] = (backend, self.latest)
        if len(self.table) > SIZE:
            del self.table[next(iter(self.table))]
            self.evicted += 1

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(session=SESSIONS, backend=BACKENDS, earlier=st.sampled_from([0.0, 5.0]))
    def learn(self, session: str, backend: str, earlier: float) -> None:
        if backend in self.pool:
            lease = self.pool.acquire(self.now, prefer=backend)
            self.sticky.learn(session, lease, self.now - earlier)
            self.advance(self.now - earlier)
            self.use(session, backend)

    @rule(session=SESSIONS, moves=st.booleans(), to=BACKENDS)
    def resolve_and_issue(self, session: str, moves: bool, to: str) -> None:
        self.advance(self.now)
        found = self.sticky.resolve(session, self.now)
        if session not in self.table:
            assert found[:2] == (None, "absent")
        else:
            backend = self.table[session][0]
            self.use(session, backend)
            is_member = backend in self.pool
            assert found[:2] == ((backend, "") if is_member else (None, "unknown backend"))
        if moves and to in self.pool:
            lease = self.pool.acquire(self.now, prefer=to)
            self.sticky.issue(lease, wall=0.0, binding=found)
            if session in self.table:
                self.use(session, to)

    @rule(session=SESSIONS)
    def forget(self, session: str) -> None:
        self.sticky.forget(session)
        self.table.pop(session, None)

    @rule(backend=BACKENDS)
    def leave_or_join(self, backend: str) -> None:
        if backend in self.pool:
            self.pool.remove(backend, self.now)
        else:
            self.pool.add(backend, 1, self.now)

    @rule()
    def continue_with_a_copy(self) -> None:
        pair = (self.pool, self.sticky)
        self.pool, self.sticky = pickle.loads(pickle.dumps(copy.deepcopy(pair)))  # noqa: S301 - own

    @invariant()
    def the_table_equals_the_model(self) -> None:
        assert len(self.sticky) == len(self.table)
        assert (self.sticky.evicted, self.sticky.expired) == (self.evicted, self.expired)
        counts = Counter(backend for backend, _ in self.table.values())
        assert self.sticky.counts() == {b: counts[b] for b in self.pool.backends}


def test_a_table_equals_an_ordered_dict() -> None:
    run_state_machine_as_test(
        TableMachine, settings=settings(max_examples=runs(200), stateful_step_count=50)
    )


def test_the_memory_of_a_table_is_bounded() -> None:
    pool = pool_of()
    sticky = LearnedSessions(pool, max_sessions=100)
    lease = pool.acquire(0.0)
    for number in range(300):
        sticky.learn(number, lease, 0.0)
    before = reachable_size(sticky._table)
    for number in range(1800):
        sticky.learn("x" * 10_000 + str(number), lease, 0.0)
        found = sticky.resolve(f"unknown {number}", 0.0)
        sticky.issue(lease, wall=0.0, binding=found)
    assert (len(sticky), sticky.evicted, sticky.expired) == (100, 2000, 0)
    assert reachable_size(sticky._table) <= 1.2 * before
    assert repr(sticky) == "<LearnedSessions: 100 of 100, 2000 evicted, 0 expired>"
    sticky.resolve(None, 1e6)
    assert (len(sticky), sticky.expired) == (0, 100)


def test_an_id_that_only_a_request_has_is_not_stored() -> None:
    pool = pool_of()
    sticky = LearnedSessions(pool, max_sessions=10)
    sticky.learn("ours", pool.acquire(0.0), 0.0)
    for number in range(100):
        found = sticky.resolve(f"unknown {number}", 1.0)
        assert found.reason == "absent"
        sticky.issue(pool.acquire(1.0), wall=0.0, binding=found)
    assert (len(sticky), sticky.resolve("ours", 2.0).backend) == (1, "a")


def test_a_session_moves_with_its_lease_when_its_backend_is_closed() -> None:
    health = HealthChecks[str](unhealthy_threshold=1)
    pool = pool_of("ab", [health])
    sticky = LearnedSessions(pool)
    sticky.learn("id", pool.acquire(0.0, prefer="a"), 0.0)
    health.observe("a", False, 1.0)
    found = sticky.resolve("id", 1.0)
    assert (found.backend, found.reason, found.strict) == ("a", "closed", False)
    sticky.issue(pool.acquire(1.0, prefer=found.backend), wall=0.0, binding=found)
    assert sticky.resolve("id", 2.0)[:2] == ("b", "")
    strict = LearnedSessions(pool, failover="strict")
    strict.learn("id", pool.acquire(2.0, prefer="b"), 2.0)
    assert strict.resolve("id", 2.0).strict


def test_text_and_its_bytes_are_the_same_session() -> None:
    pool = pool_of()
    sticky = LearnedSessions(pool)
    sticky.learn("é", pool.acquire(0.0), 0.0)
    assert sticky.resolve("é".encode(), 0.0).backend == "a"
    assert sticky.resolve("\ud800", 0.0).reason == "malformed"
    assert sticky.resolve(None, 0.0).reason == "absent"
    with pytest.raises(InvalidKey):
        sticky.learn("\ud800", pool.acquire(0.0), 0.0)
    assert len(sticky) == 1


def test_addresses_are_distinguished_by_their_prefix() -> None:
    pool = pool_of("ab")
    sticky = AddressSessions(pool, ipv4_prefix=24, ipv6_prefix=48)

    def visit(client: Any) -> str:
        found = sticky.resolve(client, 0.0)
        lease = pool.acquire(0.0, prefer=found.backend)
        sticky.issue(lease, wall=0.0, binding=found)
        assert sticky.resolve(client, 0.0).backend == lease.backend
        return lease.backend

    home = visit("192.0.2.1")
    for same in ("192.0.2.200", b"\xc0\0\2\7", "::ffff:192.0.2.9", ip_address("192.0.2.3")):
        assert (visit(same), len(sticky)) == (home, 1)
    assert visit(Request(client="192.0.2.77")) == home
    assert visit("192.0.3.1") != home
    away = visit("2001:db8:1::1")
    assert visit("2001:db8:1:ffff::9%eth0") == away
    assert len(sticky) == 3
    assert sticky.counts() == {"a": 2, "b": 1}


@pytest.mark.parametrize("client", ["", "unknown", "10.0.0.1:80", "\ud800", "1" * 100_000, 7, b"x"])
def test_a_client_without_a_valid_address_is_not_bound(client: Any) -> None:
    pool = pool_of()
    sticky = AddressSessions(pool)
    found = sticky.resolve(client, 0.0)
    assert found[:2] == (None, "malformed")
    sticky.issue(pool.acquire(0.0), wall=0.0, binding=found)
    assert len(sticky) == 0
    assert sticky.resolve(Request(), 0.0).reason == sticky.resolve(None, 0.0).reason == "absent"


def test_a_flood_of_addresses_is_bounded_and_frequent_clients_stay() -> None:
    pool = pool_of()
    sticky = AddressSessions(pool, max_sessions=50)
    for number in range(5000):
        client = f"10.1.{number >> 8}.{number & 255}" if number % 10 else "192.0.2.1"
        found = sticky.resolve(client, 0.0)
        assert found.bound == (number % 10 == 0 and number > 0)
        lease = pool.acquire(0.0, prefer=found.backend)
        sticky.issue(lease, wall=0.0, binding=found)
        pool.release(lease, 0.0)
    assert (len(sticky), sticky.evicted) == (50, 4501 - 50)


INVALID: list[dict[str, Any]] = [
    {"max_sessions": 0}, {"max_sessions": -1}, {"max_sessions": 1.5}, {"max_sessions": True},
    {"idle_timeout": 0.0}, {"idle_timeout": nan}, {"idle_timeout": -1.0}, {"failover": "never"},
]  # fmt: skip


def same(_backend: str) -> str:
    return "same"


@pytest.mark.parametrize("make", [LearnedSessions, AddressSessions])
@pytest.mark.parametrize("invalid", INVALID, ids=str)
def test_invalid_settings_of_a_table(make: Any, invalid: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        make(pool_of(), **invalid)
    with pytest.raises(DuplicateBackend):
        make(pool_of(), identity=same)


@pytest.mark.parametrize("prefix", [-1, 33, 129, 1.5, True, None])
def test_invalid_prefixes(prefix: Any) -> None:
    for name in ("ipv4_prefix", "ipv6_prefix"):
        if (name, prefix) != ("ipv6_prefix", 33):
            with pytest.raises(InvalidSetting, match=name):
                AddressSessions(pool_of(), **{name: prefix})


def test_time_is_checked_and_never_goes_back() -> None:
    pool = pool_of()
    sticky = LearnedSessions(pool, idle_timeout=10.0)
    lease = pool.acquire(100.0)
    sticky.learn("id", lease, 100.0)
    assert sticky.resolve("id", 0.0).bound
    assert sticky.resolve("id", 110.0).bound
    assert not sticky.resolve("id", 120.5).bound
    for now in (nan, inf, -inf):
        with pytest.raises(InvalidTime):
            sticky.resolve("id", now)
        with pytest.raises(InvalidTime):
            sticky.learn("other", lease, now)
    with pytest.raises(ForeignLease):
        sticky.learn("id", pool_of().acquire(0.0), 121.0)
    assert len(sticky) == 0


def test_the_acquisition_of_a_lease_counts_as_a_use() -> None:
    """It may be later than the lookup, because the request waited."""
    pool = pool_of()
    sticky = LearnedSessions(pool, idle_timeout=10.0)
    sticky.learn("id", pool.acquire(0.0), 0.0)
    found = sticky.resolve("id", 1.0)
    sticky.issue(pool.acquire(9.0, prefer=found.backend), wall=0.0, binding=found)
    assert sticky.resolve("id", 19.0).bound
