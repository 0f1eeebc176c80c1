"""``hash-type consistent``: a ring of 32 bits where the nearest point counts, and its bounds."""

from collections.abc import Callable, Collection, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import at_least
from balancers.balancer import Key
from balancers.errors import InvalidSetting
from balancers.hashing.circle import Circle
from balancers.hashing.hashed_balancer import BITS
from balancers.interop.haproxy.farm import Servers, TieredFarm
from balancers.interop.haproxy.hashes import Hash, mixed
from balancers.interop.haproxy.server import Server
from balancers.keys import key_bytes

__all__ = ["Consistent"]

_POINTS = 16
"""Of a server, for each unit of its weight."""
_PER_ID = 4096
_IDS = 1 << 20
_SPARSE = 8
"""A ring where fewer than one point in so many is open is made anew of the open ones."""
_SPREAD_SDBM = Hash(avalanche=True)


class Consistent(TieredFarm):
    """``hash-type consistent``: the server of the nearest point, that of HAProxy 2.6.12.

    ``hasher`` is what ``hash-type`` says after ``consistent``; by default sdbm with avalanche.  A
    server's points are made of its id.  ``balance_factor`` is ``hash-balance-factor``, in percent
    of the average load that a server may carry, 0 for any: who has more passes requests on, upward
    in the ring, as does who is avoided.  A request without a key takes the next point.  A full
    server is picked all the same, and the request waits for it.

    >>> farm = Consistent(["a", "b", "c"])
    >>> owner = farm.pick("user:42")
    >>> farm.put(next(name for name in farm.weights if name != owner), 0)
    >>> farm.pick("user:42") == owner
    True

    Cost: ``pick`` O(1) expected, a flip O(1); the first pick after a change of weights builds,
    O(V log V) for V points.
    Raises InvalidSetting for a factor from 1 to 100, and for ids above 1 048 575, which would share
    points.
    """

    keyed = True

    def __init__(
        self,
        servers: Servers = (),
        *,
        hasher: Hash | Callable[[bytes], int] = _SPREAD_SDBM,
        balance_factor: int = 0,
        allbackups: bool = False,
    ) -> None:
        at_least(0, balance_factor=balance_factor)
        if 0 < balance_factor <= 100:  # noqa: PLR2004 - percent
            raise InvalidSetting(f"balance_factor must be 0 or above 100, not {balance_factor!r}")
        self._hasher = hasher if isinstance(hasher, Hash) else Hash(hasher)
        self._factor = balance_factor
        self._before: dict[str, int] = {}
        """How many points were up when each server came, for good."""
        self._most: dict[str, int] = {}  # the greatest weight each server has had
        self._total = 0  # in flight
        self._open_points = [0, 0]  # of active servers, and of backups
        self._rings = (_Ring(), _Ring())
        super().__init__(servers, allbackups=allbackups)

    def add(self, server: Server) -> None:
        """Add a server with its parameters.

        With a factor its place among those that are up is settled for good; it is the first for a
        server that is not up itself.  Raises DuplicateBackend, InvalidSetting.
        """
        if server.id is not None and server.id >= _IDS:
            raise InvalidSetting(f"id of {server.name!r} must be below {_IDS}, not {server.id}")
        others = self._open_points[server.backup]
        super().add(server)
        self._before[server.name] = others if self._weights[server.name] else 0

    def _among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        ring = self._ring(backup)
        if self._single():
            name = next(ring.upward(0))[1]
            return None if name in avoid else name
        if key is None:
            return ring.next(self._full.union(avoid))
        nearest = ring.nearest(self._hasher(key_bytes(key)) << 32)
        others = (name for _, name in ring.upward(nearest) if name not in avoid)
        first = next(others, None)
        if first is None or not self._factor:
            return first
        total, rest = divmod(
            ((self._total + 1) * self._factor + 99) // 100, self._open_points[backup]
        )
        return next(
            (name for name in chain([first], others) if self._has_slot(name, total, rest, backup)),
            first,
        )

    def _ring(self, backup: bool) -> "_Ring":
        """Give the ring, made anew after a change of weights; O(V log V)."""
        ring = self._rings[backup]
        if ring.stale:
            servers = self._servers.items()
            placed = {name: s for name, s in servers if s.backup is backup and s.weight}
            ring.build(placed, self._weights)
        return ring

    def _has_slot(self, name: str, each: int, rest: int, backup: bool) -> bool:
        """Whether a server may carry one more: ``each`` for a point, and its part of the rest."""
        points, before = _POINTS * int(self._weights[name]), self._before[name]
        total = self._open_points[backup]
        slots = points * each + (before + points) * rest // total - before * rest // total
        return self._served[name] < max(1, slots)

    def _count(self, name: str, change: int) -> None:
        super()._count(name, change)
        self._total += change

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        server = self._servers[backend]
        most = self._most.get(backend, server.weight)
        raised = int(new or 0) > most  # and all its points are taken out, and back in
        gone = _numbers(server, 0 if raised else int(new or 0), int(old or 0))
        self._most[backend] = max(most, int(new or 0))
        if self._rings[server.backup].rests_on(backend, gone):
            self._ring(server.backup).move_on(gone)
        if new is None:
            del self._before[backend], self._most[backend]
            self._total -= self._served[backend]
        super().update_index(backend, old, new)
        self._open_points[server.backup] += _POINTS * (int(new or 0) - int(old or 0))
        ring = self._rings[server.backup]
        if old is None or new is None or self._servers[backend] is not server:
            ring.stale = True
        elif new:
            ring.open(backend)
        else:
            ring.close(backend)


