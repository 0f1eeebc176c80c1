"""Modulo hashing over the sorted members: simple and even, but a join or leave moves most keys."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping

from balancers._internal.checks import checked_avoid
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.keys import Hasher, Identity, name_of
from balancers.named_membership import NamedMembership

__all__ = ["Modulo"]

_REHASHES = 20


class Modulo(NamedMembership[B]):
    """Picks the member at the index: hash of the key modulo the number of members.

    Quiesced members are counted.  A key that maps to a closed member is rehashed, up to 20 times;
    then the next open member in order is picked.  So a flip moves only the keys of the backend that
    flips.  A backend that joins or leaves moves nearly all keys.  Any positive weight is the same.

    >>> lb = Modulo(["a", "b", "c"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` O(1) while most members are open, O(n) at worst; joining and leaving O(n).
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._sorted_names: list[bytes] = []
        self._sorted: list[B] = []
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the key's backend.  Raises MissingKey, InvalidKey, NoBackendAvailable."""
        digest = self.hash_key(key)
        if avoid:
            checked_avoid(avoid)
        if not self._open:
            raise self.refusal()
        members, count, weights = self._sorted, len(self._sorted), self._weights
        for _ in range(1 + _REHASHES):
            backend = members[digest % count]
            if weights[backend] and (not avoid or backend not in avoid):
                return backend
            digest = self.hash_key(digest.to_bytes(8, "little"))
        for step in range(count):
            backend = members[(digest + step) % count]
            if weights[backend] and backend not in avoid:
                return backend
        raise self.refusal()

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        index = bisect_left(self._sorted_names, name)
        if old is None:
            self._sorted_names.insert(index, name)
            self._sorted.insert(index, backend)
        elif new is None:
            del self._sorted_names[index], self._sorted[index]
