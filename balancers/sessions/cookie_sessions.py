"""Sessions by a cookie that the proxy sets."""

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

_MAX_TOKENS_OPENED = 4
"""Bounds the HMACs per request, because a client can send any number of cookies."""


class CookieSessions(Generic[B]):
    """Binds a client to its backend by a cookie with a sealed token.

    ``identity`` returns the name of a backend.  The name must be the same in every process and
    after a restart.  If addresses are reused, include a generation in the name: then a new backend
    does not inherit the sessions of an old one.  ``identity`` is called once per member.

    ``failover`` is ``"rebind"`` to move a session whose backend is closed, or ``"strict"`` to
    refuse the request.  A session whose backend left the pool is always moved.

    The other arguments are attributes of the cookie.  ``max_age`` is in seconds, or None for a
    cookie that lasts until the browser closes.  Browsers drop a ``Secure`` cookie that arrives over
    plain HTTP: pass ``secure=False`` there.

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

    Cost: ``resolve`` searches the ``Cookie`` header once and takes two HMACs and O(gates).
    Raises InvalidSetting for a cookie that browsers reject, an unknown failover or a max_age of 0;
    DuplicateBackend for two members with the same identity, also from ``resolve`` and ``issue``.
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
        self._set_cookie = partial(
            set_cookie,
            name,
            path=path,
            domain=domain,
            max_age=max_age,
            http_only=http_only,
            secure=secure,
            same_site=same_site,
        )
        self._set_cookie("")  # checks the attributes
        if max_age == 0:
            raise InvalidSetting("max_age must be above 0 or None, not 0, which deletes the cookie")
        self._name = name
        self._path = path
        self._failover = failover
        age = inf if max_age is None else max_age
        self._sealed = SealedSessions(pool, tokens, identity, failover, age)

    def resolve(self, request: Request, now: float, wall: float) -> Binding[B]:
        """Look up the backend of the session.

        If several cookies have the name, up to four are opened and the first that is bound is
        returned: a cookie of another site, or an old one, does not hide the valid one.  If none is
        bound, the first that belongs to a member is returned, or else the first.

        ``wall``, in seconds since an epoch that all processes share, is the time for the token.
        ``now`` is the time of the pool, at which the backend must be open.  Raises InvalidTime.
        """
        unbound: list[Binding[B]] = []
        headers = request.header("cookie")
        tokens = chain.from_iterable(cookie_values(header, self._name) for header in headers)
        for token in islice(tokens, _MAX_TOKENS_OPENED):
            found = self._sealed.read(token, now, wall)
            if found.bound:
                return found
            unbound.append(found)
        if unbound:
            return next((found for found in unbound if found.backend is not None), unbound[0])
        covered = path_covers(self._path, request.target)
        return Binding(None, ABSENT if covered else OUT_OF_PATH)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Return the value of a ``Set-Cookie`` header, or None if the client's cookie is good.

        A new cookie is needed when the lease is on another backend than the cookie, when a quarter
        of the idle timeout has passed, or when the key that sealed the token is not the first one.
        The response must not be cached then: send ``Cache-Control: private`` or ``no-store`` too.
        Raises InvalidTime, ForeignLease.
        """
        if binding.reason == OUT_OF_PATH:
            return None
        token = self._sealed.write(lease, wall, binding)
        return None if token is None else self._set_cookie(token)

    def __repr__(self) -> str:
        cookie = f"cookie {self._name!r}, path {self._path!r}"
        return f"<CookieSessions: {cookie}, failover {self._failover}>"
