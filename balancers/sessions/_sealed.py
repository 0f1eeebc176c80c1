"""Sessions in sealed tokens: the common part of cookie sessions and header sessions."""

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
    """Converts a token to a binding, and a lease to the next token.

    ``max_age`` is the number of seconds for which a client stores a token.
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
        """Open a token and look up its backend.  Raises InvalidTime, DuplicateBackend."""
        claim = self._tokens.open(token, wall)
        if isinstance(claim, str):
            return Binding(None, claim)
        return self._identities.binding(claim.ident, claim, now)

    def write(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Return a new token, or None if the client's token is still good or the backend left.

        A session on another backend starts at ``wall``; otherwise it keeps its start time.
        """
        ident = self._identities.digest(lease)
        if ident is None:
            return None
        claim = binding.ticket
        if not isinstance(claim, Claim) or claim.ident != ident:
            return self._tokens.seal(ident, wall)
        if self._tokens.needs_renewal(claim, wall, self._max_age):
            return self._tokens.seal(ident, wall, claim.issued_at)
        return None
