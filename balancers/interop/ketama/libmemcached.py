"""The ketama rings of libmemcached: plain, weighted, and compatible with spymemcached."""

from collections.abc import Iterable, Mapping
from re import compile as pattern
from typing import Generic

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import LIBMEMCACHED, Hash32, hash_named
from balancers.interop.ketama.points import WEIGHTED_POINTS, weighted_points
from balancers.keys import Identity, key_bytes, name_of

__all__ = ["LibmemcachedKetama", "LibmemcachedSpy", "PointName", "SpyName"]

_PORT = b":11211"
"""The default port of memcached, which the names of points omit."""
_ENDS_WITH_PORT = pattern(rb":\d+\Z")
_PLAIN_POINTS = 100
"""Points per server while all weights are 1."""


class LibmemcachedKetama(Continuum[B]):
    """``ketama`` and ``ketama_weighted`` of libmemcached 1.0.16, on x86.

    Weights are integers; 0 is a server that auto-eject removed.  ``hash`` is the name, in pylibmc,
    of the hash of keys: ``default`` (one-at-a-time), ``crc``, ``md5``, ``fnv1_32``, ``fnv1a_32``,
    ``fnv1_64``, ``fnv1a_64``.

    While all weights are 1, a server has 100 points by that hash.  When one weight is above 1,
    even that of an ejected server, the points are those of ``ketama_weighted``: by MD5, 160 per
    server on average.  Keys are still hashed by ``hash``.  With ``weighted=True`` the points are
    always those, and ``hash`` is ``md5``, as that behaviour sets it.

    >>> client = LibmemcachedKetama({"10.0.0.1:11211": 1, "10.0.0.2:11211": 3}, weighted=True)
    >>> client.pick("user:42")
    '10.0.0.2:11211'

    A server is ``host:port``, with the host as it is configured, or the path of a socket.

    Cost: ``pick`` O(1) expected and the hash of the key; the first pick after a change builds.
    Raises InvalidSetting for an unknown ``hash``, InvalidWeight for a weight that is no integer,
    RingTooLarge for more than 8 388 608 points, DuplicateBackend for two servers with the same
    name, for example ``a`` and ``a:11211``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        weighted: bool = False,
        hash: str | None = None,  # noqa: A002 - as the client names it
        identity: Identity[B] = name_of,
    ) -> None:
        default = "md5" if weighted else "default"
        chosen = default if hash is None else hash
        if weighted and chosen != "md5":
            raise InvalidSetting(f"hash must be 'md5' with weighted=True, not {hash!r}")
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
    """``consistent ketama spy`` of libmemcached 1.0.16: points are named as in spymemcached.

    The name of a point has a slash before the host, and always the port.  Everything else is as in
    :class:`LibmemcachedKetama`, including weights above 1.

    >>> LibmemcachedSpy(["10.0.0.1:11211", "10.0.0.2:11211"]).pick("user:42")
    '10.0.0.2:11211'
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        hash: str | None = None,  # noqa: A002 - as the client names it
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(backends, hash=hash, identity=identity)

    @staticmethod
    def _point_name(identity: Identity[B]) -> Identity[B]:
        return SpyName(identity)


class PointName(Generic[B]):
    """The name of a server in its points: without the port 11211; a socket has the port 0.

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
    """The name of a server in the points of spy: a slash, the host and always the port.

    >>> SpyName(name_of)("10.0.0.1"), SpyName(name_of)("10.0.0.1:80")
    (b'/10.0.0.1:11211', b'/10.0.0.1:80')
    """

    def __call__(self, backend: B) -> bytes:
        """Return the name of a server."""
        name = super().__call__(backend)
        return b"/" + (name if _ENDS_WITH_PORT.search(name) else name + _PORT)
