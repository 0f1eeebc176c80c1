"""Helpers for the tests of sessions: a pool, tokens, and a client that stores its cookies."""

from collections.abc import Iterable
from random import Random
from typing import Any

from balancers import Gate, Lease, Pool, RoundRobin
from balancers.http import Request
from balancers.sessions import Binding, CookieSessions, HeaderSessions, SessionTokens
from balancers.sessions._sealed import SealedSessions

__all__ = [
    "COOKIE",
    "KEY",
    "OLD_KEY",
    "WALL",
    "Browser",
    "cookie_of",
    "pool_of",
    "token_of",
    "tokens",
    "tokens_of",
]

KEY, OLD_KEY = b"a key of thirty-two bytes, new.!", b"a key of thirty-two bytes, old.!"
WALL = 1_700_000_000.0
COOKIE = "__Host-session-server"


def tokens(keys: Iterable[bytes] = (KEY,), seed: int = 1, **settings: Any) -> SessionTokens:
    return SessionTokens(keys, rng=Random(seed), **settings)


def tokens_of(sticky: CookieSessions[Any] | HeaderSessions[Any]) -> SessionTokens:
    """Return the tokens in the context of a cookie or header."""
    sealed = sticky._sealed if isinstance(sticky, CookieSessions) else sticky._codec
    assert isinstance(sealed, SealedSessions)
    return sealed._tokens


def pool_of(backends: Iterable[str] = "abc", gates: Iterable[Gate[str]] = ()) -> Pool[str]:
    return Pool(RoundRobin(list(backends)), gates)


def token_of(set_cookie: str | None) -> str:
    assert set_cookie is not None
    return set_cookie.partition(";")[0].partition("=")[2]


def cookie_of(token: str, name: str = COOKIE, target: str = "/") -> Request:
    return Request(target=target, headers=[("Cookie", f"theme=dark; {name}={token}; lang=en")])


class Browser:
    """A client that stores a cookie and sends it back."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.cookies_received = 0

    def request(self) -> Request:
        return Request() if self.token is None else cookie_of(self.token)

    def visit(
        self, pool: Pool[str], sticky: CookieSessions[str], now: float
    ) -> tuple[Binding[str], Lease[str]]:
        """Send one request at ``now``, which is ``WALL + now`` by the wall clock."""
        found = sticky.resolve(self.request(), now, WALL + now)
        lease = pool.acquire(now, prefer=found.backend, strict=found.strict)
        pool.release(lease, now)
        set_cookie = sticky.issue(lease, wall=WALL + now, binding=found)
        if set_cookie is not None:
            self.token = token_of(set_cookie)
            self.cookies_received += 1
        return found, lease
