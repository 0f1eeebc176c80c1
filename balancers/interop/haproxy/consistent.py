"""Picks a server by the nearest point on a 32-bit ring, as ``hash-type consistent`` does.

The load of each server can be bounded.
"""

from collections.abc import Callable, Collection, Iterator
from itertools import chain

from balancers._internal.checks import at_least, shown
from balancers.balancer import Key
from balancers.errors import InvalidSetting
from balancers.interop.haproxy.farm import Servers, TieredFarm
from balancers.interop.haproxy.hashes import Hash
from balancers.interop.haproxy.ring import POINTS_PER_WEIGHT, Ring, point_numbers
from balancers.interop.haproxy.server import Server
from balancers.keys import key_bytes

__all__ = ["Consistent"]

_ID_LIMIT = 1 << 20
"""From this id on, a server could have the same points as another server."""
_SDBM_AVALANCHE = Hash(avalanche=True)


class Consistent(TieredFarm):
    """Picks what ``hash-type consistent`` of HAProxy 2.6.12 picks, by a hash ring.

    Each server has several points (positions on the ring), computed from its id.  A key belongs to
    the server of the point that is nearest to the hash of the key.  ``hasher`` is the hash function
    that follows ``consistent`` in the configuration.  The default is sdbm with avalanche (a
    bit-mixing step).

    ``balance_factor`` is the setting ``hash-balance-factor``.  It is the greatest load of a server,
    in percent of the average load.  If it is 0, there is no limit.  If the server of a key has
    reached the limit or is in ``avoid``, the servers of the next points are tried.  Requests
    without a key use the points of the ring in turn.  A server can be picked even if it has
    ``maxconn`` requests in flight.  In HAProxy, the request then waits for the server.

    >>> farm = Consistent(["a", "b", "c"])
    >>> owner = farm.pick("user:42")
    >>> farm.put(next(name for name in farm.weights if name != owner), 0)
    >>> farm.pick("user:42") == owner
    True

    Cost: ``pick`` O(1) expected; marking a server down or up O(1).  The first pick after a change
    of weights builds the ring; O(V log V) for V points.
    Raises InvalidSetting for a ``balance_factor`` from 1 to 100.  Raises InvalidSetting for an id
    above 1 048 575, because its points could be the same as those of another id.
    """

    keyed = True

    def __init__(
        self,
        servers: Servers = (),
        *,
        hasher: Hash | Callable[[bytes], int] = _SDBM_AVALANCHE,
        balance_factor: int = 0,
        allbackups: bool = False,
    ) -> None:
        at_least(0, balance_factor=balance_factor)
        if 0 < balance_factor <= 100:  # noqa: PLR2004 - percent
            raise InvalidSetting(
                f"balance_factor must be 0 or above 100, not {shown(balance_factor)}"
            )
        self._hasher = hasher if isinstance(hasher, Hash) else Hash(hasher)
        self._factor = balance_factor
        self._points_before: dict[str, int] = {}
        """For each server, the number of points that were open when the server was added.

        The number does not change later.  It is 0 if the server was not up."""
        self._max_weights: dict[str, int] = {}  # the greatest weight that each server has had
        self._total_in_flight = 0
        self._open_points = [0, 0]  # of active servers, of backups
        self._rings = (Ring(), Ring())
        super().__init__(servers, allbackups=allbackups)

    def add(self, server: Server) -> None:
        """Add a server with its parameters.

        With a ``balance_factor``, later picks depend on the number of points that were open before
        the server was added.  This number is stored now.  It is 0 if the server is not up.
        Raises DuplicateBackend, InvalidSetting.
        """
        if server.id is not None and server.id >= _ID_LIMIT:
            raise InvalidSetting(
                f"id of {shown(server.name)} must be below {_ID_LIMIT}, not {server.id}"
            )
        others = self._open_points[server.backup]
        super().add(server)
        self._points_before[server.name] = others if self._weights[server.name] else 0

    def _choose_among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        ring = self._ring(backup)
        if self._one_serves():
            name = next(ring.open_points(0))[1]
            return None if name in avoid else name
        if key is None:
            return ring.next(self._full.union(avoid))
        nearest = ring.nearest(self._hasher(key_bytes(key)) << 32)
        others = (name for _, name in ring.open_points(nearest) if name not in avoid)
        first = next(others, None)
        if first is None or not self._factor:
            return first
        per_point, rest = self._slots(backup)
        candidates = chain([first], others)
        return next(
            (name for name in candidates if self._has_slot(name, per_point, rest, backup)), first
        )

    def _order_among(self, backup: bool, key: Key | None) -> Iterator[str]:
        ring = self._ring(backup)
        if self._one_serves():
            yield next(ring.open_points(0))[1]
        elif key is None:
            yield from (name for name in ring.turns() if name not in self._full)
        else:
            nearest = ring.nearest(self._hasher(key_bytes(key)) << 32)
            first: dict[str, None] = {}  # those without a slot, in order
            per_point, rest = self._slots(backup)
            for _, name in ring.open_points(nearest):
                if not self._factor or self._has_slot(name, per_point, rest, backup):
                    yield name
                else:
                    first[name] = None
            yield from first

    def _slots(self, backup: bool) -> tuple[int, int]:
        """Return the number of requests that each point may have, and the rest for all points."""
        total = ((self._total_in_flight + 1) * self._factor + 99) // 100
        return divmod(total, self._open_points[backup])

    def _ring(self, backup: bool) -> Ring:
        """Return the ring of the active servers or of the backups.

        After a change of weights, the ring is built first; O(V log V).
        """
        ring = self._rings[backup]
        if ring.stale:
            servers = self._servers.items()
            placed = {name: s for name, s in servers if s.backup is backup and s.weight}
            ring.build(placed, self._weights)
        return ring

    def _has_slot(self, name: str, per_point: int, rest: int, backup: bool) -> bool:
        """Return whether a server may get one more request.

        The server may have ``per_point`` requests in flight for each of its points.  It may also
        have its part of the ``rest``, which is divided among the points of all servers.  The limit
        is at least 1 request.
        """
        points, before = POINTS_PER_WEIGHT * int(self._weights[name]), self._points_before[name]
        total = self._open_points[backup]
        slots = points * per_point + (before + points) * rest // total - before * rest // total
        return self._in_flight[name] < max(1, slots)

    def _count(self, name: str, change: int) -> None:
        super()._count(name, change)
        self._total_in_flight += change

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        server = self._servers[backend]
        max_weight = self._max_weights.get(backend, server.weight)
        raised = int(new or 0) > max_weight  # HAProxy then removes and reinserts all its points
        gone = point_numbers(server, 0 if raised else int(new or 0), int(old or 0))
        self._max_weights[backend] = max(max_weight, int(new or 0))
        if self._rings[server.backup].last_is_one_of(backend, gone):
            self._ring(server.backup).skip_last(gone)
        if new is None:
            del self._points_before[backend], self._max_weights[backend]
            self._total_in_flight -= self._in_flight[backend]
        super().update_index(backend, old, new)
        change = int(new or 0) - int(old or 0)
        self._open_points[server.backup] += POINTS_PER_WEIGHT * change
        ring = self._rings[server.backup]
        if old is None or new is None or self._servers[backend] is not server:
            ring.stale = True
        elif new:
            ring.open(backend)
        else:
            ring.close(backend)
