"""The members of a pool by identity: the names that tokens and tables use across processes."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Generic

from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import DuplicateBackend, ForeignLease, InvalidSetting, UnknownBackend
from balancers.keys import Identity, key_bytes
from balancers.pool import Lease, Pool
from balancers.sessions.binding import CLOSED, UNKNOWN_BACKEND, Binding

__all__ = ["IdentityIndex", "digest_of"]

_SPARE = 16
"""Entries of former members that are kept beyond one per member."""


def digest_of(name: Key) -> bytes:
    """Return 16 bytes that stand for an identity in any process: SHA-256, cut.

    Raises InvalidKey for a lone surrogate or an int beyond 64 bits, TypeError for what is no key.
    """
    return sha256(key_bytes(name)).digest()[:16]


class IdentityIndex(Generic[B]):
    """Members by the digest of their identity, and what ``failover`` does about a closed one.

    It is updated lazily: a member is named once, when it is first missed, and an entry is valid for
    one generation of a backend's membership.  A look-up costs O(1), and O(joined) after backends
    have joined.

    Raises DuplicateBackend for two members of one identity, InvalidSetting for a failover that is
    neither rebind nor strict.
    """

    def __init__(self, pool: Pool[B], identity: Identity[B], failover: str) -> None:
        if failover not in {"rebind", "strict"}:
            raise InvalidSetting(f"failover must be rebind or strict, not {failover!r}")
        self._pool = pool
        self._identity = identity
        self._strict = failover == "strict"
        self._backends: dict[bytes, tuple[B, int]] = {}
        self._digests: dict[int, bytes] = {}
        self._latest = 0
        self._update()

    def binding(self, digest: bytes, ticket: object, now: float | None = None) -> Binding[B]:
        """Bind to the member of this identity, at ``now``; O(gates).  Raises InvalidTime."""
        entry = self._current(digest)
        if entry is None:
            self._update()
            entry = self._current(digest)
        if entry is None:
            return Binding(None, UNKNOWN_BACKEND, False, ticket)
        backend = entry[0]
        reason = "" if self._pool.admits(backend, True, now) else CLOSED
        return Binding(backend, reason, self._strict, ticket)

    def digest(self, lease: Lease[B]) -> bytes | None:
        """Return the digest of a lease's backend, None if that has left; O(1).

        Raises ForeignLease for a lease of another pool.
        """
        if not self._pool.owns(lease):
            raise ForeignLease(f"a lease of another pool: {lease!r}")
        generation = lease.generation
        if self._generation(lease.backend) != generation:
            return None
        if generation not in self._digests:
            self._update()
        return self._digests[generation]

    def members(self) -> Iterable[tuple[bytes, B]]:
        """Return each member's digest and the member, in the order of joining; O(n)."""
        self._update()
        pool = self._pool
        return [(self._digests[pool.generation(backend)], backend) for backend in pool.backends]

    def _generation(self, backend: B) -> int | None:
        try:
            return self._pool.generation(backend)
        except UnknownBackend:
            return None

    def _current(self, digest: bytes) -> tuple[B, int] | None:
        """Return the entry of an identity if it is of the present membership."""
        entry = self._backends.get(digest)
        return entry if entry is not None and self._generation(entry[0]) == entry[1] else None

    def _update(self) -> None:
        """Name the members that joined since the last time: they come last, in that order."""
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
                raise DuplicateBackend(f"{other[0]!r} and {backend!r} are both {name!r}")
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
