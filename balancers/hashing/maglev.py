"""Maglev: a table of slots that the backends fill in turns (Eisenbud et al., NSDI 2016)."""

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
    """A key belongs to the slot whose number is the key's hash modulo the size of the table.

    The backends, sorted by name, take turns.  In each turn a backend takes the next free slot of a
    sequence that its name determines.  So with equal weights no backend has more than one slot more
    than another, and the map is a function of the set of members, in any order.  Slots are in
    proportion to weights, and every positive weight has at least one, so a small weight may get
    more than its share of a small table.  This evenness has a price: a change of members or weights
    also moves a few keys of other backends (0.6 % when one of 100 leaves).

    A flip does not change the table.  A quiesced backend keeps the slots of its last positive
    weight; their keys, and no others, are hashed again.  A backend that was never open has no slots
    yet.

    >>> lb = Maglev(["cache-1", "cache-2", "cache-3"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` O(1); a flip O(1).  The first pick after any other change fills the table,
    O(size · log size): about 20 ms for 65 537 slots.
    Raises InvalidSetting unless the size is a prime up to 2²⁴, and for more members than slots.
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
        self._last_weights: dict[B, float] = {}  # each member's last positive weight
        self._slots: list[B] = []  # the owner of each slot; empty when out of date
        self._seed: int | None = None  # of the default hash function
        super().__init__(backends, identity=identity, hasher=hasher)
        if isinstance(self._hasher, Murmur3):
            self._seed = self._hasher.seed

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the key's backend; O(1).

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

    def _owner_search(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        if not self._slots:
            self._fill()
        table, size = self._table, np.uint64(self._size)
        buffer = np.empty(CHUNK, dtype=np.uint64)

        def owners(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
            slots = buffer[: len(hashes)]
            np.floor_divide(hashes, size, out=slots)
            np.multiply(slots, size, out=slots)
            np.subtract(hashes, slots, out=slots)
            return table.take(slots.view(np.intp), mode="clip")

        return owners

    def _fill(self) -> None:
        places = {backend: place for place, backend in enumerate(self._weights)}
        owners = sorted(self._last_weights, key=self._names.__getitem__)
        bases = [self._name_hash(backend) for backend in owners]
        table = fill(
            [base % self._size for base in bases],
            [mix(base) % (self._size - 1) + 1 for base in bases],
            [self._last_weights[backend] for backend in owners],
            self._size,
        )
        smallest = np.uint16 if len(places) <= 1 << 16 else np.uint32
        # For batches: the index of each slot's owner in the order of weights.
        self._table: NDArray[Any] = np.array([places[each] for each in owners], dtype=smallest)[
            table
        ]
        self._slots = np.fromiter(owners, dtype=object, count=len(owners))[table].tolist()

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None and len(self._weights) == self._size:
            raise InvalidSetting(
                f"size must be above {self._size} to add {backend!r} to Maglev, not {self._size}"
            )
        last = self._last_weights.get(backend)
        if new is None:
            self._last_weights.pop(backend, None)
        elif new:
            self._last_weights[backend] = new
        if old is None or new is None or new not in (0, last):
            self._slots = []
