"""Bugs that other load balancers had with sticky sessions, and the behaviour here."""

from base64 import urlsafe_b64decode
from collections import Counter
from hashlib import md5, sha256
from math import inf

import pytest

from balancers import HealthChecks, NoBackendAvailable, Pool, WeightedRoundRobin
from balancers.http import Request
from balancers.quality import session_skew
from balancers.sessions import Binding, CookieSessions, LearnedSessions
from tests.sessions.samples import Browser, cookie_of, pool_of, token_of, tokens

NEW: Binding[str] = Binding(None, "absent")


def test_a_cookie_does_not_reveal_a_backend_and_cannot_choose_one() -> None:
    """Base64 of the address could be read and forged; its plain hash could be looked up."""
    address = "10.0.0.7:8080"
    pool = pool_of([address, "10.0.0.8:8080"])
    sticky = CookieSessions(pool, tokens())
    lease = pool.acquire(0.0, prefer=address)
    issued = [token_of(sticky.issue(lease, 1e9, NEW)) for _ in range(50)]
    assert len(set(issued)) == 50
    for token in issued:
        data = urlsafe_b64decode(token + "=")
        for secret in (address.encode(), bytes([10, 0, 0, 7]), (8080).to_bytes(2, "big") * 2,
                      md5(address.encode(), usedforsecurity=False).digest()[:6],
                      sha256(address.encode()).digest()[:6]):  # fmt: skip
            assert secret not in data
    for chosen in (address, "MTAuMC4wLjc6ODA4MA", sha256(address.encode()).hexdigest()[:16]):
        assert sticky.resolve(cookie_of(chosen), 0.0, 1e9).backend is None


def test_tokens_use_the_wall_clock_and_are_valid_in_every_process() -> None:
    """Monotonic time failed in other processes; an expiry date computed once was soon past."""
    sealed = tokens(idle_timeout=60.0)
    here, there = pool_of(), pool_of()
    here_sticky, there_sticky = (
        CookieSessions(here, sealed, max_age=30),
        CookieSessions(there, tokens(seed=9, idle_timeout=60.0)),
    )
    lease = here.acquire(now=5_000_000.0)
    token = token_of(here_sticky.issue(lease, wall=1e9, binding=NEW))
    assert there_sticky.resolve(cookie_of(token), now=3.0, wall=1e9 + 59).backend == lease.backend
    assert there_sticky.resolve(cookie_of(token), now=3.0, wall=1e9 + 61).reason == "expired"
    first, later = (here_sticky.issue(lease, wall=wall, binding=NEW) for wall in (1e9, 2e9))
    assert first is not None
    assert later is not None
    assert first.partition(";")[2] == later.partition(";")[2]
    assert "Max-Age=30" in later
    assert "xpires" not in later
    assert here_sticky.resolve(cookie_of(token_of(later)), 0.0, 2e9 + 29).bound


def test_a_cookie_is_sent_only_when_needed_and_only_where_it_comes_back() -> None:
    """A cached Set-Cookie binds every client; a cookie of another path is not sent back."""
    pool = pool_of()
    sticky = CookieSessions(pool, tokens(idle_timeout=inf), path="/shop")
    lease = pool.acquire(0.0)
    for target, reason in (("/shop", "absent"), ("/shop/cart?item=7", "absent"),
                           ("/shopping", "out of path"), ("/logo.png", "out of path")):  # fmt: skip
        found = sticky.resolve(Request(target=target), 0.0, 1e9)
        assert found.reason == reason
        set_cookie = sticky.issue(lease, wall=1e9, binding=found)
        assert (set_cookie is not None) == (reason == "absent")
    token = token_of(sticky.issue(lease, 1e9, NEW))
    for seconds in range(0, 80_000, 1000):
        request = cookie_of(token, "__Secure-session-server", "/shop")
        found = sticky.resolve(request, 0.0, 1e9 + seconds)
        assert found.bound
        assert sticky.issue(lease, 1e9 + seconds, found) is None


@pytest.mark.parametrize("table", [False, True])
def test_a_reused_address_inherits_no_session(table: bool) -> None:
    """A server with a reused address inherited the sessions of the previous one."""
    generation = {"10.0.0.1:80": 1, "10.0.0.2:80": 1}
    pool = pool_of(generation)

    def identity(backend: str) -> str:
        return f"{backend} generation {generation[backend]}"

    sticky = CookieSessions(pool, tokens(), identity=identity)
    learned = LearnedSessions(pool, identity=identity)
    lease = pool.acquire(0.0, prefer="10.0.0.1:80")
    request = cookie_of(token_of(sticky.issue(lease, 1e9, NEW)))
    learned.learn("id", lease, 0.0)

    def found() -> Binding[str]:
        return learned.resolve("id", 1.0) if table else sticky.resolve(request, 1.0, 1e9 + 1)

    assert found().backend == lease.backend
    pool.remove(lease.backend, 1.0)
    assert found()[:2] == (None, "unknown backend")
    pool.add(lease.backend, 1, 2.0)
    assert found().backend == lease.backend, (
        "after a restart, the same generation keeps its sessions"
    )
    pool.remove(lease.backend, 3.0)
    generation[lease.backend] = 2
    pool.add(lease.backend, 1, 3.0)
    assert found()[:2] == (None, "unknown backend")


def test_a_dead_server_locks_out_no_client() -> None:
    """With strict sessions, clients of a server that was removed got only errors."""
    health = HealthChecks[str](unhealthy_threshold=1)
    pool = pool_of("ab", [health])
    for failover in ("rebind", "strict"):
        sticky, browser = CookieSessions(pool, tokens(), failover=failover), Browser()
        home = browser.visit(pool, sticky, 0.0)[1].backend
        health.observe(home, False, 1.0)
        if failover == "strict":
            with pytest.raises(NoBackendAvailable, match="unhealthy"):
                browser.visit(pool, sticky, 1.0)
            pool.remove(home, 2.0)
        moved = browser.visit(pool, sticky, 2.0)[1].backend
        assert moved != home
        assert browser.visit(pool, sticky, 3.0)[0].backend == moved
        pool.update([*"ab"], 4.0)
        health.observe(home, True, 4.0)
        health.observe(home, True, 4.0)


def test_sticky_load_counts_against_a_share() -> None:
    """New sessions were sent to a backend that was already busy with its old ones."""
    shares: dict[bool, float] = {}
    for charged in (True, False):
        lb = WeightedRoundRobin({"a": 2, "b": 1, "c": 1})
        pool, served = Pool(lb), Counter[str]()
        for number in range(4000):
            prefer = "a" if number % 3 == 0 else None
            if charged or prefer is None:
                served[pool.acquire(0.0, prefer=prefer).backend] += 1
            else:
                served[prefer] += 1  # as if the balancer were not notified
        shares[charged] = session_skew(served, lb.weights).peak
    assert shares[True] == pytest.approx(1, abs=0.01)
    assert shares[False] > 1.3