class _Ring:
    """The points of the active servers, or of the backups, those that are down passed by."""

    def __init__(self) -> None:
        self.stale = True
        self._circle = Circle[str]()
        self._closed: set[str] = set()
        self._placed: dict[str, int] = {}  # how many points each server has here
        self._open = 0
        self._last: tuple[int, str] | None = None
        """The point that served the last request without a key, and whose it is."""

    def build(self, servers: dict[str, Server], weights: dict[str, float]) -> None:
        """Place the points anew; O(V log V)."""
        counts = {name: _POINTS * server.weight for name, server in servers.items()}
        self._open = sum(count for name, count in counts.items() if weights[name])
        if self._open * _SPARSE < sum(counts.values()):
            counts = {name: count for name, count in counts.items() if weights[name]}
        self._placed = counts
        self._closed = {name for name in counts if not weights[name]}
        points = [_laid(_numbers(servers[name], 0, servers[name].weight)) for name in counts]
        whose = np.repeat(np.arange(len(counts)), list(counts.values()))
        self._circle.build(np.concatenate(points), whose, list(counts))
        self.stale = False

    def open(self, name: str) -> None:
        """Let a server's points count again."""
        if name in self._closed:
            self._closed.discard(name)
            self._open += self._placed[name]
        else:
            self.stale = True

    def close(self, name: str) -> None:
        """Pass a server's points by."""
        if not self.stale:
            self._closed.add(name)
            self._open -= self._placed[name]
            self.stale = self._open * _SPARSE < self._circle.size

    def nearest(self, place: int) -> int:
        """Give the nearest open point; of two as near, the one before."""
        after = next(self.upward(place))[0]
        before, name = self._circle.before(place)
        while name in self._closed:
            before, name = self._circle.before(before)
        return before if (place - before) & BITS <= (after - place) & BITS else after

    def next(self, closed: Collection[str]) -> str | None:
        """Give the server of the next point that is not closed, once round."""
        after = 0 if self._last is None else (self._last[0] + 1) & BITS
        for point, name in self.upward(after):
            if name not in closed:
                self._last = point, name
                return name
        return None

    def rests_on(self, name: str, numbers: range) -> bool:
        """Whether the last point is one of these of that server."""
        last = self._last
        return last is not None and last[1] == name and last[0] in _laid(numbers)

    def move_on(self, numbers: range) -> None:
        """Let the next point that stays be the last, when those of these numbers go."""
        gone, last = set(_laid(numbers).tolist()), self._last
        self._last = None
        for point, name in self.upward(last[0] if last else 0):
            if last and point < last[0]:
                return
            if point not in gone:
                self._last = point, name
                return

    def upward(self, place: int) -> Iterator[tuple[int, str]]:
        """Give every open point and its server, once round, from the first at or after a place."""
        for _ in range(self._circle.size):
            point, name = self._circle.at(place)
            if name not in self._closed:
                yield point, name
            place = (point + 1) & BITS


def _numbers(server: Server, low: int, high: int) -> range:
    """Give the numbers of the points that one weight of a server has and another has not."""
    first = (server.id or 0) * _PER_ID
    return range(first + _POINTS * low, first + _POINTS * high)


def _laid(numbers: range) -> NDArray[np.uint64]:
    """Give where the points of these numbers are, in the upper half of 64 bits."""
    laid: NDArray[np.uint64] = mixed(np.arange(numbers.start, numbers.stop, dtype=np.uint64))
    return laid << np.uint64(32)
