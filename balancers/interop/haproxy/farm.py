"""A ``backend`` section: servers, their requests in flight, and the backups that stand in."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import cast

from balancers._internal.checks import checked_avoid
from balancers.balancer import Key
from balancers.errors import (
    BalancersError,
    DuplicateBackend,
    InvalidSetting,
    InvalidWeight,
    NoBackendAvailable,
)
from balancers.interop.haproxy.server import HEAVIEST, Server
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Farm", "Servers", "TieredFarm"]

Servers = Iterable[Server | str] | Mapping[str, float]


class Farm(Membership[str]):
    """What HAProxy's algorithms share; a subclass has :meth:`_chosen`.

    Backends are the servers' names.  They come as :class:`Server`, as names, or as a mapping to
    weights; ``put`` adds one with HAProxy's defaults, takes one down or up (0, or its weight), and
    changes its weight, a whole number up to 256.  With ``allbackups`` the backups stand in
    together, otherwise the first one that is up stands in alone.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        if not isinstance(allbackups, bool):
            raise InvalidSetting(f"allbackups must be a bool, not {allbackups!r}")
        self._allbackups = allbackups
        self._servers: dict[str, Server] = {}  # as configured, with the last positive weight
        self._ids: dict[int, str] = {}
        self._lowest = 1  # all ids below are taken
        self._served: dict[str, int] = {}
        self._full: set[str] = set()  # those with maxconn in flight
        self._up = [0, 0]  # active servers, and backups
        super().__init__()
        if isinstance(servers, str | bytes):
            raise TypeError(f"servers must be an iterable or a mapping of them, not {servers!r}")
        if isinstance(servers, Mapping):
            weights = cast("Mapping[str, float]", servers)
            lines = [Server(name, weight=_weight(name, weight)) for name, weight in weights.items()]
        else:
            lines = [each if isinstance(each, Server) else Server(each) for each in servers]
        taken = {server.id for server in lines}
        free = 1
        for server in lines:
            while free in taken:
                free += 1
            self.add(replace(server, id=free) if server.id is None else server)
            free += 1

    def add(self, server: Server) -> None:
        """Add a server with its parameters, last in order; without an id it gets the first free.

        Raises DuplicateBackend for a name or an id that is taken.  O(1) amortised, and what the
        algorithm needs.
        """
        name = server.name
        if name in self._servers:
            raise DuplicateBackend(f"{name!r} is a server already")
        place = server.id
        if place is None:
            place = next(each for each in count(self._lowest) if each not in self._ids)
        if place in self._ids:
            raise DuplicateBackend(f"{name!r} and {self._ids[place]!r} both have id {place}")
        self._servers[name] = replace(server, id=place)
        self._served[name] = 0
        try:
            super().put(name, 0 if server.disabled else server.weight)
        except BalancersError:
            del self._servers[name], self._served[name]
            raise
        self._ids[place] = name
        if server.id is None:
            self._lowest = place + 1

    def put(self, backend: str, weight: float = 1) -> None:
        """Insert or re-weigh; 0 takes down.

        Raises InvalidWeight for what is no whole number up to 256, InvalidSetting for a new name
        that HAProxy refuses.  Nothing has changed then.
        """
        whole = _weight(backend, weight)
        if backend in self._servers:
            super().put(backend, whole)
        else:
            self.add(Server(backend, weight=whole or 1, disabled=not whole))

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Choose a server for a request, or for its redispatch: ``avoid`` the servers tried.

        Raises NoBackendAvailable: where servers are full, HAProxy lets the request wait.
        """
        name = self._chosen(key, checked_avoid(avoid) if avoid else ())
        if name is None:
            raise self._refused(avoid)
        return name

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        """Count a request in flight; a stranger is ignored.  O(1), ``leastconn`` O(log n)."""
        if backend in self._servers:
            self._count(backend, 1)

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count it no more; a stranger, or one more than began, is ignored.  Cost: as started."""
        if self._served.get(backend):
            self._count(backend, -1)

    def _count(self, name: str, change: int) -> None:
        self._served[name] += change
        if 0 < self._servers[name].maxconn <= self._served[name]:
            self._full.add(name)
        else:
            self._full.discard(name)

    @abstractmethod
    def _chosen(self, key: Key | None, avoid: Collection[str]) -> str | None:
        """Choose among those that serve; None when all are full or avoided, or nobody is up."""

    def _single(self) -> bool:
        """Whether one server serves, so that no key is read."""
        if self._up[False] or self._allbackups:
            return self._up[not self._up[False]] == 1
        return True

    def _first_backup(self) -> str | None:
        """Give the first backup that is up; O(n)."""
        for name, weight in self._weights.items():
            if weight and self._servers[name].backup:
                return name
        return None

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        server = self._servers[backend]
        self._up[server.backup] += bool(new) - bool(old)
        if new is None:
            self._lowest = min(self._lowest, server.id or 1)
            del self._servers[backend], self._served[backend], self._ids[server.id or 0]
            self._full.discard(backend)
        elif new not in (0, server.weight):
            self._servers[backend] = replace(server, weight=int(new))

    def _refused(self, avoid: Collection[str]) -> NoBackendAvailable:
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
        reasons = list(counts)
        reason = reasons[0] if len(reasons) == 1 else "mixed" if reasons else "empty"
        return NoBackendAvailable(reason, dict(counts))


class TieredFarm(Farm):
    """A farm where the first backup alone gets everything, unless ``allbackups``."""

    def _chosen(self, key: Key | None, avoid: Collection[str]) -> str | None:
        backup = not self._up[False]
        if backup and not self._allbackups:
            name = self._first_backup()
            return None if name in avoid else name
        return self._among(backup, key, avoid) if self._up[backup] else None

    @abstractmethod
    def _among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        """Choose among the active servers that are up, or among the backups."""


def _weight(name: object, weight: float) -> int:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight != weight // 1:
        raise InvalidWeight(f"HAProxy weighs in whole numbers: {name!r}, {weight!r}")
    if not 0 <= weight <= HEAVIEST:
        raise InvalidWeight(f"weight of {name!r} must be 0 to {HEAVIEST}, not {weight!r}")
    return int(weight)
