"""twemproxy's ketama."""

from collections.abc import Iterable, Mapping
from typing import Generic

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.ketama.continuum import Continuum, Live
from balancers.interop.ketama.hashes import TWEMPROXY, Hash32, Tagged, named
from balancers.interop.ketama.libmemcached import PointName
from balancers.interop.ketama.points import POINTS, weighted_points
from balancers.keys import Identity, key_bytes, name_of

__all__ = ["Alias", "TwemproxyKetama", "key_hash"]

_MARKS = 2


class TwemproxyKetama(Continuum[B]):
    """``distribution: ketama`` of twemproxy (nutcracker) 0.5.0, on x86.

    A pool's servers are ``host:port``, with their weights; ``names`` has the names of those to
    which the configuration gives one.  Weight 0 is a server that ``auto_eject_hosts`` took out.
    ``hash`` is the pool's (``one_at_a_time``, ``md5``, ``crc16``, ``crc32``, ``crc32a``,
    ``fnv1_32``, ``fnv1a_32``, ``fnv1_64``, ``fnv1a_64``) and hashes keys alone: points are MD5's,
    160 for each server on average.  ``hash_tag`` is its two marks, or nothing.

    >>> pool = TwemproxyKetama(
    ...     {"10.0.0.1:11211": 1, "10.0.0.2:11211": 1},
    ...     names={"10.0.0.1:11211": "alpha"},
    ...     hash_tag="{}",
    ... )
    >>> pool.pick("user:{42}:name") == pool.pick("{42}")
    True

    Cost: ``pick`` O(1) expected and the key's hash; the first after a change builds.
    Raises InvalidSetting for another ``hash`` or other marks, InvalidWeight for a weight that is no
    integer, DuplicateBackend for two servers of one name.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        names: Mapping[B, str] | None = None,
        hash: str = "fnv1a_64",  # noqa: A002 - the configuration's own word
        hash_tag: str = "",
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(
            backends, identity=Alias(names or {}, identity), hasher=key_hash(hash, hash_tag)
        )

    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        return weighted_points(live)

    def _needed(self, servers: int, total: int) -> int:
        return POINTS * servers


class Alias(Generic[B]):
    """What a server is called: the name it is given, or its host and a port that is not 11211."""

    def __init__(self, names: Mapping[B, str], identity: Identity[B]) -> None:
        self._names = {backend: key_bytes(name) for backend, name in names.items()}
        self._plain = PointName(identity)

    def __call__(self, backend: B) -> bytes:
        """Name a server."""
        return self._names.get(backend) or self._plain(backend)


def key_hash(name: str, marks: str) -> Hash32:
    """Give the hash of keys; raises InvalidSetting for an unknown one, or not two marks."""
    function = named(TWEMPROXY, name)
    if not marks:
        return function
    if not isinstance(marks, str) or len(marks) != _MARKS or not marks.isascii():
        raise InvalidSetting(f"hash_tag must be two characters, not {marks!r}")
    return Tagged(function, marks)
