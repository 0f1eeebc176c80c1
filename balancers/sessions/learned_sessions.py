"""Sessions by the application's own id, remembered here."""

from collections import Counter, OrderedDict
from typing import Generic

from balancers._internal.checks import at_least, duration, valid_now
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey
from balancers.keys import Identity, name_of
from balancers.pool import Lease, Pool
from balancers.sessions._identity_index import Roster, ident_of
from balancers.sessions.binding import ABSENT, MALFORMED, Binding

__all__ = ["LearnedSessions"]


class LearnedSessions(Generic[B]):
    """A table from the application's session ids to backends.

    :meth:`learn` an id when a response first shows it; :meth:`resolve` it when a request does.  At
    most ``max_sessions`` sessions are remembered, the least recently used is evicted, and one not used for
    ``idle_timeout`` seconds (of ``now``) is forgotten.  An id costs the same room whatever its length.  The
    table names backends by ``identity``, so a copy of it is right in another process.  What a
    request shows is looked up and never stored, so that strangers cannot fill the table.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> sticky = LearnedSessions(pool, max_sessions=1000)
    >>> lease = pool.acquire(now=0.0)
    >>> sticky.learn("JSESSIONID of the response", lease, now=0.1)
    >>> sticky.resolve("JSESSIONID of the response", now=9.0).backend, len(sticky)
    ('a', 1)

    Cost: O(1) amortised, O(gates) to resolve.
    Raises InvalidSetting for ``max_sessions`` below 1, an idle time that is not positive or another failover;
    DuplicateBackend for two members of one identity.
    """

    _learns_from_requests = False

    def __init__(
        self,
        pool: Pool[B],
        *,
        max_sessions: int = 100_000,
        idle_timeout: float = 600.0,
        identity: Identity[B] = name_of,
        failover: str = "rebind",
    ) -> None:
        at_least(1, max_sessions=max_sessions)
        self._max_sessions = max_sessions
        self._idle_timeout = duration("idle_timeout", idle_timeout, endless=True)
        self._roster = Roster(pool, identity, failover)
        self._table: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._now = float("-inf")
        self.evicted = 0
        """How many sessions were forgotten for want of room."""
        self.expired = 0
        """How many were forgotten after ``idle_timeout`` seconds."""

    def resolve(self, session: Key | None, now: float, wall: float = 0.0) -> Binding[B]:
        """Find the session's backend, and count the look-up as a use; None is absent.

        ``wall`` is not looked at.  Raises InvalidTime.
        """
        self._expire(now)
        if session is None:
            return Binding(None, ABSENT)
        try:
            key = self._key(session)
        except InvalidKey:
            return Binding(None, MALFORMED)
        entry = self._table.get(key)
        if entry is None:
            return Binding(None, ABSENT, False, key)
        self._remember(key, entry[0])
        return self._roster.binding(entry[0], key, now)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> None:
        """Move a session that is remembered to the lease's backend; there is nothing to send.

        Raises ForeignLease.
        """
        key, ident = binding.ticket, self._roster.ident(lease)
        if isinstance(key, bytes) and ident is not None:
            self._expire(lease.acquired_at)
            if self._learns_from_requests or key in self._table:
                self._remember(key, ident)

    def learn(self, session: Key, lease: Lease[B], now: float) -> None:
        """Remember that the session is on the lease's backend, unless that left meanwhile.

        Raises InvalidKey, InvalidTime, ForeignLease.
        """
        key, ident = self._key(session), self._roster.ident(lease)
        self._expire(now)
        if ident is not None:
            self._remember(key, ident)

    def forget(self, session: Key) -> None:
        """Forget a session, as it was logged out; a stranger is fine.  Raises InvalidKey."""
        self._table.pop(self._key(session), None)

    def counts(self) -> dict[B, int]:
        """Count the sessions on each member, as of the latest time seen; O(sessions)."""
        counts = Counter(ident for ident, _ in self._table.values())
        return {backend: counts[ident] for ident, backend in self._roster.members()}

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        told = (
            f"{len(self)} of {self._max_sessions}, {self.evicted} evicted, {self.expired} expired"
        )
        return f"<{type(self).__name__}: {told}>"

    def _key(self, session: Key) -> bytes:
        return ident_of(session)

    def _remember(self, key: bytes, ident: bytes) -> None:
        self._table[key] = (ident, self._now)
        self._table.move_to_end(key)
        if len(self._table) > self._max_sessions:
            self._table.popitem(last=False)
            self.evicted += 1

    def _expire(self, now: float) -> None:
        """Take note of the time and forget the idle: they are the least recently used."""
        self._now = now = valid_now(now, self._now)
        table = self._table
        while table:
            key = next(iter(table))
            if now - table[key][1] <= self._idle_timeout:
                return
            del table[key]
            self.expired += 1
