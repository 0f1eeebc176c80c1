"""Sessions by a cookie of ours."""

from functools import partial
from itertools import chain, islice
from math import inf
from typing import Generic

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.http.cookies import cookie_values, path_covers, set_cookie
from balancers.http.request import Request
from balancers.keys import Identity, name_of
from balancers.pool import Lease, Pool
from balancers.sessions._sealed import SealedSessions
from balancers.sessions.binding import ABSENT, OUT_OF_PATH, Binding
from balancers.sessions.tokens import SessionTokens

__all__ = ["CookieSessions"]

_TRIED = 4
"""Cookies of the name that are opened, at most: what a client sends costs HMACs."""


class CookieSessions(Generic[B]):
    """Binds a client to its backend by a sealed cookie.

    ``identity`` names a backend, the same in every process and after a restart; let it carry a
    generation of yours if addresses are used again, and a newcomer inherits no session.  It is
    asked once for each member.  ``failover``: rebind a session whose backend is closed, or be
    strict and refuse; one whose backend left the pool is always rebound.  The rest is the cookie's:
    ``max_age`` in seconds, or None for as long as the browser runs; browsers drop a ``Secure`` one
    that came over plain HTTP: say ``secure=False`` there.

    >>> from random import SystemRandom
    >>> from balancers import Pool, RoundRobin
    >>> from balancers.http.request import Request
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> tokens = SessionTokens([b"a secret of 32 random bytes here"], rng=SystemRandom())
    >>> sticky = CookieSessions(pool, tokens, name="backend")
    >>> found = sticky.resolve(Request(), now=1.0, wall=1e9)
    >>> found.reason
    'absent'
    >>> lease = pool.acquire(1.0, prefer=found.backend, strict=found.strict)
    >>> cookie = sticky.issue(lease, wall=1e9, binding=found)
    >>> cookie.partition("=")[0], cookie.partition(";")[2]
    ('backend', ' Path=/; HttpOnly; Secure; SameSite=Lax')
    >>> again = Request(headers=[("Cookie", "theme=dark; " + cookie.partition(";")[0])])
    >>> found = sticky.resolve(again, now=2.0, wall=1e9 + 1)
    >>> found.backend == lease.backend, sticky.issue(lease, wall=1e9 + 1, binding=found)
    (True, None)

    Cost: ``resolve`` one search of the ``Cookie`` header, two HMACs, O(gates).
    Raises InvalidSetting for a cookie that browsers refuse, another failover or a max_age of 0;
    DuplicateBackend for two members of one identity, from ``resolve`` and ``issue`` too.
    """

    def __init__(
        self,
        pool: Pool[B],
        tokens: SessionTokens,
        *,
        name: str = "session-server",
        path: str = "/",
        domain: str | None = None,
        max_age: int | None = None,
        http_only: bool = True,
        secure: bool = True,
        same_site: str | None = "Lax",
        identity: Identity[B] = name_of,
        failover: str = "rebind",
    ) -> None:
        self._write = partial(
            set_cookie,
            name,
            path=path,
            domain=domain,
            max_age=max_age,
            http_only=http_only,
            secure=secure,
            same_site=same_site,
        )
        self._write("")
        if max_age == 0:
            raise InvalidSetting("max_age 0 would delete the cookie")
        self._name = name
        self._path = path
        age = inf if max_age is None else max_age
        self._sealed = SealedSessions(pool, tokens, identity, failover, age)

    def resolve(self, request: Request, now: float, wall: float) -> Binding[B]:
        """Find the session's backend; of several cookies of the name, the first that is bound.

        Another site's cookie of our name, or an old one, need not stand in the way of ours: four
        are tried.  Where none is bound the first that leads to a member counts, or else the first.
        ``wall``, in seconds since an epoch that all processes share, judges the token; ``now`` is
        the pool's time, as of which the backend is asked for.  Raises InvalidTime.
        """
        known: list[Binding[B]] = []
        headers = request.header("cookie")
        tokens = chain.from_iterable(cookie_values(header, self._name) for header in headers)
        for token in islice(tokens, _TRIED):
            found = self._sealed.read(token, now, wall)
            if found.bound:
                return found
            known.append(found)
        if known:
            return next((found for found in known if found.backend is not None), known[0])
        covered = path_covers(self._path, request.target)
        return Binding(None, ABSENT if covered else OUT_OF_PATH)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Give the value of a ``Set-Cookie`` header, or None when nothing changed.

        Something changed when the lease is on another backend than the cookie says, when a fourth
        of the idle time is gone, or when the key that sealed it is no longer the first.  A response
        that carries it must not be cached: send ``Cache-Control: private`` or ``no-store`` with it.
        Raises InvalidTime, ForeignLease.
        """
        if binding.reason == OUT_OF_PATH:
            return None
        token = self._sealed.write(lease, wall, binding)
        return None if token is None else self._write(token)
