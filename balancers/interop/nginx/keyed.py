"""Picks a server by a key, as ``hash``, ``hash … consistent`` and ``ip_hash`` of nginx do.

If a method finds no usable server for a key, round robin picks the server.
"""

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import accumulate, islice
from string import digits
from zlib import crc32

import numpy as np

from balancers._internal.checks import at_least
from balancers.addresses import Address, address_of
from balancers.balancer import Key
from balancers.errors import MissingKey
from balancers.hashing.circle import Circle
from balancers.interop.nginx.server import Peer, Server, smooth_round_robin
from balancers.interop.nginx.upstream import Upstream
from balancers.interop.ring_points import check_ring_size, points_and_owners
from balancers.keys import key_bytes

__all__ = ["ConsistentHash", "Hash", "IPHash"]

_MAX_REJECTIONS = 20
"""A try is rejected if it selects a server that cannot be used.

If more tries than this are rejected for one request, round robin picks the server."""
_POINTS_PER_WEIGHT = 160
_MAX_POINTS = 1 << 22
_IPV4_BYTES = 4
_IP_HASH_VALUES = 6271
"""``ip_hash`` has this number of different hash values."""


class _Keyed(Upstream):
    """Chooses a server by a key.  The base class of this module.

    A subclass builds a table from the weights and looks up keys in it.  Round robin chooses instead
    if the key is empty, if there is only one server, or if more than 20 tries select a server that
    cannot be used.  All these requests share one round robin.  A server that is down keeps its part
    of the table.  So when a server goes down or comes up, only the keys of that server move.
    """

    keyed = True
    takes_backups = False

    def __init__(self, servers: Iterable[Server | str] | Mapping[str, float] = ()) -> None:
        self._stale = True
        super().__init__(servers)

    def _choose(self, key: Key | None, second: float, avoid: Collection[str]) -> Peer | None:
        data = key_bytes(key)
        if data and len(self._peers) > 1:
            self._refresh()
            peer = self._choose_by_key(data, second, avoid)
            if peer is not None:
                self._found(peer)
                return peer
        return super()._choose(key, second, avoid)

    def _in_order(self, key: Key | None, second: float, avoid: Collection[str]) -> Iterator[Peer]:
        data = key_bytes(key)
        passed = set(avoid)
        if data and len(self._peers) > 1:
            self._refresh()
            while (peer := self._choose_by_key(data, second, passed)) is not None:
                passed.add(peer.server.address)
                yield peer
        yield from super()._in_order(key, second, passed)

    def _refresh(self) -> None:
        if self._stale:
            self._build_table()
            self._stale = False

    def _found(self, peer: Peer) -> None:
        """Called when the key selects a server, before it is picked."""

    @abstractmethod
    def _build_table(self) -> None:
        """Build the table from the current weights."""

    @abstractmethod
    def _choose_by_key(self, data: bytes, second: float, avoid: Collection[str]) -> Peer | None:
        """Return the server of a key, or None after more than 20 rejected tries."""

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        weight = self._peers[backend].weight if old is not None else None
        super().update_index(backend, old, new)
        if new is None or self._peers[backend].weight != weight:
            self._stale = True


class _Modulo(_Keyed):
    """Chooses a server by a sequence of hashes of the key.

    Each hash, modulo the sum of the weights, selects a server.  If that server cannot be used, the
    next hash is tried.
    """

    def __init__(self, servers: Iterable[Server | str] | Mapping[str, float] = ()) -> None:
        self._order: list[Peer] = []
        self._ends: list[int] = []
        super().__init__(servers)

    def _build_table(self) -> None:
        self._order = list(self._peers.values())
        self._ends = list(accumulate(peer.weight for peer in self._order))

    def _choose_by_key(self, data: bytes, second: float, avoid: Collection[str]) -> Peer | None:
        total, seen_avoided, rejected = self._ends[-1], set[str](), 0
        for value in self._hashes(data):
            peer = self._order[bisect_right(self._ends, value % total)]
            if self._usable(peer, second, avoid):
                return peer
            name = peer.server.address
            if name in avoid and name not in seen_avoided:
                seen_avoided.add(name)  # nginx tried the server at this hash: not a rejection
            elif rejected == _MAX_REJECTIONS:
                break
            else:
                rejected += 1
        return None

    @abstractmethod
    def _hashes(self, data: bytes) -> Iterator[int]:
        """Return the hashes of a key.  The sequence is infinite."""


class Hash(_Modulo):
    """Picks what ``hash KEY`` of nginx 1.22.1 picks.

    The hash of the key, modulo the sum of the weights, selects the server.  The Perl library
    Cache::Memcached uses the same method.  If a server is added or removed, nearly all keys move.

    >>> upstream = Hash(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
    >>> upstream.pick("user:42")
    '10.0.0.2:80'

    Cost: ``pick`` O(log n), or O(n) if round robin chooses; a change of weights O(n).
    """

    def _hashes(self, data: bytes) -> Iterator[int]:
        value = crc32(data) >> 16 & 0x7FFF
        rehashes = 1
        while True:
            yield value
            value += crc32(b"%d%b" % (rehashes, data)) >> 16 & 0x7FFF
            rehashes += 1


