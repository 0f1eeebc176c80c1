"""An ``upstream`` block: servers, their failures, and the backups that stand in for them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import ClassVar, cast

from balancers._internal.checks import LATEST, as_weights, checked_avoid, valid_now
from balancers.balancer import Key
from balancers.errors import (
    BalancersError,
    DuplicateBackend,
    InvalidSetting,
    InvalidWeight,
    NoBackendAvailable,
)
from balancers.interop.nginx.server import Peer, Server, smooth
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Upstream"]


class Upstream(Membership[str]):
    """What nginx's methods share; a subclass defines :meth:`_best` or :meth:`_chosen`.

    Backends are the servers' texts.  They come as :class:`Server`, as text, or as a mapping to
    weights; ``put`` adds one with nginx's defaults, and marks one ``down`` or up again (0, or its
    weight), which keeps all that is known of it.  Weights are whole numbers.
    """

    takes_backups: ClassVar[bool]

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
            raise InvalidSetting("no servers: all of them are backups")

    def add(self, server: Server) -> None:
        """Add a server with its parameters; O(1).

        Raises DuplicateBackend; InvalidSetting for a backup where the method takes none.
        """
        if server.address in self._peers:
            raise DuplicateBackend(f"{server.address!r} is a server already")
        if server.backup and not self.takes_backups:
            raise InvalidSetting(f"{type(self).__name__} takes no backup: {server.address!r}")
        self._peers[server.address] = Peer(server)
        try:
            self.put(server.address, 0 if server.down else server.weight)
        except BalancersError:
            del self._peers[server.address]
            raise

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Choose a server for a request, or for its retry: ``avoid`` the servers tried.

        ``now`` counts in whole seconds, as nginx's clock does.
        Raises NoBackendAvailable, which says when the first failing server may be tried again.
        """
        self._now = valid_now(now, self._now)
        second = self._now // 1
        peer = self._chosen(key, second, checked_avoid(avoid) if avoid else ())
        if peer is None:
            raise self._refused(second, avoid)
        peer.chosen(second)
        return peer.server.address

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        """Count a request in flight; O(1).  A stranger is ignored."""
        if backend in self._peers:
            self._peers[backend].conns += 1

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Hear how a request went; O(1).  A stranger, or one more than began, is ignored.

        A failure is what ``proxy_next_upstream`` calls one.  An only server is never marked.
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

    def _chosen(self, key: Key | None, second: float, avoid: Collection[str]) -> Peer | None:
        """Choose among the servers, or else among the backups; O(n)."""
        for backup in (False, True):
            usable = [
                peer
                for peer in self._peers.values()
                if peer.server.backup is backup and self._usable(peer, second, avoid)
            ]
            if usable:
                return self._best(usable)
        return None

    def _best(self, usable: list[Peer]) -> Peer:
        """Choose among those that can serve: round robin."""
        return smooth(usable)

    def _usable(self, peer: Peer, second: float, avoid: Collection[str]) -> bool:
        return not (
            peer.down
            or (avoid and peer.server.address in avoid)
            or peer.full()
            or (peer.failing(second) and len(self._peers) > 1)
        )

    def _refused(self, second: float, avoid: Collection[str]) -> NoBackendAvailable:
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
        told = {why: count for why, count in counts.items() if count}
        shared = [why for why, count in told.items() if count == len(self._peers)]
        reason = (shared[0] if shared else "mixed") if told else "empty"
        return NoBackendAvailable(reason, told, retry_at)

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        if new is None:
            del self._peers[backend]
            return
        if not isinstance(new, int):
            raise InvalidWeight(f"nginx weighs in whole numbers: {backend!r}, {new!r}")
        peer = self._peers.get(backend)
        if peer is None:
            peer = self._peers[backend] = Peer(Server(backend))
        if new not in (0, peer.weight):
            peer.weight = peer.effective = new
        peer.down = not new
