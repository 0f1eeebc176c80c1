"""Keeps the servers of an ``upstream`` block of nginx, with their requests and failures."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from math import inf
from typing import ClassVar, cast

from balancers._internal.checks import (
    LATEST,
    NO_BACKENDS,
    as_weights,
    at_least,
    checked_avoid,
    shown,
    valid_now,
)
from balancers._internal.refusals import shared_reason
from balancers.balancer import Key
from balancers.errors import BalancersError, DuplicateBackend, InvalidSetting, NoBackendAvailable
from balancers.interop.nginx.server import Peer, Server, next_current_weight, smooth_round_robin
from balancers.interop.whole_weights import whole_weight
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Upstream"]


class Upstream(Membership[str]):
    """Picks what nginx picks.  The base class of the methods of nginx.

    A subclass defines :meth:`_choose_from` or :meth:`_choose`.  Backends are the addresses of the
    servers, as written in the configuration.  Servers can be passed as :class:`Server`, as text, or
    as a mapping of addresses to weights.  Weights must be integers.  ``put`` adds a new server with
    the defaults of nginx.  For a member, ``put`` with weight 0 marks the server ``down``, and a
    positive weight marks it up again.  The requests and failures that were counted are kept.
    """

    takes_backups: ClassVar[bool]
    """True if the method allows backup servers."""

    def __init__(self, servers: Iterable[Server | str] | Mapping[str, float] = ()) -> None:
        self._peers: dict[str, Peer] = {}
        self._now: float = -LATEST
        super().__init__()
        if isinstance(servers, Mapping | str | bytes):
            weights = as_weights(cast("Mapping[str, float]", servers))
            for address, weight in weights.items():
                self.put(address, weight)
        else:
            for server in servers:
                self.add(server if isinstance(server, Server) else Server(server))
        if self._peers and all(peer.server.backup for peer in self._peers.values()):
            raise InvalidSetting("servers must include at least one that is no backup")

    def add(self, server: Server) -> None:
        """Add a server with its parameters; O(1).

        Raises DuplicateBackend if the address is already a member.  Raises InvalidSetting for a
        backup if the method does not allow backups.
        """
        if server.address in self._peers:
            raise DuplicateBackend(f"{shown(server.address)} is already a server")
        if server.backup and not self.takes_backups:
            raise InvalidSetting(
                f"{type(self).__name__} allows no backup servers, "
                f"and {shown(server.address)} is one"
            )
        self._peers[server.address] = Peer(server)
        try:
            self.put(server.address, 0 if server.down else server.weight)
        except BalancersError:
            del self._peers[server.address]
            raise

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the server of a request.  For a retry, pass the tried servers in ``avoid``.

        ``now`` is rounded down to whole seconds, like the clock of nginx.
        Raises NoBackendAvailable.  Its ``retry_at`` is the first time when one of the failing
        servers can be tried again.
        """
        return self._pick(key, now, avoid)

    def _pick(self, key: Key | None, now: float, avoid: Collection[str]) -> str:
        self._now = valid_now(now, self._now)
        second = self._now // 1
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        peer = self._choose(key, second, avoid)
        if peer is None:
            raise self._refusal(second)
        peer.picked(second)
        return peer.server.address

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        """Return the servers of ``n`` attempts, each with all before it in ``avoid``.

        This takes one turn, that of the first server.  If fewer servers can be picked, all of them
        are returned; O(servers · log servers).
        Raises what :meth:`pick` raises, and InvalidSetting unless ``n`` is an int of 1 or more.
        """
        at_least(1, n=n)
        return self._plan(n, key, now, avoid)

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts; O(1).

        The call has no effect if the server is not a member.
        """
        if backend in self._peers:
            self._peers[backend].conns += 1

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends; O(1).

        The call has no effect if the server is not a member or has no request in flight.  Pass a
        failure as the outcome if ``proxy_next_upstream`` defines the result as a failure.  If there
        is only one server, its failures are not counted.
        """
        peer = self._peers.get(backend)
        if peer is None or not peer.conns:
            return
        self._now = valid_now(now, self._now)
        peer.conns -= 1
        if outcome.ok:
            peer.succeeded()
        elif outcome.ok is not None and len(self._peers) > 1:
            peer.failed(self._now // 1)

    def _plan(self, n: int, key: Key | None, now: float, avoid: Collection[str]) -> list[str]:
        self._now = valid_now(now, self._now)
        avoid = checked_avoid(avoid)
        usable = self._in_order(key, self._now // 1, avoid)
        ranked = [peer.server.address for peer in islice(usable, min(n, len(self._peers)))]
        self._pick(key, now, avoid)
        return ranked

    def _in_order(self, key: Key | None, second: float, avoid: Collection[str]) -> Iterator[Peer]:
        """Yield the usable servers, each as it is chosen without those before it.

        Nothing changes.  Backups come last.
        """
        for backup in (False, True):
            yield from self._ranked(self._usable_ones(backup, second, avoid))

    def _usable_ones(self, backup: bool, second: float, avoid: Collection[str]) -> list[Peer]:
        return [
            peer
            for peer in self._peers.values()
            if peer.server.backup is backup and self._usable(peer, second, avoid)
        ]

    def _ranked(self, usable: list[Peer]) -> list[Peer]:
        """Return the servers in the order in which :meth:`_choose_from` would choose them."""
        return sorted(usable, key=next_current_weight, reverse=True)

    def _choose(self, key: Key | None, second: float, avoid: Collection[str]) -> Peer | None:
        """Return one of the usable servers; O(n).

        If no server is usable, a usable backup is returned.  If there is none, None is returned.
        """
        for backup in (False, True):
            usable = self._usable_ones(backup, second, avoid)
            if usable:
                return self._choose_from(usable)
        return None

    def _choose_from(self, usable: list[Peer]) -> Peer:
        """Return one of the usable servers.

        Round robin chooses it, unless a subclass overrides this method.
        """
        return smooth_round_robin(usable)

    def _usable(self, peer: Peer, second: float, avoid: Collection[str]) -> bool:
        return not (
            peer.down
            or (avoid and peer.server.address in avoid)
            or peer.full()
            or (peer.failing(second) and len(self._peers) > 1)
        )

    def _refusal(self, second: float) -> NoBackendAvailable:
        counts: Counter[str] = Counter()
        retry_at = inf
        for peer in self._peers.values():
            if peer.down:
                counts["quiesced"] += 1
                continue
            failing = peer.failing(second)
            counts["failing"] += failing
            counts["saturated"] += peer.full()
            counts["avoided"] += not failing and not peer.full()
            if failing:
                retry_at = min(retry_at, peer.checked + peer.server.fail_timeout + 1)
        counts = +counts  # without zeros
        return NoBackendAvailable(shared_reason(counts, len(self._peers)), dict(counts), retry_at)

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        if new is None:
            del self._peers[backend]
            return
        weight = whole_weight(backend, new)
        peer = self._peers.get(backend)
        if peer is None:
            peer = self._peers[backend] = Peer(Server(backend))
        if weight not in (0, peer.weight):
            peer.weight = peer.effective_weight = weight
        peer.down = not weight
