"""Picks servers without a key, as ``roundrobin``, ``leastconn`` and ``first`` of HAProxy do."""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Collection, Iterator

from balancers._internal.checks import shown
from balancers.balancer import Key
from balancers.errors import InvalidWeight, UnknownBackend
from balancers.interop.haproxy.farm import Servers, TieredFarm

__all__ = ["First", "LeastConn", "RoundRobin"]

_LOAD_STEPS = 256
"""Loads are integers.  One request at weight 1 adds this number to the load."""
_Entry = tuple[int, int, str]
"""An entry contains the load, a serial number and the name of the server."""


class RoundRobin(TieredFarm):
    """Picks what ``balance roundrobin`` of HAProxy 2.6.12 picks if all weights are equal.

    The servers are picked in turn.  The turn of a full server is skipped.  A server that comes up
    is picked after all the other servers.  HAProxy may pick such a server earlier, because HAProxy
    counts turns in windows.

    >>> farm = RoundRobin(["a", "b", "c"])
    >>> "".join(farm.pick() for _ in range(7))
    'abcabca'

    Cost: ``pick`` O(1 + f) for f servers that are full or avoided.  Marking a server down or up
    costs O(1).
    Raises InvalidWeight if the servers that are picked in turn have different weights.  A server
    that is down, or whose weight is 0, counts with its last positive weight.  With different
    weights, the order of HAProxy is neither that of nginx nor that of ``static-rr``.  The exact
    rule of HAProxy is not known.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._rotations = (OrderedDict[str, None](), OrderedDict[str, None]())
        self._last_weights = (dict[str, float](), dict[str, float]())
        super().__init__(servers, allbackups=allbackups)

    def _choose_among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        rotation = self._rotations[backup]
        passed: list[str] = []
        for name in rotation:
            passed.append(name)
            if name not in self._full and name not in avoid:
                for each in passed:
                    rotation.move_to_end(each)
                return name
        return None

    def _order_among(self, backup: bool, key: Key | None) -> Iterator[str]:
        return (name for name in self._rotations[backup] if name not in self._full)

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        backup = self._servers[backend].backup
        rotation = self._rotations[backup]
        last = self._last_weights[backup]
        if new and (self._allbackups or not backup):
            other = next((name for name in last if name != backend), backend)
            if other != backend and last[other] != new:
                raise InvalidWeight(
                    "RoundRobin does not support unequal weights: "
                    f"{shown(backend)} has {shown(new)}, {shown(other)} has {shown(last[other])}"
                )
        super().update_index(backend, old, new)
        if new:
            last[backend] = new
        elif new is None:
            last.pop(backend, None)
        if not new:
            rotation.pop(backend, None)
        elif not old:
            rotation[backend] = None


class LeastConn(TieredFarm):
    """Picks what ``balance leastconn`` of HAProxy 2.6.12 picks: the server with the least load.

    The load of an idle server is 0.  The load of a server with n requests in flight is
    ``(n + 1) / weight``, rounded down to a multiple of 1/256.  If several servers have the least
    load, the server whose load and weight have been unchanged for the longest time is picked.  A
    full server is skipped.  ``pick`` does not change the load: call ``started`` for each request.

    >>> farm = LeastConn({"a": 1, "b": 4})
    >>> for _ in range(4):
    ...     farm.started(farm.pick())
    >>> farm.pick()
    'b'

    Cost: ``pick`` O(1 + f) for f servers that are full or avoided.  All other methods cost O(log n)
    and one move of memory.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._serial = 0
        self._queued: dict[str, _Entry] = {}
        self._queues = (list[_Entry](), list[_Entry]())
        super().__init__(servers, allbackups=allbackups)

    def load_of(self, backend: str, now: float = 0.0) -> float:
        """Return the number of requests in flight on a member; O(1).  Raises UnknownBackend."""
        if backend not in self._servers:
            raise UnknownBackend(backend)
        return self._in_flight[backend]

    def _choose_among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        for _, _, name in self._queues[backup]:
            if name not in self._full and name not in avoid:
                return name
        return None

    def _order_among(self, backup: bool, key: Key | None) -> Iterator[str]:
        return (name for _, _, name in self._queues[backup] if name not in self._full)

    def _count(self, name: str, change: int) -> None:
        super()._count(name, change)
        if name in self._queued:
            self._requeue(name, int(self._weights[name]))

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        self._requeue(backend, int(new or 0))
        super().update_index(backend, old, new)

    def _requeue(self, name: str, weight: int) -> None:
        """Move a server in its queue, behind all servers with the same load.

        A server with weight 0 is removed from the queue.
        """
        queue = self._queues[self._servers[name].backup]
        if name in self._queued:
            del queue[bisect_left(queue, self._queued.pop(name))]
        if weight:
            in_flight = self._in_flight[name]
            load = (in_flight + 1) * _LOAD_STEPS // weight if in_flight else 0
            self._serial += 1
            self._queued[name] = (load, self._serial, name)
            insort(queue, self._queued[name])


class First(TieredFarm):
    """Picks what ``balance first`` of HAProxy 2.6.12 picks.

    Of the servers that are not full, the server with the lowest id is picked.

    >>> from balancers.interop.haproxy import Server
    >>> farm = First([Server("a", maxconn=1), Server("b", maxconn=1)])
    >>> farm.started(farm.pick())
    >>> farm.pick()
    'b'

    Cost: ``pick`` O(1 + f) for f servers that are full or avoided.  Marking a server down or up
    costs O(log n) and one move of memory.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._order = (list[tuple[int, str]](), list[tuple[int, str]]())
        super().__init__(servers, allbackups=allbackups)

    def _choose_among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        for _, name in self._order[backup]:
            if name not in self._full and name not in avoid:
                return name
        return None

    def _order_among(self, backup: bool, key: Key | None) -> Iterator[str]:
        return (name for _, name in self._order[backup] if name not in self._full)

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        server = self._servers[backend]
        if bool(new) is not bool(old):
            order, entry = self._order[server.backup], (server.id or 0, backend)
            if new:
                insort(order, entry)
            else:
                del order[bisect_left(order, entry)]
        super().update_index(backend, old, new)
