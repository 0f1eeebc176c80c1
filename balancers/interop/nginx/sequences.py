"""Round robin and ``least_conn``: the methods without a key, with backup servers."""

from balancers.interop.nginx.server import Peer, smooth
from balancers.interop.nginx.upstream import Upstream

__all__ = ["LeastConn", "RoundRobin"]


class RoundRobin(Upstream):
    """No directive: smooth weighted round robin, that of nginx 1.22.1.

    While nothing fails, the sequence of :class:`~balancers.WeightedRoundRobin`.

    >>> upstream = RoundRobin({"a:80": 5, "b:80": 1, "c:80": 1})
    >>> "".join(upstream.pick()[0] for _ in range(7))
    'aabacaa'

    Cost: ``pick`` O(n).
    """

    takes_backups = True


class LeastConn(Upstream):
    """``least_conn``: the fewest in flight for its weight, that of nginx 1.22.1.

    Ties take a turn of round robin among the tied.  While nothing fails, the sequence of
    :class:`~balancers.WeightedLeastConnections`.

    >>> upstream = LeastConn(["a:80", "b:80"])
    >>> upstream.started(upstream.pick())
    >>> upstream.pick(), upstream.pick()
    ('b:80', 'b:80')

    Cost: ``pick`` O(n).
    """

    takes_backups = True

    def _best(self, usable: list[Peer]) -> Peer:
        best, tied = usable[0], usable[:1]
        for peer in usable[1:]:
            busier = peer.conns * best.weight - best.conns * peer.weight
            if busier < 0:
                best, tied = peer, [peer]
            elif not busier:
                tied.append(peer)
        return smooth(tied) if len(tied) > 1 else best
