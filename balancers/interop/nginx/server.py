"""A ``server`` directive, and what nginx remembers of the server."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from balancers._internal.checks import at_least
from balancers.errors import InvalidSetting

__all__ = ["Peer", "Server", "smooth"]


@dataclass(frozen=True, slots=True)
class Server:
    """One ``server`` line: its text as it is written, and its parameters with nginx's defaults.

    ``max_conns`` requests in flight close it, 0 sets no limit.  ``max_fails`` failures close it for
    ``fail_timeout`` whole seconds, 0 never.  A ``backup`` serves when no other server can.

    >>> Server("10.0.0.1:80", weight=5, backup=True).max_fails
    1

    Raises InvalidSetting for what nginx refuses too: an empty text, a weight of 0.
    """

    address: str
    weight: int = 1
    max_conns: int = 0
    max_fails: int = 1
    fail_timeout: int = 10
    backup: bool = False
    down: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.address, str):
            raise TypeError(f"a server is its text in the configuration, not {self.address!r}")
        if not self.address or not self.address.isprintable():
            raise InvalidSetting(f"no text of a server: {self.address!r}")
        at_least(1, weight=self.weight)
        at_least(
            0, max_conns=self.max_conns, max_fails=self.max_fails, fail_timeout=self.fail_timeout
        )
        for name in ("backup", "down"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidSetting(f"{name} must be a bool, not {getattr(self, name)!r}")


class Peer:
    """A server's state; times are whole seconds."""

    __slots__ = (
        "accessed",
        "checked",
        "conns",
        "current",
        "down",
        "effective",
        "fails",
        "server",
        "weight",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.weight = server.weight
        self.down = server.down
        self.effective = server.weight
        """Lowered by failures, raised by 1 with each turn since."""
        self.current = 0
        self.conns = 0
        self.fails = 0
        self.accessed = self.checked = -inf
        """When a request last failed, and when it did or one was let through to see."""

    def full(self) -> bool:
        """Whether ``max_conns`` are in flight."""
        return 0 < self.server.max_conns <= self.conns

    def failing(self, second: float) -> bool:
        """Whether it failed too often, and too recently."""
        most = self.server.max_fails
        return 0 < most <= self.fails and second - self.checked <= self.server.fail_timeout

    def chosen(self, second: float) -> None:
        """Remember a request that sees whether the server is well again: only one goes through."""
        if second - self.checked > self.server.fail_timeout:
            self.checked = second

    def failed(self, second: float) -> None:
        """Count a failure."""
        self.fails += 1
        self.accessed = self.checked = second
        if self.server.max_fails:
            self.effective = max(0, self.effective - self.weight // self.server.max_fails)

    def succeeded(self) -> None:
        """Forget the failures, if they are older than the request that looked."""
        if self.accessed < self.checked:
            self.fails = 0


def smooth(peers: Sequence[Peer]) -> Peer:
    """Step nginx's smooth weighted round robin over one peer or more; O(n).

    That of :class:`~balancers.WeightedRoundRobin`, with weights that recover from failures by and
    by.  The first listed wins a tie.
    """
    for peer in peers:
        peer.current += peer.effective
    best = max(peers, key=lambda peer: peer.current)
    best.current -= sum(peer.effective for peer in peers)
    for peer in peers:
        peer.effective = min(peer.weight, peer.effective + 1)
    return best
