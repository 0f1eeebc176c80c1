"""Chooses a member by the hash of the key, modulo the number of members.

This is simple, and it distributes the keys evenly.  But most keys move when a member joins or
leaves.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.plans import first_different
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.keys import Hasher, Identity, name_of
from balancers.named_membership import NamedMembership

__all__ = ["Modulo"]

_REHASHES = 20


class Modulo(NamedMembership[B]):
    """Picks the member whose index is the hash of the key modulo the number of members.

    The members are sorted by name.  Members of weight 0 are counted too.  If the selected member
    has weight 0 or is avoided, the hash is hashed again, up to 20 times.  After that, the following
    members are tried in order, and the first that can be picked is picked.  Therefore, if the
    weight of a backend changes to or from 0, only its own keys move.  If a backend joins or leaves,
    nearly all keys move.  All positive weights have the same effect.

    >>> lb = Modulo(["a", "b", "c"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` is O(1) while most members are open, and O(n) at worst.  Joining and leaving are
    O(n).
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._sorted_names: list[bytes] = []
        self._sorted: list[B] = []
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the backend of the key.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        digest = self.hash_key(key)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        if not self._open:
            raise self.refusal()
        for backend in self._tried(digest):
            if not avoid or backend not in avoid:
                return backend
        raise self.refusal()

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the first ``n`` different backends of the key; nothing changes.

        Raises InvalidSetting, MissingKey, InvalidKey, NoBackendAvailable.
        """
        at_least(1, n=n)
        digest = self.hash_key(key)
        ranked = first_different(self._tried(digest), n, checked_avoid(avoid))
        if not ranked:
            raise self.refusal()
        return ranked

    def _tried(self, digest: int) -> Iterator[B]:
        """Yield the open members in the order in which they are tried, some of them repeatedly."""
        members, count, weights = self._sorted, len(self._sorted), self._weights
        if not self._open:
            return
        for _ in range(1 + _REHASHES):
            backend = members[digest % count]
            if weights[backend]:
                yield backend
            digest = self.hash_key(digest.to_bytes(8, "little"))
        for step in range(count):
            backend = members[(digest + step) % count]
            if weights[backend]:
                yield backend

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        index = bisect_left(self._sorted_names, name)
        if old is None:
            self._sorted_names.insert(index, name)
            self._sorted.insert(index, backend)
        elif new is None:
            del self._sorted_names[index], self._sorted[index]
