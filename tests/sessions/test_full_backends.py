"""A session moves if its backend is lost, and not while its backend is only full."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

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
from balancers.http import Request
from balancers.sessions import (
    AddressSessions,
    Binding,
    CookieSessions,
    HeaderSessions,
    LearnedSessions,
)
from tests.depth import runs
from tests.sessions.samples import COOKIE, KEY, OLD_KEY, WALL, cookie_of, token_of, tokens


@dataclass
class Client:
    """A client of one kind of sessions: it keeps what it is sent, and sends it back."""

    pool: Pool[str]
    kind: str
    failover: str = "rebind"
    sealed: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        pool, sealed, failover = self.pool, tokens(**self.sealed), self.failover
        self.value: str | None = None
        self.sent: list[str] = []
        every: dict[str, Any] = {
            "cookie": CookieSessions(pool, sealed, failover=failover),
            "header": HeaderSessions(pool, sealed, failover=failover),
            "name": HeaderSessions(pool, trusted=True, failover=failover),
            "table": LearnedSessions(pool, failover=failover),
            "address": AddressSessions(pool, failover=failover),
        }
        self.sessions = every[self.kind]

    def resolve(self, now: float) -> Binding[str]:
        session: Any = "192.0.2.7"
        if self.kind == "cookie":
            session = Request() if self.value is None else cookie_of(self.value)
        elif self.kind in {"header", "name"}:
            session = Request(headers=[("X-Session-Server", self.value)] if self.value else [])
        found: Binding[str] = self.sessions.resolve(session, now, WALL + now)
        return found

    def issue(self, lease: Lease[str], binding: Binding[str], now: float) -> None:
        sent = self.sessions.issue(lease, WALL + now, binding)
        if sent is not None:
            self.sent.append(sent)
            self.value = token_of(sent) if self.kind == "cookie" else sent

    def begin(self, home: str, now: float = 0.0) -> None:
        lease = self.pool.acquire(now, prefer=home, strict=True)
        if self.kind == "table":
            self.sessions.learn("192.0.2.7", lease, now)
        else:
            self.issue(lease, self.resolve(now), now)
        self.pool.release(lease, now)
        assert self.home(now) == home
        self.sent.clear()

    def home(self, now: float) -> str | None:
        return self.resolve(now).backend

    def visit(self, now: float, avoid: tuple[str, ...] = ()) -> str:
        found = self.resolve(now)
        lease = self.pool.acquire(now, prefer=found.backend, strict=found.strict, avoid=avoid)
        self.pool.release(lease, now)
        self.issue(lease, found, now)
        return lease.backend


def pickled(pair: Any) -> Any:
    return pickle.loads(pickle.dumps(pair))  # noqa: S301 - own


KINDS = ["cookie", "header", "name", "table", "address"]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def limited(*gates: Gate[str], limit: int | None = None) -> Pool[str]:
    """Return a pool that does not fail open: its health checks are always obeyed."""
    return Pool(RoundRobin([*"abc"]), [ConnectionLimit(1), *gates], panic=None, limit=limit)


@EVERY_KIND
def test_a_session_stays_with_a_full_backend(kind: str) -> None:
    pool = limited()
    client = Client(pool, kind)
    client.begin("b")
    for turn in range(3):
        held = pool.acquire(1.0, prefer="b", strict=True)
        found = client.resolve(1.0)
        assert (found.backend, found.reason, found.bound, found.full) == (
            "b",
            "closed",
            False,
            True,
        )
        assert client.visit(1.0) != "b", turn
        pool.release(held, 2.0)
        assert client.visit(2.0) == "b"
    assert client.sent == []


@EVERY_KIND
def test_a_session_leaves_a_lost_backend_even_if_it_is_full_too(kind: str) -> None:
    for full in (False, True):
        health = HealthChecks[str](unhealthy_threshold=1, healthy_threshold=1)
        pool = limited(health)
        client = Client(pool, kind)
        client.begin("b")
        if full:
            pool.acquire(1.0, prefer="b", strict=True)
        health.observe("b", False, 1.0)
        found = client.resolve(1.0)
        assert (found.backend, found.reason, found.full) == ("b", "closed", False)
        moved = client.visit(1.0)
        assert moved != "b"
        health.observe("b", True, 2.0)
        assert client.visit(3.0) == client.home(3.0) == moved


@EVERY_KIND
def test_a_session_leaves_a_removed_backend(kind: str) -> None:
    pool = limited()
    client = Client(pool, kind)
    client.begin("b")
    pool.acquire(1.0, prefer="b", strict=True)
    found = client.resolve(1.0)
    assert found.full
    lease = pool.acquire(1.0, prefer=found.backend)
    pool.remove("b", 1.5)
    client.issue(lease, found, 2.0)
    assert client.home(2.0) == lease.backend != "b"


@EVERY_KIND
def test_a_backend_that_is_lost_while_the_request_is_served_elsewhere_loses_its_session(
    kind: str,
) -> None:
    health = HealthChecks[str](unhealthy_threshold=1)
    pool = limited(health)
    client = Client(pool, kind)
    client.begin("b")
    pool.acquire(1.0, prefer="b", strict=True)
    found = client.resolve(1.0)
    lease = pool.acquire(1.0, prefer=found.backend)
    health.observe("b", False, 1.5)
    pool.release(lease, 2.0)
    client.issue(lease, found, 2.0)
    assert client.home(2.0) == lease.backend != "b"


@EVERY_KIND
def test_a_backend_that_fills_after_the_look_up_keeps_its_session(kind: str) -> None:
    """For example because the request waited between ``resolve`` and ``acquire``."""
    pool = limited()
    client = Client(pool, kind)
    client.begin("b")
    found = client.resolve(1.0)
    assert found.bound
    pool.acquire(1.0, prefer="b", strict=True)
    lease = pool.acquire(1.0, prefer=found.backend)
    assert lease.backend != "b"
    client.issue(lease, found, 1.0)
    assert (client.home(1.0), client.sent) == ("b", [])


@EVERY_KIND
def test_a_backend_that_is_free_again_when_the_request_ends_keeps_its_session(kind: str) -> None:
    pool = limited()
    client = Client(pool, kind)
    client.begin("b")
    held = pool.acquire(1.0, prefer="b", strict=True)
    found = client.resolve(1.0)
    lease = pool.acquire(1.0, prefer=found.backend)
    pool.release(held, 1.5)
    assert lease.backend != "b"
    assert pool.admits("b", True)
    client.issue(lease, found, 2.0)
    assert (client.home(2.0), client.sent) == ("b", [])


@EVERY_KIND
def test_a_backend_that_was_lost_at_the_look_up_and_is_full_later_loses_its_session(
    kind: str,
) -> None:
    health = HealthChecks[str](unhealthy_threshold=1, healthy_threshold=1)
    pool = limited(health)
    client = Client(pool, kind)
    client.begin("b")
    health.observe("b", False, 1.0)
    found = client.resolve(1.0)
    lease = pool.acquire(1.0, prefer=found.backend)
    health.observe("b", True, 2.0)
    pool.acquire(2.0, prefer="b", strict=True)
    assert pool.full("b")
    client.issue(lease, found, 3.0)
    assert client.home(3.0) == lease.backend != "b"


def test_a_session_that_was_learned_anew_meanwhile_follows_the_later_result() -> None:
    """The binding is of a backend that has the session no more."""
    pool = limited()
    sticky = LearnedSessions(pool)
    lease = pool.acquire(0.0, prefer="b", strict=True)
    sticky.learn("id", lease, 0.0)
    found = sticky.resolve("id", 0.0)
    assert found.full
    elsewhere = pool.acquire(0.0, prefer="a", strict=True)
    sticky.learn("id", pool.acquire(0.0, prefer="c", strict=True), 0.0)
    assert pool.full("c")
    sticky.issue(elsewhere, 0.0, found)
    assert sticky.resolve("id", 0.0).backend == "a"


@EVERY_KIND
def test_a_retry_that_avoids_its_own_backend_moves_the_session(kind: str) -> None:
    """The backend failed this request, so it is not only full."""
    pool = limited()
    client = Client(pool, kind)
    client.begin("b")
    moved = client.visit(1.0, avoid=("b",))
    assert moved != "b"
    assert client.home(2.0) == moved


@EVERY_KIND
def test_the_limit_of_the_pool_does_not_move_a_session(kind: str) -> None:
    pool = limited(limit=2)
    client = Client(pool, kind)
    client.begin("b")
    held = [pool.acquire(1.0, prefer=backend, strict=True) for backend in "ac"]
    found = client.resolve(1.0)
    assert (found.backend, found.full) == ("b", True)
    with pytest.raises(NoBackendAvailable, match="saturated"):
        client.visit(1.0)
    pool.release(held[0], 2.0)
    assert client.visit(2.0) == "b"
    assert client.sent == []


@EVERY_KIND
def test_a_drain_does_not_move_a_session_from_a_full_backend(kind: str) -> None:
    drain = Drain[str]()
    pool = limited(drain)
    client = Client(pool, kind)
    client.begin("b")
    drain.begin("b", 1.0)
    held = pool.acquire(1.0, prefer="b", strict=True)
    assert client.visit(1.0) != "b"
    pool.release(held, 2.0)
    assert client.visit(2.0) == "b"
    pool.set_weight("b", 0, 3.0)
    held = pool.acquire(3.0, prefer="b", strict=True)
    assert client.visit(3.0) != "b"
    pool.release(held, 4.0)
    assert client.visit(4.0) == "b"


@EVERY_KIND
def test_a_strict_session_is_refused_while_its_backend_is_full(kind: str) -> None:
    pool = limited()
    client = Client(pool, kind, failover="strict")
    client.begin("b")
    held = pool.acquire(1.0, prefer="b", strict=True)
    with pytest.raises(NoBackendAvailable) as refusal:
        client.visit(1.0)
    assert refusal.value.full == 1
    pool.release(held, 2.0)
    assert client.visit(2.0) == "b"


@pytest.mark.parametrize("kind", ["cookie", "header"])
def test_a_token_is_renewed_while_its_backend_is_full(kind: str) -> None:
    """The new token is for the same backend, and keeps the start of the session."""
    pool = limited()
    client = Client(pool, kind, sealed={"idle_timeout": 100.0, "lifetime": 250.0})
    client.begin("b")
    pool.acquire(1.0, prefer="b", strict=True)
    for now in range(10, 250, 10):
        assert client.visit(float(now)) != "b"
        assert client.home(float(now)) == "b"
    assert len(client.sent) == 8
    assert client.resolve(251.0).reason == "expired"
    assert client.visit(251.0) != "b"
    assert client.home(251.0) != "b"


def test_a_token_of_an_old_key_is_replaced_while_its_backend_is_full() -> None:
    pool = limited()
    client = Client(pool, "cookie", sealed={"keys": [OLD_KEY]})
    client.begin("b")
    client.sessions = CookieSessions(pool, tokens([KEY, OLD_KEY], seed=2))
    pool.acquire(1.0, prefer="b", strict=True)
    client.visit(1.0)
    assert len(client.sent) == 1
    client.sessions = CookieSessions(pool, tokens([KEY], seed=3))
    assert client.home(2.0) == "b"


def test_a_cookie_of_a_full_backend_comes_before_one_of_a_lost_backend() -> None:
    health = HealthChecks[str](unhealthy_threshold=1)
    pool = limited(health)
    sticky = CookieSessions(pool, tokens())
    issued = {
        backend: token_of(sticky.issue(lease, WALL, Binding()))
        for backend in "ab"
        for lease in [pool.acquire(0.0, prefer=backend, strict=True)]
    }
    health.observe("a", False, 1.0)
    both = [("Cookie", f"{COOKIE}={issued[name]}") for name in "ab"]
    for headers in (both, both[::-1]):
        found = sticky.resolve(Request(headers=headers), 1.0, WALL)
        assert (found.backend, found.full) == ("b", True)


def test_an_evicted_session_of_a_full_backend_starts_anew() -> None:
    pool = limited()
    sticky = AddressSessions(pool, max_sessions=1)
    lease = pool.acquire(0.0, prefer="b", strict=True)
    sticky.issue(lease, 0.0, sticky.resolve("192.0.2.1", 0.0))
    found = sticky.resolve("192.0.2.1", 0.0)
    assert found.full
    elsewhere = pool.acquire(0.0, prefer=found.backend)
    sticky.issue(elsewhere, 0.0, sticky.resolve("192.0.2.2", 0.0))
    sticky.issue(elsewhere, 0.0, found)
    assert sticky.resolve("192.0.2.1", 0.0).backend == elsewhere.backend


def test_a_backend_with_a_new_identity_does_not_keep_the_session() -> None:
    """It left and joined again with another identity while the request was served elsewhere."""
    generation = {"b": 1}
    pool = limited()
    sticky = LearnedSessions(pool, identity=lambda b: f"{b} {generation.get(b, 1)}")
    lease = pool.acquire(0.0, prefer="b", strict=True)
    sticky.learn("id", lease, 0.0)
    found = sticky.resolve("id", 0.0)
    assert found.full
    elsewhere = pool.acquire(0.0, prefer=found.backend)
    pool.remove("b", 1.0)
    generation["b"] = 2
    pool.add("b", 1, 1.0)
    pool.acquire(1.0, prefer="b", strict=True)
    sticky.issue(elsewhere, 0.0, found)
    assert sticky.resolve("id", 1.0).backend == elsewhere.backend


@EVERY_KIND
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_copies_keep_the_session_too(kind: str, copied: Callable[[Any], Any]) -> None:
    pool = limited()
    client = Client(pool, kind)
    client.begin("b")
    twin = Client(pool, kind)
    twin.pool, twin.sessions = copied((pool, client.sessions))
    twin.value = client.value
    held = twin.pool.acquire(1.0, prefer="b", strict=True)
    assert twin.visit(1.0) != "b"
    twin.pool.release(held, 2.0)
    assert twin.visit(2.0) == "b"


class Site:
    """A pool whose backends are full, unhealthy, drained and removed at random."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.health = HealthChecks[str](unhealthy_threshold=1, healthy_threshold=1)
        self.drain = Drain[str]()
        self.pool = limited(self.health, self.drain)
        self.down: set[str] = set()
        self.held: dict[str, Lease[str]] = {}

    def change(self, backend: str, now: float) -> None:
        if backend not in self.pool:
            self.pool.add(backend, 1, now)
        else:
            self.rng.choice([self.hold, self.turn, self.begin_or_end_a_drain, self.remove])(
                backend, now
            )

    def hold(self, backend: str, now: float) -> None:
        if backend in self.held:
            self.pool.release(self.held.pop(backend), now)
        elif backend not in self.down:
            self.held[backend] = self.pool.acquire(now, prefer=backend, strict=True)

    def turn(self, backend: str, now: float) -> None:
        self.health.observe(backend, backend in self.down, now)
        self.down ^= {backend}

    def begin_or_end_a_drain(self, backend: str, now: float) -> None:
        draining = "draining" in self.pool.state(backend)
        (self.drain.cancel if draining else self.drain.begin)(backend, now)

    def remove(self, backend: str, now: float) -> None:
        if self.rng.random() < 0.3:
            self.pool.remove(backend, now)
            self.held.pop(backend, None)
            self.down.discard(backend)


@EVERY_KIND
def test_a_session_moves_exactly_when_its_backend_is_lost(kind: str) -> None:
    """Any sequence of such changes, against a model."""
    moved = 0
    for seed in range(runs(300)):
        site = Site(seed)
        client = Client(site.pool, kind)
        home = "b"
        client.begin(home)
        for now in map(float, range(1, 41)):
            site.change(site.rng.choice("abc"), now)
            lost = home not in site.pool or home in site.down
            try:
                served = client.visit(now)
            except NoBackendAvailable:
                continue
            if lost:
                home, moved = served, moved + 1
            assert served == home or home in site.held
            assert client.home(now) == home, (seed, now)
    assert moved > runs(300)
