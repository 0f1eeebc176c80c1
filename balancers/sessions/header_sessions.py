"""Binds a client to a backend by a header that the client sends back."""

import re
from functools import partial
from typing import Generic

from balancers._internal.checks import shown
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
    """Binds a client to the backend that a request header identifies.

    Use it for clients that are programs, because browsers do not send such a header back.  With
    ``tokens``, the header contains a sealed token, like the cookie of :class:`CookieSessions`.
    With ``trusted=True``, the header contains the identity of a backend as plain text.  Use
    ``trusted`` only for clients that are allowed to choose their backend.  If the header occurs
    more than once, it is malformed and none of its values is used.

    A token is valid only for one ``context`` and one header name, in upper or lower case.  Pass the
    name of the pool as ``context`` if several pools have the same keys, as for
    :class:`CookieSessions`.

    >>> from balancers import Pool, RoundRobin
    >>> from balancers.http import Request
    >>> sticky = HeaderSessions(Pool(RoundRobin(["a", "b"])), trusted=True)
    >>> sticky.resolve(Request(headers=[("X-Session-Server", "b")]), now=0.0, wall=0.0).backend
    'b'

    ``resolve`` costs O(headers + gates).  With ``tokens``, it also computes two HMACs, and one more
    for each key that does not match.
    Raises InvalidSetting if both ``tokens`` and ``trusted`` are given or neither, for a ``context``
    with ``trusted``, for an invalid header name, and for an unknown ``failover``.  With
    ``trusted``, it also raises InvalidSetting for an identity that is not visible ASCII.  Raises
    DuplicateBackend for two members with the same identity.
    """

    def __init__(
        self,
        pool: Pool[B],
        tokens: SessionTokens | None = None,
        *,
        trusted: bool = False,
        context: str | bytes = b"",
        name: str = "X-Session-Server",
        identity: Identity[B] = name_of,
        failover: str = "rebind",
    ) -> None:
        if (tokens is None) != trusted:
            raise InvalidSetting("pass either tokens or trusted=True, not both or neither")
        if trusted and context:
            raise InvalidSetting("context must be empty for trusted=True, which has no tokens")
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise InvalidSetting(f"name must be the name of a header, not {shown(name)}")
        self._name = name
        self._failover = failover
        self._codec: SealedSessions[B] | _PlainNames[B]
        if tokens is None:
            self._codec = _PlainNames(pool, identity, failover)
        else:
            bound = tokens.with_context(context).with_context(f"header {name.lower()}")
            self._codec = SealedSessions(pool, bound, identity, failover)

    def resolve(self, request: Request, now: float, wall: float) -> Binding[B]:
        """Look up the backend of the session.

        ``wall`` is the time in seconds since an epoch that all processes share.  ``now`` is the
        time in seconds of the pool's clock.  Raises InvalidTime, DuplicateBackend.
        """
        values = request.header(self._name)
        if len(values) != 1:
            return Binding(None, MALFORMED if values else ABSENT)
        return self._codec.read(values[0].strip(" \t"), now, wall)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Return a new value for the header, or None if no value has to be sent.

        No value has to be sent if the client's value is valid and does not have to be renewed, if
        the backend of the lease has left the pool, or if the session's own backend was only full.
        Raises InvalidTime, ForeignLease.
        """
        return self._codec.write(lease, wall, binding)

    def __repr__(self) -> str:
        content = "plain names" if isinstance(self._codec, _PlainNames) else "sealed tokens"
        return f"<HeaderSessions: header {self._name!r}, {content}, failover {self._failover}>"


class _PlainNames(Generic[B]):
    """Converts an identity in plain text to a binding, and a lease to such an identity."""

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
        ident, home = self._identities.digest(lease), binding.ticket
        if ident is None or ident == home:
            return None
        if isinstance(home, bytes) and self._identities.keeps(binding, home):
            return None
        return self._identity(lease.backend).decode()


def _header_identity(identity: Identity[B], backend: B) -> bytes:
    name = key_bytes(identity(backend))
    if not _VISIBLE_ASCII.fullmatch(name):
        raise InvalidSetting(
            f"identity of {shown(backend)} must be visible ASCII to be sent in a header, "
            f"not {shown(name)}"
        )
    return name
