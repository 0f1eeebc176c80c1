"""Sessions that the client carries, sealed: what the cookie and the header share."""

from math import inf
from typing import Generic

from balancers._internal.types import B
from balancers.keys import Identity
from balancers.pool import Lease, Pool
from balancers.sessions._identity_index import Roster
from balancers.sessions.binding import Binding
from balancers.sessions.tokens import Claim, SessionTokens

__all__ = ["SealedSessions"]


class SealedSessions(Generic[B]):
    """From a token to a binding, and from a lease to the next token.

    ``max_age`` is how many seconds a client keeps a token.
    """

    def __init__(
        self,
        pool: Pool[B],
        tokens: SessionTokens,
        identity: Identity[B],
        failover: str,
        max_age: float = inf,
    ) -> None:
        self._roster = Roster(pool, identity, failover)
        self._tokens = tokens
        self._max_age = max_age

    def read(self, token: str, now: float, wall: float) -> Binding[B]:
        """Open a token and find its backend.  Raises InvalidTime, DuplicateBackend."""
        claim = self._tokens.open(token, wall)
        if isinstance(claim, str):
            return Binding(None, claim)
        return self._roster.binding(claim.ident, claim, now)

    def write(self, lease: Lease[B], wall: float, binding: Binding[B]) -> str | None:
        """Write a token, or None where the client's own still holds, or its backend left.

        A session that moves begins anew; one that stays keeps the instant it began.
        """
        ident = self._roster.ident(lease)
        if ident is None:
            return None
        claim = binding.ticket
        if not isinstance(claim, Claim) or claim.ident != ident:
            return self._tokens.seal(ident, wall)
        if self._tokens.worn(claim, wall, self._max_age):
            return self._tokens.seal(ident, wall, claim.issued_at)
        return None
