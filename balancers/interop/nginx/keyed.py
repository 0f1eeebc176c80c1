"""``hash``, ``hash … consistent`` and ``ip_hash``: a key's server, and whom nginx turns to else."""

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import accumulate, islice
from string import digits
from zlib import crc32

import numpy as np

from balancers.addresses import Address, address_of
from balancers.balancer import Key
from balancers.errors import MissingKey, RingTooLarge
from balancers.hashing.circle import Circle
from balancers.interop.nginx.server import Peer, Server, smooth
from balancers.interop.nginx.upstream import Upstream
from balancers.keys import key_bytes

__all__ = ["ConsistentHash", "Hash", "IPHash"]

_REJECTIONS = 20
"""More than so many, and round robin chooses."""
_POINTS = 160
"""Of a server, for each unit of its weight."""
_MOST_POINTS = 1 << 22
_IPV4 = 4
_CELLS = 6271
"""How many values ``ip_hash`` hashes to."""


class _Keyed(Upstream):
    """A method by key.  Round robin chooses after 20 rejections, for no key and an only server.

    The round robin is one, whoever is sent to it.  Servers that are down keep their part of the
    table, so a flip moves only the keys of the one that flips.
    """

    keyed = True
    takes_backups = False

    def __init__(self, servers: Iterable[Server | str] | Mapping[str, float] = ()) -> None:
        self._stale = True
        super().__init__(servers)

    def _chosen(self, key: Key | None, second: float, avoid: Collection[str]) -> Peer | None:
        data = key_bytes(key)
        if data and len(self._peers) > 1:
            if self._stale:
                self._lay_out()
                self._stale = False
            peer = self._owner(data, second, avoid)
            if peer is not None:
                return peer
        return super()._chosen(key, second, avoid)

    @abstractmethod
    def _lay_out(self) -> None:
        """Make the table of the present weights."""

    @abstractmethod
    def _owner(self, data: bytes, second: float, avoid: Collection[str]) -> Peer | None:
        """Find the server; None after too many rejections."""

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        weight = self._peers[backend].weight if old is not None else None
        super().update_index(backend, old, new)
        if new is None or self._peers[backend].weight != weight:
            self._stale = True


class _Modulo(_Keyed):
    """A chain of hashes, each modulo the sum of the weights."""

    def __init__(self, servers: Iterable[Server | str] | Mapping[str, float] = ()) -> None:
        self._order: list[Peer] = []
        self._ends: list[int] = []
        super().__init__(servers)

    def _lay_out(self) -> None:
        self._order = list(self._peers.values())
        self._ends = list(accumulate(peer.weight for peer in self._order))

    def _owner(self, data: bytes, second: float, avoid: Collection[str]) -> Peer | None:
        total, met, rejected = self._ends[-1], set[str](), 0
        for value in self._chain(data):
            peer = self._order[bisect_right(self._ends, value % total)]
            if self._usable(peer, second, avoid):
                return peer
            name = peer.server.address
            if name in avoid and name not in met:
                met.add(name)  # here it was tried, and not rejected
            elif rejected == _REJECTIONS:
                break
            else:
                rejected += 1
        return None

    @abstractmethod
    def _chain(self, data: bytes) -> Iterator[int]:
        """Give the hashes of a key, without end."""


class Hash(_Modulo):
    """``hash KEY``: modulo, that of nginx 1.22.1 and of Cache::Memcached.

    Joining and leaving move nearly all keys.

    >>> upstream = Hash(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
    >>> upstream.pick("user:42")
    '10.0.0.2:80'

    Cost: ``pick`` O(log n), O(n) where round robin chooses; a change of weights O(n).
    """

    def _chain(self, data: bytes) -> Iterator[int]:
        value = crc32(data) >> 16 & 0x7FFF
        turn = 1
        while True:
            yield value
            value += crc32(b"%d%b" % (turn, data)) >> 16 & 0x7FFF
            turn += 1


class IPHash(_Modulo):
    """``ip_hash``: the client's network, that of nginx 1.22.1.

    The key is an address, as text, packed, or from :mod:`ipaddress`; of IPv4 the first three bytes
    count, of IPv6 all, also where it maps IPv4.  A client without one (over a socket of Unix) is
    ``b""``.  Weights that sum up to a good part of 6271 are not kept well.

    >>> upstream = IPHash(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
    >>> upstream.pick("192.0.2.1") == upstream.pick("192.0.2.254")
    True

    Cost: as :class:`Hash`.
    """

    def pick(
        self, key: Key | Address | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> str:
        """Choose a client's server, as :class:`Hash` does a key's.

        Raises MissingKey, InvalidKey for what is no address, NoBackendAvailable.
        """
        if key is None:
            raise MissingKey("ip_hash picks by the client's address, and got none")
        packed = address_of(key).packed if key != b"" else bytes(3)
        return super().pick(packed[:3] if len(packed) == _IPV4 else packed, now, avoid)

    def _chain(self, data: bytes) -> Iterator[int]:
        value = 89
        while True:
            for byte in data:
                value = (value * 113 + byte) % _CELLS
            yield value


class ConsistentHash(_Keyed):
    """``hash KEY consistent``: a ketama ring, that of nginx 1.22.1.

    A server has 160 points for each unit of weight, from its host and port as they are written.

    >>> upstream = ConsistentHash({"10.0.0.1:80": 2, "10.0.0.2:80": 1, "10.0.0.3:80": 1})
    >>> owner = upstream.pick("user:42")
    >>> upstream.put(next(name for name in upstream.weights if name != owner), 0)
    >>> upstream.pick("user:42") == owner
    True

    Cost: ``pick`` O(1) expected, O(n) where round robin chooses; the first after a change of
    weights builds, O(V log V) for V points.
    Raises RingTooLarge for more than 4 194 304 points.
    """

    def __init__(self, servers: Iterable[Server | str] | Mapping[str, float] = ()) -> None:
        self._circle: Circle[str] = Circle()
        self._sum = 0  # of all weights, those of servers that are down as well
        super().__init__(servers)

    def _lay_out(self) -> None:
        order = list(self._peers)
        points: list[int] = []
        whose: list[int] = []
        for place, name in enumerate(order):
            points += _points(name, _POINTS * self._peers[name].weight)
            whose += [place] * (len(points) - len(whose))
        kept, first = np.unique(np.array(points, dtype=np.uint64), return_index=True)
        self._circle.build(kept << np.uint64(32), np.array(whose, dtype=np.intp)[first], order)

    def _owner(self, data: bytes, second: float, avoid: Collection[str]) -> Peer | None:
        for name in islice(self._circle.walk(crc32(data) << 32), 1 + _REJECTIONS):
            peer = self._peers[name]
            if self._usable(peer, second, avoid):
                return smooth([peer])
        return None

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        known = self._peers[backend].weight if old is not None else 0
        if new:
            needed = int(_POINTS * (self._sum - known + new))
            if needed > _MOST_POINTS:
                raise RingTooLarge(
                    f"with weight {new!r} for {backend!r} the ring needs {needed} points, "
                    f"more than {_MOST_POINTS}"
                )
        super().update_index(backend, old, new)
        self._sum += (0 if new is None else self._peers[backend].weight) - known


def _points(server: str, count: int) -> Iterator[int]:
    """Give the points of a server, each hashed from the one before."""
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
