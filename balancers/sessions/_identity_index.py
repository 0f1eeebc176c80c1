"""Finds the members of a pool by their identity.

Tokens and tables refer to a backend by its identity, which is the same in every process.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Generic

from balancers._internal.checks import checked_choice, shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import DuplicateBackend, ForeignLease, UnknownBackend
from balancers.keys import Identity, key_bytes
from balancers.pool import Lease, Pool
from balancers.sessions.binding import CLOSED, UNKNOWN_BACKEND, Binding

__all__ = ["IdentityIndex", "digest_of"]

_SPARE = 16
"""How many more entries than twice the number of members the index may keep."""


def digest_of(name: Key) -> bytes:
    """Return the first 16 bytes of the SHA-256 hash of an identity.

    They are the same in every process.  Raises InvalidKey for a text with a lone surrogate or an
    int of more than 64 bits, and TypeError for an object that cannot be a key.
    """
    return sha256(key_bytes(name)).digest()[:16]


class IdentityIndex(Generic[B]):
    """Finds the member that has a given identity, and applies ``failover`` if it is closed.

    Members are stored by the digest of their identity.  If a look-up finds no valid entry, the
    index calls ``identity`` once for each backend that has joined since the last update.  If
    a backend leaves and joins again, its old entry is no longer valid.  A look-up costs O(1).  The
    first look-up after backends have joined costs O(backends that joined).

    Raises DuplicateBackend for two members with the same identity, and InvalidSetting for a
    ``failover`` that is neither ``rebind`` nor ``strict``.
    """

    def __init__(self, pool: Pool[B], identity: Identity[B], failover: str) -> None:
        checked_choice("failover", failover, ("rebind", "strict"))
        self._pool = pool
        self._identity = identity
        self._strict = failover == "strict"
        self._backends: dict[bytes, tuple[B, int]] = {}
        self._digests: dict[int, bytes] = {}
        self._latest = 0
        self._update()

    def binding(self, digest: bytes, ticket: object, now: float | None = None) -> Binding[B]:
        """Return a binding to the member that has this identity; O(gates).

        ``now`` is the time at which the gates of the member are evaluated.  Raises InvalidTime.
        """
        entry = self._current(digest)
        if entry is None:
            self._update()
            entry = self._current(digest)
        if entry is None:
            return Binding(None, UNKNOWN_BACKEND, False, ticket)
        backend = entry[0]
        if self._pool.admits(backend, True, now):
            return Binding(backend, "", self._strict, ticket)
        full = self._pool.full(backend, now)
        return Binding(backend, CLOSED, self._strict, ticket, full)

    def keeps(self, binding: Binding[B], digest: bytes) -> bool:
        """Return whether a session stays on its backend although another backend served a request.

        ``binding`` was returned for the request.  ``digest`` is the identity of the session's
        backend.  The session stays if nothing but limits of requests in flight closed the backend:
        they closed it when the session was looked up, or they close it now.  The session moves if
        the backend has left the pool, or is closed for another reason; O(gates).
        """
        entry = self._current(digest)
        if entry is None or entry[0] != binding.backend or (binding.reason and not binding.full):
            return False
        return self._pool.full(entry[0]) or (binding.full and self._pool.admits(entry[0], True))

    def digest(self, lease: Lease[B]) -> bytes | None:
        """Return the digest of a lease's backend; O(1).

        Return None if the backend has left the pool since the lease was acquired.  Raises
        ForeignLease for a lease of another pool.
        """
        if not self._pool.owns(lease):
            raise ForeignLease(f"a lease of another pool: {shown(lease)}")
        generation = lease.generation
        if self._generation(lease.backend) != generation:
            return None
        if generation not in self._digests:
            self._update()
        return self._digests[generation]

    def members(self) -> Iterable[tuple[bytes, B]]:
        """Return the digest of each member and the member, in the order of joining; O(n)."""
        self._update()
        pool = self._pool
        return [(self._digests[pool.generation(backend)], backend) for backend in pool.backends]

    def _generation(self, backend: B) -> int | None:
        try:
            return self._pool.generation(backend)
        except UnknownBackend:
            return None

    def _current(self, digest: bytes) -> tuple[B, int] | None:
        """Return the entry of an identity, or None if its backend has left since it was made."""
        entry = self._backends.get(digest)
        return entry if entry is not None and self._generation(entry[0]) == entry[1] else None

    def _update(self) -> None:
        """Add an entry for each member that has joined since the last update.

        New members are at the end of ``pool.backends``, so the loop reads them from the end.
        """
        pool = self._pool
        joined: list[tuple[B, int]] = []
        for backend in reversed(pool.backends):
            generation = pool.generation(backend)
            if generation <= self._latest:
                break
            joined.append((backend, generation))
        if not joined:
            return
        named: dict[bytes, tuple[B, int]] = {}
        for backend, generation in reversed(joined):
            name = self._identity(backend)
            digest = digest_of(name)
            other = named.get(digest) or self._current(digest)
            if other is not None:
                raise DuplicateBackend(
                    f"{shown(other[0])} and {shown(backend)} are both {shown(name)}"
                )
            named[digest] = (backend, generation)
        self._backends.update(named)
        self._digests.update((generation, digest) for digest, (_, generation) in named.items())
        self._latest = joined[0][1]
        if len(self._digests) > 2 * len(pool) + _SPARE:
            self._forget_former()

    def _forget_former(self) -> None:
        self._backends = {d: entry for d, entry in self._backends.items() if self._current(d)}
        self._digests = {generation: d for d, (_, generation) in self._backends.items()}

    def __reduce__(self) -> tuple[object, ...]:
        failover = "strict" if self._strict else "rebind"
        return type(self), (self._pool, self._identity, failover)
