"""Binds a client to a backend by a cookie that the proxy sets."""

from collections.abc import Mapping
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

_NAME = "session-server"
_TOKEN_LENGTH = 107
_LONGEST_KEPT = 400 * 24 * 3600
"""Browsers keep no cookie for more seconds, so it must be renewed before, whatever max_age is."""
_MAX_TOKENS_OPENED = 4
"""Limits the number of HMACs per request, because a client can send any number of cookies."""


class CookieSessions(Generic[B]):
    """Binds a client to a backend by a cookie that contains a sealed token.

    ``identity`` returns the name of a backend.  The name must be the same in every process and
    after a restart.  If a new backend can get the address of an old one, include a version number
    in the name.  The new backend then does not receive the sessions of the old one.  ``identity``
    is called once per member.

    ``failover`` says what happens to a session if its backend is closed.  With ``"rebind"``, the
    session is moved to another backend.  If the backend is only full, because of limits of requests
    in flight, another backend serves the request, but the session is not moved.  With ``"strict"``,
    the request is refused.  If the backend has left the pool, the session is always moved.

    ``context`` is the name of the pool, or any other text or bytes that no other pool with the same
    keys has.  A token is valid only for one context and one cookie name.  A pool has no name of its
    own.  So if two pools have the same keys, the same cookie name and a backend of the same name,
    pass different contexts: otherwise a session of one pool binds in the other pool too.

    ``name`` is the name of the cookie.  By default it is the strictest that the attributes allow:
    ``__Host-session-server`` for a secure cookie with the path ``/`` and without a domain,
    ``__Secure-session-server`` for any other secure cookie, and else ``session-server``.  Browsers
    refuse a cookie with either prefix over plain HTTP, and one with ``__Host-`` from another host.

    The other arguments are attributes of the cookie, see :func:`~balancers.http.set_cookie`.
    ``max_age`` is in seconds.  If it is None, the cookie is kept until the browser closes.
    Browsers ignore a ``Secure`` cookie that they receive over plain HTTP.  Pass ``secure=False`` if
    the clients use plain HTTP.

    >>> from balancers import Pool, RoundRobin
    >>> from balancers.http import Request
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> tokens = SessionTokens([b"a secret of 32 random bytes here"])
    >>> sticky = CookieSessions(pool, tokens, context="shop")
    >>> found = sticky.resolve(Request(), now=1.0, wall=1e9)
    >>> found.reason
    'absent'
    >>> lease = pool.acquire(1.0, prefer=found.backend, strict=found.strict)
    >>> cookie = sticky.issue(lease, wall=1e9, binding=found)
    >>> cookie.partition("=")[0], cookie.partition(";")[2]
    ('__Host-session-server', ' Path=/; HttpOnly; Secure; SameSite=Lax')
    >>> again = Request(headers=[("Cookie", "theme=dark; " + cookie.partition(";")[0])])
    >>> found = sticky.resolve(again, now=2.0, wall=1e9 + 1)
    >>> found.backend == lease.backend, sticky.issue(lease, wall=1e9 + 1, binding=found)
    (True, None)

    ``resolve`` searches the ``Cookie`` header once.  It computes two HMACs for each token that it
    opens, and one more for each key that does not match.  The rest of its cost is O(gates).  Keys
    are derived only by the constructor.
    Raises InvalidSetting for a cookie that browsers reject, an unknown ``failover`` or a
    ``max_age`` of 0.  Raises DuplicateBackend for two members with the same identity; ``resolve``
    and ``issue`` raise it too.
    """

    def __init__(
        self,
        pool: Pool[B],
        tokens: SessionTokens,
        *,
        context: str | bytes = b"",
        name: str | None = None,
        path: str = "/",
        domain: str | None = None,
        max_age: int | None = None,
        http_only: bool = True,
        secure: bool = True,
        same_site: str | None = "Lax",
        partitioned: bool = False,
        attributes: Mapping[str, str | None] | None = None,
        identity: Identity[B] = name_of,
        failover: str = "rebind",
    ) -> None:
        if name is None:
            prefix = "__Host-" if path == "/" and domain is None else "__Secure-"
            name = prefix + _NAME if secure else _NAME
        longest = set_cookie(
            name,
            "x" * _TOKEN_LENGTH,
            path=path,
            domain=domain,
            max_age=max_age,
            http_only=http_only,
            secure=secure,
            same_site=same_site,
            partitioned=partitioned,
            attributes=attributes,
        )
        if max_age == 0:
            raise InvalidSetting("max_age must be above 0 or None, not 0, which deletes the cookie")
        self._attributes = longest[len(name) + 1 + _TOKEN_LENGTH :]
        self._name = name
        self._path = path
        self._failover = failover
        age = inf if max_age is None else min(max_age, _LONGEST_KEPT)
        bound = tokens.with_context(context).with_context(f"cookie {name}")
        self._sealed = SealedSessions(pool, bound, identity, failover, age)

    def resolve(self, request: Request, now: float, wall: float) -> Binding[B]:
        """Look up the backend of the session.

        If several cookies have the name, the tokens of the first four are opened in order.  The
        first binding whose request is bound is returned.  So a cookie of another site, or an old
        cookie, does not hide the valid cookie.  If no cookie binds the request, the first binding
        to a full backend is returned, or else the first binding that has a backend.  If no binding
        has a backend, the first binding is returned.

        ``wall`` is the time in seconds since an epoch that all processes share.  It is compared
        with the times in the token.  ``now`` is the time in seconds of the pool's clock.  The gates
        of the backend are evaluated at ``now``.  Raises InvalidTime.
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
            return max(unbound, key=lambda found: (found.full, found.backend is not None))
        covered = path_covers(self._path, request.target)
        return Binding(None, ABSENT if covered else OUT_OF_PATH)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Return the value of a ``Set-Cookie`` header, or None if no cookie has to be sent.

        A cookie has to be sent in these cases:

        * The client has no valid cookie.
        * The lease is on another backend than the cookie, and the backend of the cookie is lost: it
          has left the pool, or was closed by something that is not a limit of requests in flight.
        * The token is older than a quarter of the idle timeout or of ``max_age``.
        * The token was not sealed with the first key.

        No cookie is sent if the target is outside the path of the cookie, or if the backend of the
        lease has left the pool.  A response with a cookie must not be stored in a shared cache.
        Send ``Cache-Control: private`` or ``no-store`` with it.  Raises InvalidTime, ForeignLease.
        """
        if binding.reason == OUT_OF_PATH:
            return None
        token = self._sealed.write(lease, wall, binding)
        return None if token is None else f"{self._name}={token}{self._attributes}"

    def __repr__(self) -> str:
        cookie = f"cookie {self._name!r}, path {self._path!r}"
        return f"<CookieSessions: {cookie}, failover {self._failover}>"
