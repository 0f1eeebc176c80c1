"""Reproduces the ketama rings of libmemcached.

There is a plain ring, a weighted ring and a ring that is compatible with spymemcached.
"""

from collections.abc import Iterable, Mapping
from re import compile as pattern
from typing import Generic

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import LIBMEMCACHED, Hash32, hash_named
from balancers.interop.ketama.points import WEIGHTED_POINTS, weighted_points
from balancers.keys import Identity, key_bytes, name_of

__all__ = ["LibmemcachedKetama", "LibmemcachedSpy", "PointName", "SpyName"]

_PORT = b":11211"
"""The default port of memcached.  It is omitted from the names of points."""
_ENDS_WITH_PORT = pattern(rb":\d+\Z")
_PLAIN_POINTS = 100
"""The number of points per server while all weights are 1."""


class LibmemcachedKetama(Continuum[B]):
    """Picks servers by ``ketama`` or ``ketama_weighted`` of libmemcached 1.0.16, on x86.

    Weights are integers.  A server that auto-eject removed has weight 0.  ``hash`` is the hash of
    keys, by its name in pylibmc: ``default`` (one-at-a-time), ``crc``, ``md5``, ``fnv1_32``,
    ``fnv1a_32``, ``fnv1_64`` or ``fnv1a_64``.

    While all weights are 1, each server has 100 points, which are computed with ``hash``.  If at
    least one weight is above 1, the points are those of ``ketama_weighted``.  These are computed
    with MD5, and each server has 160 of them on average.  Keys are still hashed with ``hash``.  If
    a server with a weight above 1 is ejected, the points remain those of ``ketama_weighted``.

    With ``weighted=True``, the points are always those of ``ketama_weighted``.  ``hash`` is then
    ``md5``, as this behaviour of libmemcached sets it.

    >>> client = LibmemcachedKetama({"10.0.0.1:11211": 1, "10.0.0.2:11211": 3}, weighted=True)
    >>> client.pick("user:42")
    '10.0.0.2:11211'

    A server is ``host:port``, or it is the path of a socket.  Write the host as in the
    configuration of the client.

    Cost: ``pick`` is O(1) expected, plus the hash of the key.  The first pick after a change builds
    the ring.
    Raises InvalidSetting for an unknown ``hash``, InvalidWeight for a weight that is not an
    integer, and RingTooLarge for more than 8 388 608 points.  Raises DuplicateBackend for two
    servers with the same name, for example ``a`` and ``a:11211``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        weighted: bool = False,
        hash: str | None = None,  # noqa: A002 - as the client names it
        identity: Identity[B] = name_of,
    ) -> None:
        default = "md5" if weighted else "default"
        chosen = default if hash is None else hash
        if weighted and chosen != "md5":
            raise InvalidSetting(f"hash must be 'md5' with weighted=True, not {shown(hash)}")
        self._hash: Hash32 = hash_named(LIBMEMCACHED, chosen)
        self._weighted = weighted
        self._above_one: set[B] = set()  # servers whose last positive weight is above 1
        super().__init__(backends, identity=self._point_name(identity), hasher=self._hash)

    @staticmethod
    def _point_name(identity: Identity[B]) -> Identity[B]:
        return PointName(identity)

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        if self._weighted or self._above_one:
            return weighted_points(live)
        return (
            [self._hash(b"%b-%d" % (name, number)) for number in range(_PLAIN_POINTS)]
            for name, _ in live
        )

    def _points_needed(self, servers: int, total_weight: int) -> int:
        weighted = self._weighted or self._above_one or total_weight > servers
        return (WEIGHTED_POINTS if weighted else _PLAIN_POINTS) * servers

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        super().update_named_index(backend, name, old, new)
        if new is None or new == 1:
            self._above_one.discard(backend)
        elif new:
            self._above_one.add(backend)


class LibmemcachedSpy(LibmemcachedKetama[B]):
    """Picks servers by ``consistent ketama spy`` of libmemcached 1.0.16.

    The points are named as in spymemcached: the name has a slash before the host, and it always
    contains the port.  Everything else is as in :class:`LibmemcachedKetama`, including the effect
    of weights above 1.

    >>> LibmemcachedSpy(["10.0.0.1:11211", "10.0.0.2:11211"]).pick("user:42")
    '10.0.0.2:11211'
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        hash: str | None = None,  # noqa: A002 - as the client names it
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(backends, hash=hash, identity=identity)

    @staticmethod
    def _point_name(identity: Identity[B]) -> Identity[B]:
        return SpyName(identity)


class PointName(Generic[B]):
    """Returns the name of a server, which is a part of the names of its points.

    The port 11211 is omitted from the name.  A socket gets the port 0.

    >>> PointName(name_of)("10.0.0.1:11211"), PointName(name_of)("/run/memcached.sock")
    (b'10.0.0.1', b'/run/memcached.sock:0')
    """

    def __init__(self, identity: Identity[B]) -> None:
        self._identity = identity

    def __call__(self, backend: B) -> bytes:
        """Return the name of a server."""
        name = key_bytes(self._identity(backend))
        return name + b":0" if name.startswith(b"/") else name.removesuffix(_PORT)


class SpyName(PointName[B]):
    """Returns the name of a server for :class:`LibmemcachedSpy`.

    The name consists of a slash, the host and the port.  The port 11211 is not omitted.

    >>> SpyName(name_of)("10.0.0.1"), SpyName(name_of)("10.0.0.1:80")
    (b'/10.0.0.1:11211', b'/10.0.0.1:80')
    """

    def __call__(self, backend: B) -> bytes:
        """Return the name of a server."""
        name = super().__call__(backend)
        return b"/" + (name if _ENDS_WITH_PORT.search(name) else name + _PORT)
