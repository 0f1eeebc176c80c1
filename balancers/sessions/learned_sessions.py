"""Binds a client to a backend by the session id that the application sets."""

from collections import Counter, OrderedDict
from contextlib import suppress
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
    """Stores the backend of each session id of the application in a table.

    Call :meth:`learn` when a response sets a session id.  Call :meth:`resolve` when a request has a
    session id.  An id in a request is only looked up and never stored, so clients cannot fill the
    table.

    The table stores at most ``max_sessions`` sessions.  When it is full, the session that was not
    used for the longest time is removed.  A session expires when it has not been used for more than
    ``idle_timeout`` seconds, measured with ``now``.  All ids use the same amount of memory,
    whatever their length.  The table stores backends by their ``identity``, so a copy of the table
    is valid in another process.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> sticky = LearnedSessions(pool, max_sessions=1000)
    >>> lease = pool.acquire(now=0.0)
    >>> sticky.learn("JSESSIONID of the response", lease, now=0.1)
    >>> sticky.resolve("JSESSIONID of the response", now=9.0).backend, len(sticky)
    ('a', 1)

    ``resolve`` costs O(gates).  Every other method is O(1) amortised unless it says otherwise.
    Raises InvalidSetting for a ``max_sessions`` below 1, an ``idle_timeout`` that is not positive
    or an unknown ``failover``.  Raises DuplicateBackend for two members with the same identity.
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
        self.evicted: int = 0
        """The number of sessions that were removed because the table was full."""
        self.expired: int = 0
        """The number of sessions that were removed because they were not used for longer than
        ``idle_timeout`` seconds."""

    def resolve(self, session: Key | None, now: float, wall: float = 0.0) -> Binding[B]:
        """Look up the backend of a session.

        Pass None if the request has no session.  The look-up restarts the idle timeout of the
        session.  ``wall`` is ignored.  Raises InvalidTime.
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
        """Store that the session of the binding is now on the backend of the lease.

        If the backend of the session was only full, the session stays there.  The method returns
        None, because nothing has to be sent to the client.  It does nothing if the backend has left
        the pool.  It does not add a session that is not in the table.  Only in
        :class:`AddressSessions`, it adds the address.  Raises ForeignLease.
        """
        key, ident = binding.ticket, self._identities.digest(lease)
        if isinstance(key, bytes) and ident is not None:
            self._expire(lease.acquired_at)
            home = self._table.get(key, (ident,))[0]
            if self._learns_from_requests or key in self._table:
                keeps = home != ident and self._identities.keeps(binding, home)
                self._store(key, home if keeps else ident)

    def learn(self, session: Key, lease: Lease[B], now: float) -> None:
        """Store that the session is on the backend of the lease.

        The method does nothing if the backend has left the pool.
        Raises InvalidKey, InvalidTime, ForeignLease.
        """
        key, ident = self._key(session), self._identities.digest(lease)
        self._expire(now)
        if ident is not None:
            self._store(key, ident)

    def forget(self, session: Key) -> None:
        """Remove a session, for example when the user logs out.

        A session that is not in the table is ignored.  Raises InvalidKey.
        """
        self._table.pop(self._key(session), None)

    def counts(self) -> dict[B, int]:
        """Return the number of sessions on each member; O(sessions + members).

        Sessions that have expired since the latest ``now`` are still counted.
        """
        counts = Counter(ident for ident, _ in self._table.values())
        return {backend: counts[ident] for ident, backend in self._identities.members()}

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        removed = f"{self.evicted} evicted, {self.expired} expired"
        return f"<{type(self).__name__}: {len(self)} of {self._max_sessions}, {removed}>"

    def _key(self, session: object) -> bytes:
        """Return the key of the table.  The error does not contain the session id, a secret."""
        if not isinstance(session, str | bytes | int):
            raise TypeError(f"session must be bytes, str or int, not {type(session).__name__}")
        with suppress(InvalidKey):
            return digest_of(session)
        raise InvalidKey("session must be encodable as UTF-8, or an int that fits in 64 bits")

    def _store(self, key: bytes, ident: bytes) -> None:
        self._table[key] = (ident, self._now)
        self._table.move_to_end(key)
        if len(self._table) > self._max_sessions:
            self._table.popitem(last=False)
            self.evicted += 1

    def _expire(self, now: float) -> None:
        """Record the time and remove the sessions that have expired.

        The table is in the order of the last use, so expired sessions are at its start.
        """
        self._now = now = valid_now(now, self._now)
        table = self._table
        while table:
            key = next(iter(table))
            if now - table[key][1] <= self._idle_timeout:
                return
            del table[key]
            self.expired += 1
