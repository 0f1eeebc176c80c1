"""Implements Maglev hashing: the backends take turns to take the slots of a look-up table.

Source: D. Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from math import isqrt
from typing import Any

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers._internal.checks import NO_BACKENDS, at_least, shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidSetting
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import CHUNK, mix
from balancers.hashing.maglev_table import fill
from balancers.keys import Hasher, Identity, Murmur3, name_of

__all__ = ["Maglev"]

_LARGEST = 1 << 24
"""The largest size of a table."""


class Maglev(RehashingBalancer[B]):
    """Looks up the backend of a key in a table of slots, at the key's hash modulo the table size.

    To fill the table, the backends take turns in the order of their names.  The name of a backend
    determines a sequence of slots.  In its turn, a backend takes the next slot of its sequence that
    is still free.  So the map depends on the names and weights of the members, and not on the order
    in which they were added.

    If all weights are equal, the numbers of slots of two backends differ by at most 1.  Otherwise
    the number of slots is about proportional to the weight, but every positive weight has at least
    one slot.  So in a small table, a backend of small weight may get more than its share of the
    keys.  A change of members or weights also moves a few keys between other backends: 0.6 % of the
    keys when one of 100 backends leaves.

    With weight 0 a backend stays a member but is not picked (it is closed).  It keeps the slots
    of its last positive weight.  The keys of these slots are hashed again, and no other key moves.
    A backend that has had weight 0 since it joined has no slots.

    >>> lb = Maglev(["cache-1", "cache-2", "cache-3"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` is O(1).  To close a backend, or to give it back its last weight, is O(1).  The
    first pick after any other change fills the table, which is O(size · log size).  Memory is ten
    bytes per slot.
    Raises InvalidSetting if ``size`` is not a prime up to 2²⁴, and when a member is added while
    there are as many members as slots.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        size: int = 65537,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(2, size=size)
        if size > _LARGEST or not all(size % factor for factor in range(2, isqrt(size) + 1)):
            raise InvalidSetting(f"size must be a prime up to {_LARGEST}, not {shown(size)}")
        self._size = size
        self._last_weights: dict[B, float] = {}  # last positive weights
        self._slots: list[B] = []  # the owner of each slot; empty when it is out of date
        self._seed: int | None = None  # the seed of the default hash function, if it is used
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
        if self._slots and avoid is NO_BACKENDS:
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

    def _flat_lists(self) -> Iterable[list[B]]:
        return (self._slots,)

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None and len(self._weights) == self._size:
            raise InvalidSetting(
                f"size must be above {self._size} to add {shown(backend)} to Maglev, "
                f"not {self._size}"
            )
        last = self._last_weights.get(backend)
        if new is None:
            self._last_weights.pop(backend, None)
        elif new:
            self._last_weights[backend] = new
        if old is None or new is None or new not in (0, last):
            self._slots = []
