"""Picks servers without a key, as round robin and ``least_conn`` of nginx do.

These methods allow backup servers.
"""

from fractions import Fraction

from balancers.errors import UnknownBackend
from balancers.interop.nginx.server import Peer, smooth_round_robin
from balancers.interop.nginx.upstream import Upstream

__all__ = ["LeastConn", "RoundRobin"]


class RoundRobin(Upstream):
    """Picks what nginx 1.22.1 picks by default, by smooth weighted round robin.

    nginx uses this method if the ``upstream`` block names no other method.  Without failures, the
    sequence of picks is the same as that of :class:`~balancers.WeightedRoundRobin`.

    >>> upstream = RoundRobin({"a:80": 5, "b:80": 1, "c:80": 1})
    >>> "".join(upstream.pick()[0] for _ in range(7))
    'aabacaa'

    Cost: ``pick`` O(n).
    """

    takes_backups = True


class LeastConn(Upstream):
    """Picks what ``least_conn`` of nginx 1.22.1 picks.

    For each server, the number of requests in flight is divided by the weight.  The server with the
    smallest result is picked.  A tie is decided by round robin among the tied servers.  Without
    failures, the sequence of picks is the same as that of
    :class:`~balancers.WeightedLeastConnections`.

    >>> upstream = LeastConn(["a:80", "b:80"])
    >>> upstream.started(upstream.pick())
    >>> upstream.pick(), upstream.pick()
    ('b:80', 'b:80')

    Cost: ``pick`` O(n).
    """

    takes_backups = True

    def load_of(self, backend: str, now: float = 0.0) -> float:
        """Return the number of requests in flight on a member; O(1).  Raises UnknownBackend."""
        if backend not in self._peers:
            raise UnknownBackend(backend)
        return self._peers[backend].conns

    def _ranked(self, usable: list[Peer]) -> list[Peer]:
        return sorted(super()._ranked(usable), key=lambda peer: Fraction(peer.conns, peer.weight))

    def _choose_from(self, usable: list[Peer]) -> Peer:
        best, tied = usable[0], usable[:1]
        for peer in usable[1:]:
            difference = peer.conns * best.weight - best.conns * peer.weight
            if difference < 0:
                best, tied = peer, [peer]
            elif not difference:
                tied.append(peer)
        return smooth_round_robin(tied) if len(tied) > 1 else best