class IPHash(_Modulo):
    """Picks what ``ip_hash`` of nginx 1.22.1 picks: the client's address selects the server.

    The key is an address.  It can be text, packed bytes, or an object of :mod:`ipaddress`.  The
    first three bytes of an IPv4 address are hashed.  All 16 bytes of an IPv6 address are hashed,
    even if the address is IPv4-mapped.  Pass ``b""`` for a client that has no address because it
    uses a Unix socket.  There are only 6271 different hash values.  If the sum of the weights is a
    large part of 6271, the numbers of clients per server are not proportional to the weights.

    >>> upstream = IPHash(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
    >>> upstream.pick("192.0.2.1") == upstream.pick("192.0.2.254")
    True

    Cost: the same as for :class:`Hash`.
    """

    def pick(
        self, key: Key | Address | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> str:
        """Return the server of a client.  ``key`` is the client's address.

        Raises MissingKey if the key is None, InvalidKey if it is not an address, and
        NoBackendAvailable.
        """
        return self._pick(_hashed_part(key), now, avoid)

    def plan(
        self,
        n: int,
        key: Key | Address | None = None,
        now: float = 0.0,
        avoid: Collection[str] = (),
    ) -> list[str]:
        """Return the servers of ``n`` attempts of a client, as :meth:`Hash.plan` does for a key.

        Raises what :meth:`pick` raises, and InvalidSetting unless ``n`` is an int of 1 or more.
        """
        at_least(1, n=n)
        return self._plan(n, _hashed_part(key), now, avoid)

    def _hashes(self, data: bytes) -> Iterator[int]:
        value = 89
        while True:
            for byte in data:
                value = (value * 113 + byte) % _IP_HASH_VALUES
            yield value


class ConsistentHash(_Keyed):
    """Picks what ``hash KEY consistent`` of nginx 1.22.1 picks, by a ketama hash ring.

    A server has 160 points (positions on the ring) per unit of weight.  The points are computed
    from the host and the port of the server, as written.  A key belongs to the server of the first
    point at or after the hash of the key.

    >>> upstream = ConsistentHash({"10.0.0.1:80": 2, "10.0.0.2:80": 1, "10.0.0.3:80": 1})
    >>> owner = upstream.pick("user:42")
    >>> upstream.put(next(name for name in upstream.weights if name != owner), 0)
    >>> upstream.pick("user:42") == owner
    True

    Cost: ``pick`` O(1) expected, or O(n) if round robin chooses.  The first pick after a change of
    weights builds the ring; O(V log V) for V points.
    Raises RingTooLarge if the ring would need more than 4 194 304 points.
    """

    def __init__(self, servers: Iterable[Server | str] | Mapping[str, float] = ()) -> None:
        self._circle: Circle[str] = Circle()
        self._total_weight = 0  # servers that are down are included
        super().__init__(servers)

    def _build_table(self) -> None:
        names = list(self._peers)
        points, owners = points_and_owners(
            _points(name, _POINTS_PER_WEIGHT * self._peers[name].weight) for name in names
        )
        unique_points, first = np.unique(points, return_index=True)
        self._circle.build(unique_points << np.uint64(32), owners[first], names)

    def _choose_by_key(self, data: bytes, second: float, avoid: Collection[str]) -> Peer | None:
        for name in islice(self._circle.walk(crc32(data) << 32), 1 + _MAX_REJECTIONS):
            peer = self._peers[name]
            if self._usable(peer, second, avoid):
                return peer
        return None

    def _found(self, peer: Peer) -> None:
        smooth_round_robin([peer])

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        before = self._peers[backend].weight if old is not None else 0
        if new:
            needed = int(_POINTS_PER_WEIGHT * (self._total_weight - before + new))
            check_ring_size(backend, new, needed, _MAX_POINTS)
        super().update_index(backend, old, new)
        self._total_weight += (0 if new is None else self._peers[backend].weight) - before


def _hashed_part(key: Key | Address | None) -> bytes:
    """Return the bytes of an address that ``ip_hash`` hashes."""
    if key is None:
        raise MissingKey("IPHash needs the address of the client as key, not None")
    packed = address_of(key).packed if key != b"" else bytes(3)
    return packed[:3] if len(packed) == _IPV4_BYTES else packed


def _points(server: str, count: int) -> Iterator[int]:
    """Return the points of a server.

    Each point is a CRC-32 of the host, the port and the previous point.
    """
    if server[:5].lower() == "unix:":
        host, port = server[5:], ""
    else:
        host, colon, port = server.rpartition(":")
        if not colon or port.strip(digits):
            host, port = server, ""
    base = crc32(f"{host}\0{port}".encode())
    point = 0
    for _ in range(count):
        point = crc32(point.to_bytes(4, "little"), base)
        yield point
