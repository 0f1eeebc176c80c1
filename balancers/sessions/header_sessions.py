"""Sessions by a header that clients send back."""

import re
from functools import partial
from typing import Generic

from balancers._internal.grammar import TOKEN
from balancers._internal.types import B
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http.request import Request
from balancers.keys import Identity, key_bytes, name_of
from balancers.pool import Lease, Pool
from balancers.sessions._identity_index import IdentityIndex, digest_of
from balancers.sessions._sealed import SealedSessions
from balancers.sessions.binding import ABSENT, MALFORMED, Binding
from balancers.sessions.tokens import SessionTokens

__all__ = ["HeaderSessions"]

_VISIBLE_ASCII = re.compile(rb"[!-~]+")


class HeaderSessions(Generic[B]):
    """Binds a client to the backend in a request header: for clients that are programs.

    With ``tokens`` the header contains a sealed token, like the cookie of
    :class:`CookieSessions`.  With ``trusted=True`` it contains the plain identity of a backend.
    Use that only for clients that may choose their backend.  A header that occurs more than once is
    malformed; no value of it is used.

    >>> from balancers import Pool, RoundRobin
    >>> from balancers.http.request import Request
    >>> sticky = HeaderSessions(Pool(RoundRobin(["a", "b"])), trusted=True)
    >>> sticky.resolve(Request(headers=[("X-Session-Server", "b")]), now=0.0, wall=0.0).backend
    'b'

    Cost: ``resolve`` O(headers + gates), and two HMACs for a token.
    Raises InvalidSetting for both or neither of ``tokens`` and ``trusted``, for an invalid header
    name, and for an identity that is not visible ASCII when ``trusted``; DuplicateBackend.
    """

    def __init__(
        self,
        pool: Pool[B],
        tokens: SessionTokens | None = None,
        *,
        trusted: bool = False,
        name: str = "X-Session-Server",
        identity: Identity[B] = name_of,
        failover: str = "rebind",
    ) -> None:
        if (tokens is None) != trusted:
            raise InvalidSetting("pass either tokens or trusted=True, not both or neither")
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise InvalidSetting(f"name must be the name of a header, not {name!r}")
        self._name = name
        self._failover = failover
        self._codec: SealedSessions[B] | _PlainNames[B] = (
            _PlainNames(pool, identity, failover)
            if tokens is None
            else SealedSessions(pool, tokens, identity, failover)
        )

    def resolve(self, request: Request, now: float, wall: float) -> Binding[B]:
        """Look up the backend of the session.  Raises InvalidTime."""
        values = request.header(self._name)
        if len(values) != 1:
            return Binding(None, MALFORMED if values else ABSENT)
        return self._codec.read(values[0].strip(" \t"), now, wall)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Return a new header value, or None if the client's value is still good.

        Raises InvalidTime, ForeignLease.
        """
        return self._codec.write(lease, wall, binding)

    def __repr__(self) -> str:
        content = "plain names" if isinstance(self._codec, _PlainNames) else "sealed tokens"
        return f"<HeaderSessions: header {self._name!r}, {content}, failover {self._failover}>"


class _PlainNames(Generic[B]):
    """Reads and writes identities as plain text."""

    def __init__(self, pool: Pool[B], identity: Identity[B], failover: str) -> None:
        self._identity = partial(_header_identity, identity)
        self._identities = IdentityIndex(pool, self._identity, failover)

    def read(self, name: str, now: float, wall: float) -> Binding[B]:
        try:
            ident = digest_of(name)
        except InvalidKey:
            return Binding(None, MALFORMED)
        return self._identities.binding(ident, ident, now) if name else Binding(None, MALFORMED)

    def write(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        ident = self._identities.digest(lease)
        if ident is None or ident == binding.ticket:
            return None
        return self._identity(lease.backend).decode()


def _header_identity(identity: Identity[B], backend: B) -> bytes:
    name = key_bytes(identity(backend))
    if not _VISIBLE_ASCII.fullmatch(name):
        raise InvalidSetting(
            f"identity of {backend!r} must be visible ASCII to be sent in a header, not {name!r}"
        )
    return name
