"""A ``backend`` section: servers, their requests in flight, and the backup servers."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import cast

from balancers._internal.checks import checked_avoid, valid_weight
from balancers._internal.refusals import shared_reason
from balancers.balancer import Key
from balancers.errors import BalancersError, DuplicateBackend, NoBackendAvailable
from balancers.interop.flags import check_flags
from balancers.interop.haproxy.server import MAX_WEIGHT, Server
from balancers.interop.whole_weights import whole_weight
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Farm", "Servers", "TieredFarm"]

Servers = Iterable[Server | str] | Mapping[str, float]


class Farm(Membership[str]):
    """The base of the algorithms of HAProxy; a subclass defines :meth:`_choose`.

    Backends are the names of the servers.  Pass servers as :class:`Server`, as names, or as a
    mapping to weights.  ``put`` adds a server with the defaults of HAProxy, marks a server down
    (weight 0) or up, or changes its weight, an integer from 0 to 256.  If no active server is up,
    the first backup that is up serves alone, or with ``allbackups`` all of them.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        check_flags(allbackups=allbackups)
        self._allbackups = allbackups
        self._servers: dict[str, Server] = {}  # as configured, with the last positive weight
        self._ids: dict[int, str] = {}
        self._lowest_free_id = 1  # all ids below it are taken
        self._in_flight: dict[str, int] = {}
        self._full: set[str] = set()  # servers with maxconn requests in flight
        self._up = [0, 0]  # the numbers of active servers and of backups that are up
        super().__init__()
        if isinstance(servers, str | bytes):
            raise TypeError(f"servers must be an iterable or a mapping, not {servers!r}")
        if isinstance(servers, Mapping):
            weights = cast("Mapping[str, float]", servers)
            lines = [Server(name, weight=_weight(name, weight)) for name, weight in weights.items()]
        else:
            lines = [each if isinstance(each, Server) else Server(each) for each in servers]
        taken_ids = {server.id for server in lines}
        free_id = 1
        for server in lines:
            while free_id in taken_ids:
                free_id += 1
            self.add(replace(server, id=free_id) if server.id is None else server)
            free_id += 1

    def add(self, server: Server) -> None:
        """Add a server with its parameters, at the end of the order.

        A server without an id gets the lowest free one.  O(1) amortised, plus the cost of the
        algorithm.  Raises DuplicateBackend for a name or an id that is taken.
        """
        name = server.name
        if name in self._servers:
            raise DuplicateBackend(f"{name!r} is already a server")
        number = server.id
        if number is None:
            number = next(each for each in count(self._lowest_free_id) if each not in self._ids)
        if number in self._ids:
            raise DuplicateBackend(f"{name!r} and {self._ids[number]!r} both have id {number}")
        self._servers[name] = replace(server, id=number)
        self._in_flight[name] = 0
        try:
            super().put(name, 0 if server.disabled else server.weight)
        except BalancersError:
            del self._servers[name], self._in_flight[name]
            raise
        self._ids[number] = name
        if server.id is None:
            self._lowest_free_id = number + 1

    def put(self, backend: str, weight: float = 1) -> None:
        """Add a server or change its weight; 0 marks it down.

        Raises InvalidWeight unless the weight is an integer from 0 to 256, InvalidSetting for a new
        name that HAProxy refuses.  Nothing has changed then.
        """
        checked = _weight(backend, weight)
        if backend in self._servers:
            super().put(backend, checked)
        else:
            self.add(Server(backend, weight=checked or 1, disabled=not checked))

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the server of a request, or of its redispatch with the tried servers in ``avoid``.

        Raises NoBackendAvailable, also where HAProxy queues a request because servers are full.
        """
        name = self._choose(key, checked_avoid(avoid) if avoid else ())
        if name is None:
            raise self._refusal(avoid)
        return name

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.  O(1), ``leastconn`` O(log n).

        Ignored if the server is not a member.
        """
        if backend in self._servers:
            self._count(backend, 1)

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.  Cost: as :meth:`started`.

        Ignored if the server is not a member or has no request in flight.
        """
        if self._in_flight.get(backend):
            self._count(backend, -1)

    def _count(self, name: str, change: int) -> None:
        self._in_flight[name] += change
        if 0 < self._servers[name].maxconn <= self._in_flight[name]:
            self._full.add(name)
        else:
            self._full.discard(name)

    @abstractmethod
    def _choose(self, key: Key | None, avoid: Collection[str]) -> str | None:
        """Return a server that serves; None if every one is down, full or avoided."""

    def _one_serves(self) -> bool:
        """Return whether only one server can serve; the key is not used then."""
        if self._up[False] or self._allbackups:
            return self._up[not self._up[False]] == 1
        return True

    def _first_backup(self) -> str | None:
        """Return the first backup that is up; O(n)."""
        for name, weight in self._weights.items():
            if weight and self._servers[name].backup:
                return name
        return None

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        server = self._servers[backend]
        self._up[server.backup] += bool(new) - bool(old)
        if new is None:
            self._lowest_free_id = min(self._lowest_free_id, server.id or 1)
            del self._servers[backend], self._in_flight[backend], self._ids[server.id or 0]
            self._full.discard(backend)
        elif new not in (0, server.weight):
            self._servers[backend] = replace(server, weight=int(new))

    def _refusal(self, avoid: Collection[str]) -> NoBackendAvailable:
        counts: Counter[str] = Counter()
        for name, weight in self._weights.items():
            if not weight:
                counts["quiesced"] += 1
            elif self._up[False] and self._servers[name].backup:
                counts["standby"] += 1
            elif name in self._full:
                counts["saturated"] += 1
            else:
                counts["avoided" if name in avoid else "standby"] += 1
        return NoBackendAvailable(shared_reason(counts, len(self._weights)), dict(counts))


class TieredFarm(Farm):
    """A farm in which the first backup alone gets every request, unless ``allbackups``."""

    def _choose(self, key: Key | None, avoid: Collection[str]) -> str | None:
        backup = not self._up[False]
        if backup and not self._allbackups:
            name = self._first_backup()
            return None if name in avoid else name
        return self._choose_among(backup, key, avoid) if self._up[backup] else None

    @abstractmethod
    def _choose_among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        """Return one of the active servers that are up, or of the backups."""


def _weight(name: object, weight: float) -> int:
    return whole_weight(name, valid_weight(weight, name), MAX_WEIGHT)
