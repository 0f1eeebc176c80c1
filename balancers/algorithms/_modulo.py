"""Plain modulo over the members sorted by name: simple, even, and reshuffled by any change."""

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
    """The key's hash modulo the number of members, quiesced ones counted.

    A closed one is re-hashed, up to 20 times, and then the next in order serves: a flip moves only
    the keys of the one that flips.  Joining or leaving moves nearly all.  Any positive weight is
    the same.

    >>> lb = Modulo(["a", "b", "c"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` O(1) while most are open, O(n) at worst; joining and leaving O(n).
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
        """Give the key's backend.  Raises MissingKey, InvalidKey, NoBackendAvailable."""
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
        place = bisect_left(self._sorted_names, name)
        if old is None:
            self._sorted_names.insert(place, name)
            self._sorted.insert(place, backend)
        elif new is None:
            del self._sorted_names[place], self._sorted[place]
