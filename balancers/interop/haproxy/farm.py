"""Keeps the servers of a ``backend`` section of HAProxy, with their requests in flight."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import cast

from balancers._internal.checks import (
    NO_BACKENDS,
    at_least,
    check_flags,
    checked_avoid,
    shown,
    valid_weight,
)
from balancers._internal.plans import first_different
from balancers._internal.refusals import shared_reason
from balancers.balancer import Key
from balancers.errors import BalancersError, DuplicateBackend, NoBackendAvailable
from balancers.interop.haproxy.server import MAX_WEIGHT, Server
from balancers.interop.whole_weights import whole_weight
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Farm", "Servers", "TieredFarm"]

Servers = Iterable[Server | str] | Mapping[str, float]


class Farm(Membership[str]):
    """Picks what HAProxy picks.  The base class of the algorithms of HAProxy.

    A subclass defines :meth:`_choose`.  Backends are the names of the servers.  Servers can be
    passed as :class:`Server`, as names, or as a mapping of names to weights.  A weight is an
    integer from 0 to 256.  ``put`` adds a new server with the defaults of HAProxy.  For a member,
    ``put`` with weight 0 marks the server down.  ``put`` with a positive weight marks the server up
    and sets its weight.

    Backups are used only if no active server is up.  Then the first backup that is up gets all
    requests.  With ``allbackups``, all backups that are up get requests.  ``static-rr`` and
    ``map-based`` are exceptions: even without ``allbackups``, they can pick other backups.
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
            raise TypeError(f"servers must be an iterable or a mapping, not {shown(servers)}")
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
        """Add a server with its parameters.  It becomes the last in the order of the servers.

        A server without an id gets the lowest free id.  The cost is O(1) amortised, plus the cost
        of the algorithm.  Raises DuplicateBackend if another server has the same name or id.
        """
        name = server.name
        if name in self._servers:
            raise DuplicateBackend(f"{shown(name)} is already a server")
        number = server.id
        if number is None:
            number = next(each for each in count(self._lowest_free_id) if each not in self._ids)
        if number in self._ids:
            raise DuplicateBackend(
                f"{shown(name)} and {shown(self._ids[number])} both have id {number}"
            )
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
        """Add a server or change its weight.  Weight 0 marks the server down.

        Raises InvalidWeight unless the weight is an integer from 0 to 256.  Raises InvalidSetting
        for a new name that HAProxy refuses.  A call that raises an error changes nothing.
        """
        checked = _weight(backend, weight)
        if backend in self._servers:
            super().put(backend, checked)
        else:
            self.add(Server(backend, weight=checked or 1, disabled=not checked))

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the server of a request.

        For a retry on another server (a redispatch), pass the tried servers in ``avoid``.
        Raises NoBackendAvailable.  This error is also raised when HAProxy would queue the request
        because the servers are full.
        """
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        name = self._choose(key, avoid)
        if name is None:
            raise self._refusal(avoid)
        return name

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        """Return the servers of ``n`` attempts, each one with all before it in ``avoid``.

        This takes one turn, that of the first server.  If fewer servers can be picked, all of them
        are returned.
        Raises what :meth:`pick` raises, and InvalidSetting unless ``n`` is an int of 1 or more.
        """
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        ranked = first_different(self._in_order(key), n, avoid)
        self.pick(key, now, avoid)
        return ranked

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts; O(1), or O(log n) for ``leastconn``.

        The call has no effect if the server is not a member.
        """
        if backend in self._servers:
            self._count(backend, 1)

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.  The cost is the same as for :meth:`started`.

        The call has no effect if the server is not a member or has no request in flight.
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
        """Return a server, or None if every server is down, full or avoided."""

    @abstractmethod
    def _in_order(self, key: Key | None) -> Iterator[str]:
        """Yield the servers as they are chosen when those before are avoided, maybe repeatedly.

        Nothing changes.
        """

    def _one_serves(self) -> bool:
        """Return whether only one server can be picked.  If so, the key is not used."""
        if self._up[False] or self._allbackups:
            return self._up[not self._up[False]] == 1
        return True

    def _first_backup(self) -> str | None:
        """Return the first backup that is up, or None if all are down; O(n)."""
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
    """Picks among the active servers, or among the backups if no active server is up.

    Without ``allbackups``, only the first backup that is up is picked.
    """

    def _choose(self, key: Key | None, avoid: Collection[str]) -> str | None:
        backup = not self._up[False]
        if backup and not self._allbackups:
            name = self._first_backup()
            return None if name in avoid else name
        return self._choose_among(backup, key, avoid) if self._up[backup] else None

    def _in_order(self, key: Key | None) -> Iterator[str]:
        backup = not self._up[False]
        if backup and not self._allbackups:
            name = self._first_backup()
            return iter([] if name is None else [name])
        return self._order_among(backup, key) if self._up[backup] else iter(())

    @abstractmethod
    def _choose_among(self, backup: bool, key: Key | None, avoid: Collection[str]) -> str | None:
        """Return a server that is up.

        If ``backup`` is true, the server is one of the backups.  If not, it is an active server.
        None is returned if no such server can be picked.
        """

    @abstractmethod
    def _order_among(self, backup: bool, key: Key | None) -> Iterator[str]:
        """Yield the servers in the order in which :meth:`_choose_among` chooses them."""


def _weight(name: object, weight: float) -> int:
    return whole_weight(name, valid_weight(weight, name), MAX_WEIGHT)
