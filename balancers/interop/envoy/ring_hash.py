"""RING_HASH: the number of points per host follows a running sum of the shares."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing.circle import Circle
from balancers.interop.envoy.cluster import HashCluster
from balancers.interop.envoy.hosts import Table
from balancers.interop.envoy.murmur2 import murmur2
from balancers.interop.envoy.settings import ClusterSettings, within
from balancers.keys import Hasher, XXHash64

__all__ = ["RingHash"]

_MAX_RING_SIZE = 8_388_608


class RingHash(HashCluster[B]):
    """Envoy 1.40.0, ``RING_HASH``: a key belongs to the first point at or after its XXH64.

    ``minimum_ring_size``, ``maximum_ring_size`` and ``hash_function`` are those of
    ``ring_hash_lb_config``.  The hash function, ``XX_HASH`` or ``MURMUR_HASH_2``, is for the points
    only.  If the shares are no whole numbers of points, the ring depends on the order of the hosts.
    The other keywords, which :class:`Maglev` has too, are:

    * ``hash_balance_factor``, 100 or more: the greatest load of a host in percent of its share of
      the requests in flight; by default None, without a bound.
    * ``locality``: a function that returns the :class:`Locality` of a host, which includes its
      priority; by default every host has the same one.
    * ``locality_weights``: weights per locality, as with ``locality_weighted_lb_config``; by
      default None, without these weights.
    * ``healthy_panic_threshold``, in percent, 50 by default; 0 turns panic off.
    * ``overprovisioning_factor``, in percent, 140 by default.
    * ``identity``: a function that returns the ``hash_key`` or the host name of a host, if Envoy
      hashes that; by default the address is hashed.

    >>> lb = RingHash({"10.0.0.1:80": 1, "10.0.0.2:80": 2, "10.0.0.3:80": 1})
    >>> lb.pick("user:42")
    '10.0.0.3:80'

    Differences from Envoy: when the attempts of a retry are used up, Envoy uses the last host, even
    if it was tried; here a host that was not tried is picked, or the pick is refused.  Two hosts
    with the same hash key are refused.

    Cost: ``pick`` O(1) expected, with ``avoid`` O(1) per attempt; the first pick after a change
    rebuilds the ring, O(V log V) for V points.
    Raises InvalidSetting or InvalidWeight for values that Envoy refuses, ImportError without
    ``balancers[xxhash]``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        minimum_ring_size: int = 1024,
        maximum_ring_size: int = _MAX_RING_SIZE,
        hash_function: str = "XX_HASH",
        **settings: Unpack[ClusterSettings[B]],
    ) -> None:
        within(1, _MAX_RING_SIZE, maximum_ring_size=maximum_ring_size)
        within(1, maximum_ring_size, minimum_ring_size=minimum_ring_size)
        if hash_function not in {"XX_HASH", "MURMUR_HASH_2"}:
            raise InvalidSetting(
                f"hash_function must be 'XX_HASH' or 'MURMUR_HASH_2', not {hash_function!r}"
            )
        self._min_size, self._max_size = minimum_ring_size, maximum_ring_size
        self._point_hash: Hasher = XXHash64() if hash_function == "XX_HASH" else murmur2
        super().__init__(backends, **settings)

    def _build_table(self, names: Sequence[bytes], shares: Sequence[float]) -> Table:
        least = min(shares)
        scale = min(ceil(least * self._min_size) / least, float(self._max_size))
        points: list[int] = []
        counts: list[int] = []
        target = 0.0
        for name, share in zip(names, shares, strict=True):
            target += scale * share
            counts.append(max(0, ceil(target) - len(points)))
            points += [self._point_hash(b"%s_%d" % (name, number)) for number in range(counts[-1])]
        return _Ring(np.array(points, dtype=np.uint64), np.repeat(np.arange(len(names)), counts))


class _Ring:
    """The points and their owners, as sorted arrays and as a circle."""

    def __init__(self, points: NDArray[np.uint64], owners: NDArray[np.intp]) -> None:
        order = np.argsort(points, kind="stable")
        self._points, self._owners = points[order], owners[order]
        self._circle = Circle[int]()
        self._circle.build(self._points, self._owners, range(int(owners.max()) + 1))

    def owner(self, digest: int) -> int:
        return self._circle.at(digest)[1]

    def attempts(self, digest: int) -> Iterator[int]:
        return self._circle.walk(digest)

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        return self._owners[np.searchsorted(self._points, digests) % len(self._points)]
