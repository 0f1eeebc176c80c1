"""Maglev: a table of slots, filled in turns (Eisenbud et al., NSDI 2016)."""

from collections.abc import Callable, Collection, Iterable, Mapping
from math import isqrt
from typing import Any

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidSetting
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import CHUNK, mix
from balancers.hashing.maglev_table import fill
from balancers.keys import Hasher, Identity, Murmur3, name_of

__all__ = ["Maglev"]

_LARGEST = 1 << 24


class Maglev(RehashingBalancer[B]):
    """A key belongs to the slot that its hash is modulo the size of the table.

    The backends, sorted by name, take turns, each the next free slot of a sequence that its name
    determines: so of equal weights nobody has more than one slot above another, and the map is a
    function of the set, in any order.  Slots are in proportion to weights, and any positive weight
    has one, so a small one may get more than its share of a small table.  The price of being even:
    a change of members or weights moves a few keys beside those that must (0.6 % when one of 100
    leaves).

    A flip keeps the table: a quiesced backend keeps the slots of its last positive weight, and
    their keys, no others, are hashed again.  One that was never open has no slots yet.

    >>> lb = Maglev(["cache-1", "cache-2", "cache-3"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` O(1); a flip O(1).  The first pick after any other change fills the table,
    O(size · log size): 20 ms or so for 65 537.
    Raises InvalidSetting for a size that is no prime up to 2²⁴, and for a member more than slots.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        size: int = 65537,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(2, size=size)
        if size > _LARGEST or not all(size % factor for factor in range(2, isqrt(size) + 1)):
            raise InvalidSetting(f"size must be a prime up to {_LARGEST}, not {size!r}")
        self._size = size
        self._shares: dict[B, float] = {}  # each member's last positive weight
        self._slots: list[B] = []  # whose each slot is; none when out of date
        self._seed: int | None = None  # of the default hash function
        super().__init__(backends, identity=identity, hasher=hasher)
        if isinstance(self._hasher, Murmur3):
            self._seed = self._hasher.seed

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the key's backend; O(1).

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        if type(key) is bytes and self._seed is not None:
            digest = mmh3_x64_128_utupledigest(key, self._seed)[0]
        else:
            digest = self.hash_key(key)
        if self._slots and not avoid:
            backend = self._slots[digest % self._size]
            if self._weights[backend]:
                return backend
        return self.pick_hashed(digest, avoid)

    def _owner(self, digest: int) -> B:
        if not self._slots:
            self._fill()
        return self._slots[digest % self._size]

    def _owners(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        if not self._slots:
            self._fill()
        table, size = self._table, np.uint64(self._size)
        rests = np.empty(CHUNK, dtype=np.uint64)

        def owners(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
            rest = rests[: len(hashes)]
            np.floor_divide(hashes, size, out=rest)
            np.multiply(rest, size, out=rest)
            np.subtract(hashes, rest, out=rest)
            return table.take(rest.view(np.intp), mode="clip")

        return owners

    def _fill(self) -> None:
        places = {backend: place for place, backend in enumerate(self._weights)}
        owners = sorted(self._shares, key=self._names.__getitem__)
        bases = [self._name_hash(backend) for backend in owners]
        table = fill(
            [base % self._size for base in bases],
            [mix(base) % (self._size - 1) + 1 for base in bases],
            [self._shares[backend] for backend in owners],
            self._size,
        )
        fitting = np.uint16 if len(places) <= 1 << 16 else np.uint32
        self._table: NDArray[Any] = np.array([places[each] for each in owners], dtype=fitting)[
            table
        ]
        self._slots = np.fromiter(owners, dtype=object, count=len(owners))[table].tolist()

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None and len(self._weights) == self._size:
            raise InvalidSetting(f"size={self._size} slots are too few for {backend!r} as well")
        share = self._shares.get(backend)
        if new is None:
            self._shares.pop(backend, None)
        elif new:
            self._shares[backend] = new
        if old is None or new is None or new not in (0, share):
            self._slots = []
