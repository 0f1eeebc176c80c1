"""uhashring's two rings."""

from collections.abc import Iterable, Mapping
from hashlib import md5

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import md5_word, md5_words
from balancers.keys import Identity, name_of

__all__ = ["UHashRing", "UHashRingKetama"]

_WORDS = 4


def md5_half(data: bytes) -> int:
    """Give the upper half of an MD5, which no two keys share by chance."""
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:8], "big")


class UHashRing(Continuum[B]):
    """``HashRing(nodes)`` of uhashring 2.5: MD5, ``vnodes`` points a unit of weight.

    A key that hashes onto a point belongs to the next one.  Weight 0 is a node that was removed;
    ``replicas`` is its ``range``.  Keys are text or its bytes.

    >>> ring = UHashRing({"node1": 1, "node2": 3})
    >>> ring.pick("user:42")
    'node1'

    Cost: ``pick`` O(1) expected; the first after a change builds.
    Raises InvalidSetting for ``vnodes`` below 1, InvalidWeight for a weight that is no integer,
    RingTooLarge for more than 8 388 608 points.
    """

    _bits = 64
    _beyond = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        vnodes: int = 160,
        identity: Identity[B] = name_of,
    ) -> None:
        at_least(1, vnodes=vnodes)
        self._vnodes = vnodes
        super().__init__(backends, identity=identity, hasher=md5_half)

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        return (
            [md5_half(b"%b-%d" % (name, at)) for at in range(self._vnodes * weight)]
            for name, weight in live
        )

    def _needed(self, servers: int, total: int) -> int:
        return self._vnodes * total


class UHashRingKetama(Continuum[B]):
    """``HashRing(nodes, hash_fn="ketama")`` of uhashring 2.5.

    ``vnodes`` digests a node on average, each of ``replicas`` points, by weight, in integers.  It
    is not libmemcached's ring: the counts differ where floats do, port 11211 is no exception, and a
    key that hashes onto a point belongs to the next one.

    >>> ring = UHashRingKetama({"10.0.0.1:11211": 1, "10.0.0.2:11211": 3})
    >>> ring.pick("user:42")
    '10.0.0.1:11211'

    Raises InvalidSetting for ``vnodes`` below 1, or ``replicas`` below 1 or above 4.
    """

    _beyond = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        vnodes: int = 40,
        replicas: int = 4,
        identity: Identity[B] = name_of,
    ) -> None:
        at_least(1, vnodes=vnodes, replicas=replicas)
        if replicas > _WORDS:
            raise InvalidSetting(f"replicas must be at most {_WORDS}, not {replicas!r}")
        self._vnodes, self._per_digest = vnodes, replicas
        super().__init__(backends, identity=identity, hasher=md5_word)

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        total = sum(weight for _, weight in live)
        owners: dict[int, int] = {}
        for place, (name, weight) in enumerate(live):
            for at in range(self._vnodes * len(live) * weight // total):
                for word in md5_words(b"%b-%d" % (name, at))[: self._per_digest]:
                    owners[word] = place  # the last of equal points counts
        laid: list[list[int]] = [[] for _ in live]
        for point, place in owners.items():
            laid[place].append(point)
        return laid

    def _needed(self, servers: int, total: int) -> int:
        return self._vnodes * servers * self._per_digest
