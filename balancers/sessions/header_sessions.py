"""Sessions by a header of ours."""

import re
from functools import partial
from typing import Generic

from balancers._internal.types import B
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http.request import Request
from balancers.keys import Identity, key_bytes, name_of
from balancers.pool import Lease, Pool
from balancers.sessions._identity_index import Roster, ident_of
from balancers.sessions._sealed import SealedSessions
from balancers.sessions.binding import ABSENT, MALFORMED, Binding
from balancers.sessions.tokens import SessionTokens

__all__ = ["HeaderSessions"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(rb"[!-~]+")


class HeaderSessions(Generic[B]):
    """Binds a client to the backend that a header names: for clients that are programs.

    With ``tokens`` the header holds a sealed token, as the cookie does.  ``trusted=True`` instead
    takes the plain identity of a backend: only for clients you trust to choose, as whoever sends
    it does.  A header given more than once is malformed, never one of them.

    >>> from balancers import Pool, RoundRobin
    >>> from balancers.http.request import Request
    >>> sticky = HeaderSessions(Pool(RoundRobin(["a", "b"])), trusted=True)
    >>> sticky.resolve(Request(headers=[("X-Session-Server", "b")]), now=0.0, wall=0.0).backend
    'b'

    Cost: ``resolve`` O(headers + gates), and two HMACs for a token.
    Raises InvalidSetting for both or neither of ``tokens`` and ``trusted``, for a name that is no
    header's, and for a trusted identity that cannot stand in one; DuplicateBackend.
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
            raise InvalidSetting("a header holds tokens, or plain names when trusted=True")
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidSetting(f"no name of a header: {name!r}")
        self._name = name
        self._way: SealedSessions[B] | _PlainNames[B] = (
            _PlainNames(pool, identity, failover)
            if tokens is None
            else SealedSessions(pool, tokens, identity, failover)
        )

    def resolve(self, request: Request, now: float, wall: float) -> Binding[B]:
        """Find the session's backend.  Raises InvalidTime."""
        values = request.header(self._name)
        if len(values) != 1:
            return Binding(None, MALFORMED if values else ABSENT)
        return self._way.read(values[0].strip(" \t"), now, wall)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Give the header's value, or None when nothing changed.  Raises InvalidTime."""
        return self._way.write(lease, wall, binding)


class _PlainNames(Generic[B]):
    """Identities as they are."""

    def __init__(self, pool: Pool[B], identity: Identity[B], failover: str) -> None:
        self._identity = partial(_visible, identity)
        self._roster = Roster(pool, self._identity, failover)

    def read(self, name: str, now: float, wall: float) -> Binding[B]:
        try:
            ident = ident_of(name)
        except InvalidKey:
            return Binding(None, MALFORMED)
        return self._roster.binding(ident, ident, now) if name else Binding(None, MALFORMED)

    def write(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        ident = self._roster.ident(lease)
        if ident is None or ident == binding.ticket:
            return None
        return self._identity(lease.backend).decode()


def _visible(identity: Identity[B], backend: B) -> bytes:
    name = key_bytes(identity(backend))
    if not _VISIBLE.fullmatch(name):
        raise InvalidSetting(f"{name!r} cannot stand in a header: say how to name {backend!r}")
    return name
