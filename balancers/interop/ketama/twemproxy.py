"""Reproduces the ketama ring of twemproxy."""

from collections.abc import Iterable, Mapping
from typing import Generic

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import TWEMPROXY, Hash32, TaggedHash, hash_named
from balancers.interop.ketama.libmemcached import PointName
from balancers.interop.ketama.points import WEIGHTED_POINTS, weighted_points
from balancers.keys import Identity, key_bytes, name_of

__all__ = ["ServerName", "TwemproxyKetama", "key_hash"]

_MARKS = 2
"""The length of ``hash_tag``, which is an opening and a closing character."""


class TwemproxyKetama(Continuum[B]):
    """Picks servers by ``distribution: ketama`` of twemproxy (nutcracker) 0.5.0, on x86.

    The servers of a pool are ``host:port``, with their weights.  A server that ``auto_eject_hosts``
    removed has weight 0.  If the configuration gives a server a name, add this name to ``names``.

    ``hash`` is the setting of the pool: ``one_at_a_time``, ``md5``, ``crc16``, ``crc32``,
    ``crc32a``, ``fnv1_32``, ``fnv1a_32``, ``fnv1_64`` or ``fnv1a_64``.  Only keys are hashed with
    it.  Points are computed with MD5, and each server has 160 points on average.  ``hash_tag`` is
    the setting of the pool too.  It consists of two characters, or it is empty.

    >>> pool = TwemproxyKetama(
    ...     {"10.0.0.1:11211": 1, "10.0.0.2:11211": 1},
    ...     names={"10.0.0.1:11211": "alpha"},
    ...     hash_tag="{}",
    ... )
    >>> pool.pick("user:{42}:name") == pool.pick("{42}")
    True

    Cost: ``pick`` is O(1) expected, plus the hash of the key.  The first pick after a change builds
    the ring.
    Raises InvalidSetting for an unknown ``hash`` or an invalid ``hash_tag``, InvalidWeight for a
    weight that is not an integer, and DuplicateBackend for two servers with the same name.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        names: Mapping[B, str] | None = None,
        hash: str = "fnv1a_64",  # noqa: A002 - as the configuration names it
        hash_tag: str = "",
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(
            backends, identity=ServerName(names or {}, identity), hasher=key_hash(hash, hash_tag)
        )

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        return weighted_points(live)

    def _points_needed(self, servers: int, total_weight: int) -> int:
        return WEIGHTED_POINTS * servers


class ServerName(Generic[B]):
    """Returns the name of a server.

    The name is the configured one.  If no name is configured, the name consists of the host and the
    port.  The port 11211 is then omitted.
    """

    def __init__(self, names: Mapping[B, str], identity: Identity[B]) -> None:
        self._names = {backend: key_bytes(name) for backend, name in names.items()}
        self._default = PointName(identity)

    def __call__(self, backend: B) -> bytes:
        """Return the name of a server."""
        return self._names.get(backend) or self._default(backend)


def key_hash(name: str, hash_tag: str) -> Hash32:
    """Return the hash function for keys.

    Raises InvalidSetting for an unknown hash or an invalid tag.
    """
    function = hash_named(TWEMPROXY, name)
    if not hash_tag:
        return function
    if not isinstance(hash_tag, str) or len(hash_tag) != _MARKS or not hash_tag.isascii():
        raise InvalidSetting(f"hash_tag must be two ASCII characters, not {shown(hash_tag)}")
    return TaggedHash(function, hash_tag)
