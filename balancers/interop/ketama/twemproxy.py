"""The ketama ring of twemproxy."""

from collections.abc import Iterable, Mapping
from typing import Generic

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import TWEMPROXY, Hash32, TaggedHash, hash_named
from balancers.interop.ketama.libmemcached import PointName
from balancers.interop.ketama.points import WEIGHTED_POINTS, weighted_points
from balancers.keys import Identity, key_bytes, name_of

__all__ = ["ServerName", "TwemproxyKetama", "key_hash"]

_MARKS = 2
"""``hash_tag`` consists of an opening and a closing character."""


class TwemproxyKetama(Continuum[B]):
    """``distribution: ketama`` of twemproxy (nutcracker) 0.5.0, on x86.

    The servers of a pool are ``host:port``, with their weights.  ``names`` contains the names of
    the servers that have one in the configuration.  Weight 0 is a server that ``auto_eject_hosts``
    removed.  ``hash`` is that of the pool (``one_at_a_time``, ``md5``, ``crc16``, ``crc32``,
    ``crc32a``, ``fnv1_32``, ``fnv1a_32``, ``fnv1_64``, ``fnv1a_64``).  It hashes only the keys:
    points are by MD5, 160 per server on average.  ``hash_tag`` is its two characters, or empty.

    >>> pool = TwemproxyKetama(
    ...     {"10.0.0.1:11211": 1, "10.0.0.2:11211": 1},
    ...     names={"10.0.0.1:11211": "alpha"},
    ...     hash_tag="{}",
    ... )
    >>> pool.pick("user:{42}:name") == pool.pick("{42}")
    True

    Cost: ``pick`` O(1) expected and the hash of the key; the first pick after a change builds.
    Raises InvalidSetting for an unknown ``hash`` or an invalid ``hash_tag``, InvalidWeight for a
    weight that is no integer, DuplicateBackend for two servers with the same name.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
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
    """The name of a server: the configured one, or its host and any port other than 11211."""

    def __init__(self, names: Mapping[B, str], identity: Identity[B]) -> None:
        self._names = {backend: key_bytes(name) for backend, name in names.items()}
        self._default = PointName(identity)

    def __call__(self, backend: B) -> bytes:
        """Return the name of a server."""
        return self._names.get(backend) or self._default(backend)


def key_hash(name: str, hash_tag: str) -> Hash32:
    """Return the hash of keys; raises InvalidSetting for an unknown hash or an invalid tag."""
    function = hash_named(TWEMPROXY, name)
    if not hash_tag:
        return function
    if not isinstance(hash_tag, str) or len(hash_tag) != _MARKS or not hash_tag.isascii():
        raise InvalidSetting(f"hash_tag must be two ASCII characters, not {hash_tag!r}")
    return TaggedHash(function, hash_tag)
