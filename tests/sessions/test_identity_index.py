"""Who a token means, through every change of membership; and that the pool agrees."""

import copy
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from balancers import (
    ConnectionLimit,
    Drain,
    Gate,
    HealthChecks,
    Lease,
    NoBackendAvailable,
    Pool,
    RoundRobin,
)
from balancers.sessions import CookieSessions
from balancers.sessions._identity_index import IdentityIndex, digest_of
from tests.depth import DEEP, runs
from tests.sessions.samples import WALL, cookie_of, pool_of, tokens, tokens_of
from tests.work import work_of

NAMES = st.sampled_from([*"abcdef"])


class IndexMachine(RuleBasedStateMachine):
    """The model is a dict of the present members to their identities, and all there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.generations = Counter[str]()
        self.asked = 0
        self.joined = 0
        self.pool: Pool[str] = Pool(RoundRobin[str]())
        self.index = IdentityIndex(self.pool, self.identity, "rebind")
        self.model: dict[str, str] = {}
        self.ever: set[str] = set()

    def identity(self, backend: str) -> str:
        self.asked += 1
        return f"{backend}#{self.generations[backend]}"

    def joins(self, backend: str) -> None:
        self.joined += 1
        self.model.pop(backend, None)
        self.model[backend] = f"{backend}#{self.generations[backend]}"
        self.ever.add(self.model[backend])

    @rule(backend=NAMES, renewed=st.booleans())
    def add(self, backend: str, renewed: bool) -> None:
        if backend not in self.model:
            self.generations[backend] += renewed
            self.pool.add(backend)
            self.joins(backend)

    @rule(backend=NAMES)
    def remove(self, backend: str) -> None:
        if self.model.pop(backend, None):
            self.pool.remove(backend)

    @rule(backends=st.lists(NAMES, unique=True))
    def update(self, backends: list[str]) -> None:
        self.model = {b: name for b, name in self.model.items() if b in backends}
        self.pool.update(backends)
        for backend in backends:
            if backend not in self.model:
                self.joins(backend)

    @rule(backend=NAMES)
    def replace_at_once(self, backend: str) -> None:
        if backend in self.model:
            self.generations[backend] += 1
            self.pool.remove(backend)
            self.pool.add(backend)
            self.joins(backend)

    @rule(backend=NAMES)
    def a_lease_names_its_member(self, backend: str) -> None:
        if backend in self.model:
            lease = self.pool.acquire(0.0, prefer=backend)
            assert self.index.digest(lease) == digest_of(self.model[backend])

    @rule(name=st.sampled_from([f"{b}#{n}" for b in "abcdef" for n in range(4)]))
    def one_is_looked_up(self, name: str) -> None:
        owners = [backend for backend, own in self.model.items() if own == name]
        found = self.index.binding(digest_of(name), None)
        assert found.backend == (owners[0] if owners else None)
        assert found.reason == ("" if owners else "unknown backend")

    @rule()
    def all_are_looked_up(self) -> None:
        for name in sorted(self.ever):
            self.one_is_looked_up(name)
        expected = [(digest_of(name), backend) for backend, name in self.model.items()]
        assert self.index.members() == expected

    @invariant()
    def no_member_is_named_twice_and_former_members_are_forgotten(self) -> None:
        assert self.asked <= self.joined
        assert len(self.index._digests) <= len(self.index._backends) + 2 * 6 + 16
        assert len(self.index._digests) <= 2 * 6 + 16 + 6


def test_an_index_is_right_through_every_change() -> None:
    run_state_machine_as_test(
        IndexMachine, settings=settings(max_examples=runs(120), stateful_step_count=50)
    )


def test_a_fleet_that_comes_and_goes_leaves_nothing_behind() -> None:
    pool = pool_of(["first"])
    index = IdentityIndex(pool, str, "rebind")
    for number in range(2000):
        pool.update([f"pod {number}", "first"])
        assert index.binding(digest_of(f"pod {number}"), None).bound
    assert max(len(index._backends), len(index._digests)) <= 2 * 2 + 17


@pytest.mark.parametrize("known", [True, False])
def test_looking_up_costs_the_same_whatever_the_number_of_members(known: bool) -> None:
    lines: set[int] = set()
    for n in (10, 100, 1000):
        pool = pool_of([f"b{i}" for i in range(n)])
        index = IdentityIndex(pool, str, "rebind")
        for i in range(1, n // 2):
            pool.remove(f"b{i}")
        ident = digest_of(f"b{n - 1}" if known else "b1")
        lines.add(work_of(lambda r=index, i=ident: r.binding(i, None)).lines)  # type: ignore[misc] # bound by default
    assert len(lines) == 1


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["fail", "heal", "begin_drain", "end_drain", "quiesce", "reopen", "wait",
                         "ask", "ask_anyone", "ask_anyone", "lose"]),
        st.sampled_from([*"abcd"]),
    ),
    max_size=30,
)  # fmt: skip
TALLY = Counter[str]()


class Site:
    """A pool with gates of every kind, a session on each member, and things that happen."""

    def __init__(self, panic: float | None) -> None:
        self.health: HealthChecks[str] = HealthChecks(1, 1, recovery_time=10.0)
        self.drain, limit = Drain[str](), ConnectionLimit[str](2)
        gates: list[Gate[str]] = [self.health, self.drain, limit]
        self.pool = Pool(RoundRobin([*"abcd"]), gates, panic=panic, limit=5)
        self.sticky = CookieSessions(self.pool, tokens())
        sealed = tokens_of(self.sticky)
        self.sent = {b: cookie_of(sealed.seal(digest_of(b), WALL)) for b in "abcd"}
        self.now = 0.0
        self.flying: list[Lease[str]] = []

    def fail(self, backend: str) -> None:
        self.health.observe(backend, False, self.now)

    def heal(self, backend: str) -> None:
        self.health.observe(backend, True, self.now)

    def begin_drain(self, backend: str) -> None:
        self.drain.begin(backend, self.now)

    def end_drain(self, backend: str) -> None:
        self.drain.cancel(backend, self.now)

    def quiesce(self, backend: str) -> None:
        self.pool.set_weight(backend, 0, self.now)

    def reopen(self, backend: str) -> None:
        self.pool.set_weight(backend, 1, self.now)

    def wait(self, _backend: str) -> None:
        self.now += 4.0

    def ask(self, backend: str | None) -> None:
        try:
            self.flying.append(self.pool.acquire(self.now, prefer=backend))
        except NoBackendAvailable:
            TALLY["refused"] += 1

    def ask_anyone(self, _backend: str) -> None:
        self.ask(None)

    def lose(self, _backend: str) -> None:
        if self.flying:
            self.pool.release(self.flying.pop(), self.now, ok=False)

    def check(self) -> None:
        for owner, request in self.sent.items():
            found = self.sticky.resolve(request, self.now, WALL)
            assert found.backend == owner
            honoured = honours(self.pool, self.now, owner)
            TALLY[f"{honoured} {self.pool.panicking}"] += 1
            assert found.bound == honoured


@given(ACTIONS, st.sampled_from([None, 0.0, 0.6]))
@settings(max_examples=900 if DEEP else 150)
def agreement(actions: list[tuple[str, str]], panic: float | None) -> None:
    site = Site(panic)
    for action, backend in actions:
        getattr(site, action)(backend)
        site.check()


def honours(pool: Pool[str], now: float, backend: str) -> bool:
    """Ask a copy of the pool; strict and not, it says the same."""
    try:
        lease = copy.deepcopy(pool).acquire(now, prefer=backend)
        kept = lease.bound and lease.backend == backend
    except NoBackendAvailable:
        kept = False
    try:
        strict = copy.deepcopy(pool).acquire(now, prefer=backend, strict=True)
    except NoBackendAvailable:
        assert not kept
        return False
    assert kept
    assert (strict.bound, strict.backend) == (True, backend)
    return True


def test_bound_is_what_the_pool_honours() -> None:
    """The backend is returned anyway, so the pool decides."""
    TALLY.clear()
    agreement()
    for case in ("True False", "False False", "True True", "False True", "refused"):
        assert TALLY[case] > (12 if DEEP else 1), TALLY
