"""Binds requests to backends by sealed tokens.

This is the common part of cookie sessions and header sessions.
"""

from math import inf
from typing import Generic

from balancers._internal.types import B
from balancers.keys import Identity
from balancers.pool import Lease, Pool
from balancers.sessions._identity_index import IdentityIndex
from balancers.sessions.binding import Binding
from balancers.sessions.tokens import Claim, SessionTokens

__all__ = ["SealedSessions"]


class SealedSessions(Generic[B]):
    """Converts a token to a binding, and a lease to a new token.

    ``max_age`` is the number of seconds for which a client stores a token.  By default the client
    stores it without a limit.
    """

    def __init__(
        self,
        pool: Pool[B],
        tokens: SessionTokens,
        identity: Identity[B],
        failover: str,
        max_age: float = inf,
    ) -> None:
        self._identities = IdentityIndex(pool, identity, failover)
        self._tokens = tokens
        self._max_age = max_age

    def read(self, token: str, now: float, wall: float) -> Binding[B]:
        """Return the binding for a token.  Raises InvalidTime, DuplicateBackend."""
        claim = self._tokens.open(token, wall)
        if isinstance(claim, str):
            return Binding(None, claim)
        return self._identities.binding(claim.ident, claim, now)

    def write(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Return a new token, or None if the client needs none.

        The client needs no new token if its token is valid and does not have to be renewed, or if
        the backend of the lease has left the pool.  If the lease is on another backend than the
        client's token, a new session starts at ``wall``, unless the backend of the token was only
        full.  If a token is renewed, the session keeps its start time.
        """
        ident = self._identities.digest(lease)
        if ident is None:
            return None
        claim = binding.ticket
        if not isinstance(claim, Claim):
            return self._tokens.seal(ident, wall)
        if claim.ident != ident and not self._identities.keeps(binding, claim.ident):
            return self._tokens.seal(ident, wall)
        if self._tokens.needs_renewal(claim, wall, self._max_age):
            return self._tokens.seal(claim.ident, wall, claim.issued_at)
        return None
