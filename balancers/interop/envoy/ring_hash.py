"""RING_HASH: points by share, one running sum over the hosts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing.circle import Circle
from balancers.interop.envoy.cluster import HashCluster
from balancers.interop.envoy.hosts import Table
from balancers.interop.envoy.locality import Locality, everywhere
from balancers.interop.envoy.murmur2 import murmur2
from balancers.interop.envoy.settings import within
from balancers.keys import Identity, XXHash64, name_of

__all__ = ["RingHash"]

_LARGEST = 8_388_608


class RingHash(HashCluster[B]):
    """Envoy 1.40.0, ``RING_HASH``: a key belongs to the first point at or after its XXH64.

    ``minimum_ring_size``, ``maximum_ring_size`` and ``hash_function`` (``XX_HASH`` or
    ``MURMUR_HASH_2``, of the points alone) are those of ``ring_hash_lb_config``; shares that are no
    whole number of points depend on the order of the hosts.  ``hash_balance_factor`` bounds load;
    ``locality`` says where a host is and at which priority, ``locality_weights`` turns on
    ``locality_weighted_lb_config``; ``identity`` gives the ``hash_key`` or the host name where
    Envoy hashes that.

    >>> lb = RingHash({"10.0.0.1:80": 1, "10.0.0.2:80": 2, "10.0.0.3:80": 1})
    >>> lb.pick("user:42")
    '10.0.0.3:80'

    Not as in Envoy: after a retry's attempts end, Envoy gives the last host, tried or not; here one
    that was not, or nobody.  Two hosts of one hash key are refused.

    Cost: ``pick`` O(1) expected, ``avoid`` one step an attempt; the first pick after a change
    builds anew, O(V log V) for V points.
    Raises InvalidSetting, InvalidWeight for what Envoy refuses, ImportError without
    ``balancers[xxhash]``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        minimum_ring_size: int = 1024,
        maximum_ring_size: int = _LARGEST,
        hash_function: str = "XX_HASH",
        hash_balance_factor: int | None = None,
        locality: Callable[[B], Locality] = everywhere,
        locality_weights: Mapping[Locality, int] | None = None,
        healthy_panic_threshold: int = 50,
        overprovisioning_factor: int = 140,
        identity: Identity[B] = name_of,
    ) -> None:
        within(1, _LARGEST, maximum_ring_size=maximum_ring_size)
        within(1, maximum_ring_size, minimum_ring_size=minimum_ring_size)
        if hash_function not in {"XX_HASH", "MURMUR_HASH_2"}:
            raise InvalidSetting(
                f"hash_function must be 'XX_HASH' or 'MURMUR_HASH_2', not {hash_function!r}"
            )
        self._minimum, self._maximum = minimum_ring_size, maximum_ring_size
        self._point: Callable[[bytes], int] = XXHash64() if hash_function == "XX_HASH" else murmur2
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
        least = min(shares)
        scale = min(ceil(least * self._minimum) / least, float(self._maximum))
        points: list[int] = []
        counts: list[int] = []
        target = 0.0
        for name, share in zip(names, shares, strict=True):
            target += scale * share
            counts.append(max(0, ceil(target) - len(points)))
            points += [self._point(b"%s_%d" % (name, number)) for number in range(counts[-1])]
        return _Ring(np.array(points, dtype=np.uint64), np.repeat(np.arange(len(names)), counts))


class _Ring:
    def __init__(self, points: NDArray[np.uint64], whose: NDArray[np.intp]) -> None:
        order = np.argsort(points, kind="stable")
        self._points, self._whose = points[order], whose[order]
        self._circle = Circle[int]()
        self._circle.build(self._points, self._whose, range(int(whose.max()) + 1))

    def owner(self, digest: int) -> int:
        return self._circle.at(digest)[1]

    def attempts(self, digest: int) -> Iterator[int]:
        return self._circle.walk(digest)

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        return self._whose[np.searchsorted(self._points, digests) % len(self._points)]
