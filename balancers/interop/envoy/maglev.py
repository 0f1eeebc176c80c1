"""MAGLEV: a table of a prime size that the hosts fill in turns, sorted by hash key."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing.hashed_balancer import BITS
from balancers.hashing.maglev_table import fill
from balancers.interop.envoy.cluster import HashCluster
from balancers.interop.envoy.hosts import Table
from balancers.interop.envoy.locality import Locality, everywhere
from balancers.interop.envoy.settings import within
from balancers.keys import Identity, XXHash64, name_of

__all__ = ["Maglev"]

_LARGEST = 5_000_011


class Maglev(HashCluster[B]):
    """Envoy 1.40.0, ``MAGLEV``: a key belongs to the slot that is its XXH64 modulo the table size.

    ``table_size`` is that of ``maglev_lb_config``, a prime up to 5 000 011; everything else is as
    in :class:`RingHash`.  The order of the hosts matters to bounded load alone.

    >>> lb = Maglev({"10.0.0.1:80": 1, "10.0.0.2:80": 2, "10.0.0.3:80": 1}, table_size=1009)
    >>> lb.pick("user:42")
    '10.0.0.2:80'

    Cost: ``pick`` O(1), ``avoid`` one step an attempt; the first pick after a change builds anew,
    O(M log M) for M slots.
    Raises InvalidSetting, InvalidWeight for what Envoy refuses, ImportError without
    ``balancers[xxhash]``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        table_size: int = 65537,
        hash_balance_factor: int | None = None,
        locality: Callable[[B], Locality] = everywhere,
        locality_weights: Mapping[Locality, int] | None = None,
        healthy_panic_threshold: int = 50,
        overprovisioning_factor: int = 140,
        identity: Identity[B] = name_of,
    ) -> None:
        within(2, _LARGEST, table_size=table_size)
        if not all(table_size % divisor for divisor in range(2, isqrt(table_size) + 1)):
            raise InvalidSetting(f"table_size must be prime, not {table_size!r}")
        self._size = table_size
        self._skip = XXHash64(1)
        super().__init__(
            backends,
            hash_balance_factor=hash_balance_factor,
            locality=locality,
            locality_weights=locality_weights,
            healthy_panic_threshold=healthy_panic_threshold,
            overprovisioning_factor=overprovisioning_factor,
            identity=identity,
        )

    def _table(self, names: Sequence[bytes], shares: Sequence[float]) -> Table:
        order = sorted(range(len(names)), key=names.__getitem__)
        offsets = [self._hasher(names[place]) % self._size for place in order]
        skips = [self._skip(names[place]) % (self._size - 1) + 1 for place in order]
        table = fill(offsets, skips, [shares[place] for place in order], self._size)
        return _Slots(np.array(order, dtype=np.intp)[table])


class _Slots:
    def __init__(self, whose: NDArray[np.intp]) -> None:
        self._whose = whose
        self._listed: list[int] = whose.tolist()

    def owner(self, digest: int) -> int:
        return self._listed[digest % len(self._listed)]

    def attempts(self, digest: int) -> Iterator[int]:
        """Change the low bits, aligned: as many attempts as make a run longer than the table."""
        yield self.owner(digest)
        for attempt in range(1, 1 + (1 << len(self._listed).bit_length())):
            yield self.owner(digest ^ (BITS + 1 - attempt))

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        slots: NDArray[np.uint64] = digests % np.uint64(len(self._whose))
        return self._whose[slots]
