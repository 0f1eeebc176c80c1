"""Reproduces ``MAGLEV`` of Envoy.

The hosts are sorted by their hash keys.  In turn, they take the slots of a table of a prime size.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isqrt
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing.hashed_balancer import BITS
from balancers.hashing.maglev_table import fill
from balancers.interop.envoy.cluster import HashCluster
from balancers.interop.envoy.hosts import Table
from balancers.interop.envoy.settings import ClusterSettings, within
from balancers.keys import XXHash64

__all__ = ["Maglev"]

_MAX_TABLE_SIZE = 5_000_011


class Maglev(HashCluster[B]):
    """Picks hosts by the policy ``MAGLEV`` of Envoy 1.40.0.

    The XXH64 of the key, modulo the size of the table, selects a slot.  Each slot belongs to a
    host.

    ``table_size`` is the setting of ``maglev_lb_config``: a prime number up to 5 000 011.  The
    other keywords are described in :class:`RingHash`: ``hash_balance_factor``, ``locality``,
    ``locality_weights``, ``healthy_panic_threshold``, ``overprovisioning_factor`` and ``identity``.
    The order in which hosts are added has an effect only with bounded load.

    >>> lb = Maglev({"10.0.0.1:80": 1, "10.0.0.2:80": 2, "10.0.0.3:80": 1}, table_size=1009)
    >>> lb.pick("user:42")
    '10.0.0.2:80'

    Cost: ``pick`` is O(1), with ``avoid`` O(1) per attempt.  The first pick after a change rebuilds
    the table, which is O(M log M) for M slots.
    Raises InvalidSetting or InvalidWeight for values that Envoy refuses, and ImportError without
    ``balancers[xxhash]``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        table_size: int = 65537,
        **settings: Unpack[ClusterSettings[B]],
    ) -> None:
        within(2, _MAX_TABLE_SIZE, table_size=table_size)
        if not all(table_size % divisor for divisor in range(2, isqrt(table_size) + 1)):
            raise InvalidSetting(f"table_size must be prime, not {shown(table_size)}")
        self._size = table_size
        self._skip_hash = XXHash64(1)
        super().__init__(backends, **settings)

    def _build_table(self, names: Sequence[bytes], shares: Sequence[float]) -> Table:
        order = sorted(range(len(names)), key=names.__getitem__)
        offsets = [self._hasher(names[place]) % self._size for place in order]
        skips = [self._skip_hash(names[place]) % (self._size - 1) + 1 for place in order]
        table = fill(offsets, skips, [shares[place] for place in order], self._size)
        return _Slots(np.array(order, dtype=np.intp)[table])


class _Slots:
    """Stores the owner of each slot.

    The list is for single hashes, and the array is for many hashes.  The slots never change, so a
    deep copy of the balancer shares them.
    """

    def __init__(self, owners: NDArray[np.intp]) -> None:
        self._owners = owners
        self._listed: list[int] = owners.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Slots":
        return self

    def owner(self, digest: int) -> int:
        return self._listed[digest % len(self._listed)]

    def attempts(self, digest: int) -> Iterator[int]:
        """Return the owner of the hash, and then the owners of other hashes.

        Attempt n uses the hash ``digest ^ (2**64 - n)``.  There are enough attempts to reach every
        slot.
        """
        yield self.owner(digest)
        for attempt in range(1, 1 + (1 << len(self._listed).bit_length())):
            yield self.owner(digest ^ (BITS + 1 - attempt))

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        slots: NDArray[np.uint64] = digests % np.uint64(len(self._owners))
        return self._owners[slots]
