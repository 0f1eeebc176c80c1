"""Reproduces ``RING_HASH`` of Envoy.

The number of points of each host is computed from a running sum of the shares.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import checked_choice
from balancers._internal.types import B
from balancers.hashing.circle import Circle
from balancers.interop.envoy.cluster import HashCluster
from balancers.interop.envoy.hosts import Table
from balancers.interop.envoy.murmur2 import murmur2
from balancers.interop.envoy.settings import ClusterSettings, within
from balancers.keys import Hasher, XXHash64

__all__ = ["RingHash"]

_MAX_RING_SIZE = 8_388_608


class RingHash(HashCluster[B]):
    """Picks hosts by the policy ``RING_HASH`` of Envoy 1.40.0.

    A point is a position on the ring, and it belongs to a host.  A key belongs to the first point
    at or after its XXH64.  If the share of a host is not a whole number of points, the ring depends
    on the order of the hosts.

    ``minimum_ring_size``, ``maximum_ring_size`` and ``hash_function`` are the settings of
    ``ring_hash_lb_config``.  ``hash_function`` is ``XX_HASH`` or ``MURMUR_HASH_2``.  It is used for
    the points, and not for the keys.

    :class:`Maglev` has the following keywords too:

    * ``hash_balance_factor`` is the greatest load of a host, in percent of its share of the
      requests in flight.  It is 100 or more.  By default it is None, and the load has no bound.
    * ``locality`` is a function that returns the :class:`Locality` of a host, which includes its
      priority.  By default all hosts have the same locality.
    * ``locality_weights`` contains the weights of localities, as with
      ``locality_weighted_lb_config``.  By default it is None, and localities have no weights.
    * ``healthy_panic_threshold`` is in percent, and 50 by default.  With 0, no priority panics.
    * ``overprovisioning_factor`` is in percent, and 140 by default.
    * ``identity`` is a function that returns the bytes or the text that Envoy hashes for a host.
      By default this is the address.  Envoy can also hash the ``hash_key`` or the host name.

    >>> lb = RingHash({"10.0.0.1:80": 1, "10.0.0.2:80": 2, "10.0.0.3:80": 1})
    >>> lb.pick("user:42")
    '10.0.0.3:80'

    Differences from Envoy: when the attempts of a retry are used up, Envoy uses the last host, even
    if it was already tried.  Here, a host that was not tried is picked.  If there is no such host,
    the pick is refused.  Two hosts with the same hash key are refused.

    Cost: ``pick`` is O(1) expected, with ``avoid`` O(1) per attempt.  The first pick after a change
    rebuilds the ring, which is O(V log V) for V points.
    Raises InvalidSetting or InvalidWeight for values that Envoy refuses, and ImportError without
    ``balancers[xxhash]``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        minimum_ring_size: int = 1024,
        maximum_ring_size: int = _MAX_RING_SIZE,
        hash_function: str = "XX_HASH",
        **settings: Unpack[ClusterSettings[B]],
    ) -> None:
        within(1, _MAX_RING_SIZE, maximum_ring_size=maximum_ring_size)
        within(1, maximum_ring_size, minimum_ring_size=minimum_ring_size)
        checked_choice("hash_function", hash_function, ("XX_HASH", "MURMUR_HASH_2"))
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
    """Stores the points of a ring and their owners.

    The circle is for single hashes, and the sorted arrays are for many hashes.  A ring never
    changes, so a deep copy of the balancer shares it.
    """

    def __init__(self, points: NDArray[np.uint64], owners: NDArray[np.intp]) -> None:
        order = np.argsort(points, kind="stable")
        self._points, self._owners = points[order], owners[order]
        self._circle = Circle[int]()
        self._circle.build(self._points, self._owners, range(int(owners.max()) + 1))

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Ring":
        return self

    def owner(self, digest: int) -> int:
        return self._circle.at(digest)[1]

    def attempts(self, digest: int) -> Iterator[int]:
        return self._circle.walk(digest)

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        return self._owners[np.searchsorted(self._points, digests) % len(self._points)]
