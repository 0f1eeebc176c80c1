"""``roundrobin``, ``leastconn`` and ``first``: the algorithms without a key that are not static."""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Collection

from balancers.balancer import Key
from balancers.errors import InvalidWeight
from balancers.interop.haproxy.farm import Servers, TieredFarm

__all__ = ["First", "LeastConn", "RoundRobin"]

_STEPS = 256
"""Of load, for one request in flight of weight 1."""
_Place = tuple[int, int, str]


class RoundRobin(TieredFarm):
    """``balance roundrobin`` of equal weights: plain rotation, that of HAProxy 2.6.12.

    A full server loses its turn.  Who comes up waits for all the others; HAProxy, which counts
    turns in windows, may then begin elsewhere.

    >>> farm = RoundRobin(["a", "b", "c"])
    >>> "".join(farm.pick() for _ in range(7))
    'abcabca'

    Cost: ``pick`` O(1 + full and avoided); a flip O(1).
    Raises InvalidWeight where weights that would take turns differ: then HAProxy's rotation is
    neither nginx's nor the one of ``static-rr``, and its rule is not known well enough here.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._turns = (OrderedDict[str, None](), OrderedDict[str, None]())
        super().__init__(servers, allbackups=allbackups)

    def _among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        turns = self._turns[backup]
        passed: list[str] = []
        for name in turns:
            passed.append(name)
            if name not in self._full and name not in avoid:
                for each in passed:
                    turns.move_to_end(each)
                return name
        return None

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        backup = self._servers[backend].backup
        turns = self._turns[backup]
        if new and (self._allbackups or not backup):
            other = next((name for name in turns if name != backend), backend)
            if other != backend and self._weights[other] != new:
                raise InvalidWeight(
                    "roundrobin of unequal weights is not known well enough: "
                    f"{backend!r} has {new!r}, {other!r} has {self._weights[other]!r}"
                )
        super().update_index(backend, old, new)
        if not new:
            turns.pop(backend, None)
        elif not old:
            turns[backend] = None


class LeastConn(TieredFarm):
    """``balance leastconn``: the least busy for its weight, that of HAProxy 2.6.12.

    Idle servers come first, whatever they weigh, and then the least ``(n + 1) / weight`` of n
    requests in flight, in steps of 1/256.  Of equals the one that has been so for longest.  A full
    server is passed by.  A pick alone changes nothing: say ``started``.

    >>> farm = LeastConn({"a": 1, "b": 4})
    >>> for _ in range(4):
    ...     farm.started(farm.pick())
    >>> farm.pick()
    'b'

    Cost: ``pick`` O(1 + full and avoided), all else O(log n) and one move of memory.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._serial = 0
        self._queued: dict[str, _Place] = {}  # its load, since when, and the name
        self._queues = (list[_Place](), list[_Place]())
        super().__init__(servers, allbackups=allbackups)

    def _among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        for _, _, name in self._queues[backup]:
            if name not in self._full and name not in avoid:
                return name
        return None

    def _count(self, name: str, change: int) -> None:
        super()._count(name, change)
        if name in self._queued:
            self._requeue(name, int(self._weights[name]))

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        self._requeue(backend, int(new or 0))
        super().update_index(backend, old, new)

    def _requeue(self, name: str, weight: int) -> None:
        """Put a server at the end of its equals; weight 0 takes it out."""
        queue = self._queues[self._servers[name].backup]
        if name in self._queued:
            del queue[bisect_left(queue, self._queued.pop(name))]
        if weight:
            served = self._served[name]
            load = (served + 1) * _STEPS // weight if served else 0
            self._serial += 1
            self._queued[name] = (load, self._serial, name)
            insort(queue, self._queued[name])


class First(TieredFarm):
    """``balance first``: the lowest id that is not full, that of HAProxy 2.6.12.

    >>> from balancers.interop.haproxy import Server
    >>> farm = First([Server("a", maxconn=1), Server("b", maxconn=1)])
    >>> farm.started(farm.pick())
    >>> farm.pick()
    'b'

    Cost: ``pick`` O(1 + full and avoided), a flip O(log n) and one move of memory.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._order = (list[tuple[int, str]](), list[tuple[int, str]]())
        super().__init__(servers, allbackups=allbackups)

    def _among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        for _, name in self._order[backup]:
            if name not in self._full and name not in avoid:
                return name
        return None

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        server = self._servers[backend]
        if bool(new) is not bool(old):
            order, place = self._order[server.backup], (server.id or 0, backend)
            if new:
                insort(order, place)
            else:
                del order[bisect_left(order, place)]
        super().update_index(backend, old, new)
