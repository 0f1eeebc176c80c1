"""Sessions by the session id of the application, in a table."""

from collections import Counter, OrderedDict
from typing import Generic

from balancers._internal.checks import at_least, duration, valid_now
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey
from balancers.keys import Identity, name_of
from balancers.pool import Lease, Pool
from balancers.sessions._identity_index import IdentityIndex, digest_of
from balancers.sessions.binding import ABSENT, MALFORMED, Binding

__all__ = ["LearnedSessions"]


class LearnedSessions(Generic[B]):
    """A table from session ids of the application to backends.

    Call :meth:`learn` when a response sets a session id, and :meth:`resolve` when a request has
    one.  The table stores at most ``max_sessions`` sessions and evicts the least recently used one.
    A session that is not used for ``idle_timeout`` seconds (of ``now``) expires.  Every id takes
    the same memory, whatever its length.  The table stores backends by ``identity``, so a copy of
    it is valid in another process.  An id in a request is only looked up, never stored: clients
    cannot fill the table.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> sticky = LearnedSessions(pool, max_sessions=1000)
    >>> lease = pool.acquire(now=0.0)
    >>> sticky.learn("JSESSIONID of the response", lease, now=0.1)
    >>> sticky.resolve("JSESSIONID of the response", now=9.0).backend, len(sticky)
    ('a', 1)

    Cost: O(1) amortised, ``resolve`` O(gates).
    Raises InvalidSetting for ``max_sessions`` below 1, an ``idle_timeout`` that is not positive or
    an unknown failover; DuplicateBackend for two members with the same identity.
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
        self._identities = IdentityIndex(pool, identity, failover)
        self._table: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._now = float("-inf")
        self.evicted = 0
        """The number of sessions that were removed because the table was full."""
        self.expired = 0
        """The number of sessions that were removed after ``idle_timeout`` seconds."""

    def resolve(self, session: Key | None, now: float, wall: float = 0.0) -> Binding[B]:
        """Look up the backend of a session; None is absent.  A lookup counts as a use.

        ``wall`` is ignored.  Raises InvalidTime.
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
        self._store(key, entry[0])
        return self._identities.binding(entry[0], key, now)

    def issue(self, lease: Lease[B], wall: float, binding: Binding[B]) -> None:
        """Move a stored session to the backend of the lease.  Nothing has to be sent.

        Raises ForeignLease.
        """
        key, ident = binding.ticket, self._identities.digest(lease)
        if isinstance(key, bytes) and ident is not None:
            self._expire(lease.acquired_at)
            if self._learns_from_requests or key in self._table:
                self._store(key, ident)

    def learn(self, session: Key, lease: Lease[B], now: float) -> None:
        """Store that the session is on the backend of the lease.

        Does nothing if that backend has left the pool.
        Raises InvalidKey, InvalidTime, ForeignLease.
        """
        key, ident = self._key(session), self._identities.digest(lease)
        self._expire(now)
        if ident is not None:
            self._store(key, ident)

    def forget(self, session: Key) -> None:
        """Remove a session, for example at logout.  Ignored if unknown.  Raises InvalidKey."""
        self._table.pop(self._key(session), None)

    def counts(self) -> dict[B, int]:
        """Return the number of sessions per member, at the latest time seen; O(sessions)."""
        counts = Counter(ident for ident, _ in self._table.values())
        return {backend: counts[ident] for ident, backend in self._identities.members()}

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        removed = f"{self.evicted} evicted, {self.expired} expired"
        return f"<{type(self).__name__}: {len(self)} of {self._max_sessions}, {removed}>"

    def _key(self, session: Key) -> bytes:
        return digest_of(session)

    def _store(self, key: bytes, ident: bytes) -> None:
        self._table[key] = (ident, self._now)
        self._table.move_to_end(key)
        if len(self._table) > self._max_sessions:
            self._table.popitem(last=False)
            self.evicted += 1

    def _expire(self, now: float) -> None:
        """Advance the time and remove idle sessions, which are the first of the table."""
        self._now = now = valid_now(now, self._now)
        table = self._table
        while table:
            key = next(iter(table))
            if now - table[key][1] <= self._idle_timeout:
                return
            del table[key]
            self.expired += 1
