"""libmemcached's ketama: plain, weighted, and as spymemcached has it."""

from collections.abc import Iterable, Mapping
from re import compile as pattern
from typing import Generic

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import LIBMEMCACHED, Hash32, named
from balancers.interop.ketama.points import POINTS, weighted_points
from balancers.keys import Identity, key_bytes, name_of

__all__ = ["LibmemcachedKetama", "LibmemcachedSpy", "PointName", "SpyName"]

_PORT = b":11211"
"""That of memcached, which names of points leave out."""
_PORTED = pattern(rb":\d+\Z")
_POINTS = 100


class LibmemcachedKetama(Continuum[B]):
    """``ketama`` and ``ketama_weighted`` of libmemcached 1.0.16, on x86.

    Weights are integers, 0 is a server that auto-eject took out.  ``hash`` is pylibmc's name of the
    key's hash: ``default`` (one-at-a-time), ``crc``, ``md5``, ``fnv1_32``, ``fnv1a_32``,
    ``fnv1_64``, ``fnv1a_64``.  While all weights are 1 a server has 100 points by that hash; as
    soon as anyone's is more, an ejected one's included, points are those of ``ketama_weighted``,
    by MD5, 160 for each server on average, but keys are still hashed by ``hash``.  With
    ``weighted`` they always are, and ``hash`` is ``md5``, as that behaviour sets it.

    >>> client = LibmemcachedKetama({"10.0.0.1:11211": 1, "10.0.0.2:11211": 3}, weighted=True)
    >>> client.pick("user:42")
    '10.0.0.2:11211'

    A server is ``host:port``, the host as the client was given it, or the path of a socket.
    Cost: ``pick`` O(1) expected and the key's hash; the first after a change builds.
    Raises InvalidSetting for another ``hash``, InvalidWeight for a weight that is no integer,
    RingTooLarge for more than 8 388 608 points, DuplicateBackend for two servers of one name, which
    ``a`` and ``a:11211`` are.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        weighted: bool = False,
        hash: str | None = None,  # noqa: A002 - the client's own word
        identity: Identity[B] = name_of,
    ) -> None:
        usual = "md5" if weighted else "default"
        chosen = usual if hash is None else hash
        if weighted and chosen != "md5":
            raise InvalidSetting(f"hash of weighted ketama is md5, not {hash!r}")
        self._hash: Hash32 = named(LIBMEMCACHED, chosen)
        self._weighted = weighted
        self._heavy: set[B] = set()  # whose weight is above 1, or was before 0
        super().__init__(backends, identity=self._naming(identity), hasher=self._hash)

    @staticmethod
    def _naming(identity: Identity[B]) -> Identity[B]:
        return PointName(identity)

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        if self._weighted or self._heavy:
            return weighted_points(live)
        return ([self._hash(b"%b-%d" % (name, at)) for at in range(_POINTS)] for name, _ in live)

    def _needed(self, servers: int, total: int) -> int:
        heavy = self._weighted or self._heavy or total > servers
        return (POINTS if heavy else _POINTS) * servers

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        super().update_named_index(backend, name, old, new)
        if new is None or new == 1:
            self._heavy.discard(backend)
        elif new:
            self._heavy.add(backend)


class LibmemcachedSpy(LibmemcachedKetama[B]):
    """``consistent ketama spy`` of libmemcached 1.0.16: as spymemcached names its points.

    A point's name has a slash before the host, and the port always.  All else is as in
    :class:`LibmemcachedKetama`, heavier weights included.

    >>> LibmemcachedSpy(["10.0.0.1:11211", "10.0.0.2:11211"]).pick("user:42")
    '10.0.0.2:11211'
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        hash: str | None = None,  # noqa: A002 - the client's own word
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(backends, hash=hash, identity=identity)

    @staticmethod
    def _naming(identity: Identity[B]) -> Identity[B]:
        return SpyName(identity)


class PointName(Generic[B]):
    """What points are named by: no port when it is 11211, and port 0 of a socket.

    >>> PointName(name_of)("10.0.0.1:11211"), PointName(name_of)("/run/memcached.sock")
    (b'10.0.0.1', b'/run/memcached.sock:0')
    """

    def __init__(self, identity: Identity[B]) -> None:
        self._identity = identity

    def __call__(self, backend: B) -> bytes:
        """Name a server."""
        name = key_bytes(self._identity(backend))
        return name + b":0" if name.startswith(b"/") else name.removesuffix(_PORT)


class SpyName(PointName[B]):
    """What spy's points are named by.

    >>> SpyName(name_of)("10.0.0.1"), SpyName(name_of)("10.0.0.1:80")
    (b'/10.0.0.1:11211', b'/10.0.0.1:80')
    """

    def __call__(self, backend: B) -> bytes:
        """Name a server."""
        name = super().__call__(backend)
        return b"/" + (name if _PORTED.search(name) else name + _PORT)
