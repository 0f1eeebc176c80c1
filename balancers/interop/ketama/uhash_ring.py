"""Reproduces the two rings of uhashring."""

from collections.abc import Iterable, Mapping
from hashlib import md5

from balancers._internal.checks import at_least, shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import md5_word, md5_words
from balancers.keys import Identity, name_of

__all__ = ["UHashRing", "UHashRingKetama"]

_POINTS_PER_DIGEST = 4


def md5_upper_half(data: bytes) -> int:
    """Return the upper 64 bits of the MD5 of the data.

    Two keys hardly ever have the same value.
    """
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:8], "big")


class UHashRing(Continuum[B]):
    """Picks nodes by ``HashRing(nodes)`` of uhashring 2.5.

    The hash is MD5.  A node has ``vnodes`` points per unit of weight.  A key whose hash is equal to
    a point belongs to the next point.  A node that was removed has weight 0.  :meth:`replicas`
    corresponds to ``range`` of uhashring.  A key is a str, or the bytes of a str.

    >>> ring = UHashRing({"node1": 1, "node2": 3})
    >>> ring.pick("user:42")
    'node1'

    Cost: ``pick`` is O(1) expected.  The first pick after a change builds the ring.
    Raises InvalidSetting for ``vnodes`` below 1, InvalidWeight for a weight that is not an integer,
    and RingTooLarge for more than 8 388 608 points.
    """

    _bits = 64
    _strictly_after = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        vnodes: int = 160,
        identity: Identity[B] = name_of,
    ) -> None:
        at_least(1, vnodes=vnodes)
        self._vnodes = vnodes
        super().__init__(backends, identity=identity, hasher=md5_upper_half)

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        return (
            [md5_upper_half(b"%b-%d" % (name, number)) for number in range(self._vnodes * weight)]
            for name, weight in live
        )

    def _points_needed(self, servers: int, total_weight: int) -> int:
        return self._vnodes * total_weight


class UHashRingKetama(Continuum[B]):
    """Picks nodes by ``HashRing(nodes, hash_fn="ketama")`` of uhashring 2.5.

    A node has ``vnodes`` digests on average.  The number of its digests is proportional to its
    weight, and it is computed with integers.  Each digest gives ``replicas`` points.

    The ring differs from that of libmemcached in three ways.  Libmemcached computes the numbers of
    points with floats, which can round to other numbers.  Libmemcached omits the port 11211, but
    uhashring does not.  In uhashring, a key whose hash is equal to a point belongs to the next
    point.

    >>> ring = UHashRingKetama({"10.0.0.1:11211": 1, "10.0.0.2:11211": 3})
    >>> ring.pick("user:42")
    '10.0.0.1:11211'

    Raises InvalidSetting for ``vnodes`` below 1, or for ``replicas`` below 1 or above 4.
    """

    _strictly_after = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        vnodes: int = 40,
        replicas: int = 4,
        identity: Identity[B] = name_of,
    ) -> None:
        at_least(1, vnodes=vnodes, replicas=replicas)
        if replicas > _POINTS_PER_DIGEST:
            raise InvalidSetting(
                f"replicas must be at most {_POINTS_PER_DIGEST}, not {shown(replicas)}"
            )
        self._vnodes, self._per_digest = vnodes, replicas
        super().__init__(backends, identity=identity, hasher=md5_word)

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        total = sum(weight for _, weight in live)
        owners: dict[int, int] = {}
        for owner, (name, weight) in enumerate(live):
            for number in range(self._vnodes * len(live) * weight // total):
                for word in md5_words(b"%b-%d" % (name, number))[: self._per_digest]:
                    owners[word] = owner  # if two points are equal, the last one is used
        points: list[list[int]] = [[] for _ in live]
        for point, owner in owners.items():
            points[owner].append(point)
        return points

    def _points_needed(self, servers: int, total_weight: int) -> int:
        return self._vnodes * servers * self._per_digest
