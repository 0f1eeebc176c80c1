"""A ``server`` directive, and the state of a server in nginx."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from balancers._internal.checks import at_least
from balancers.errors import InvalidSetting
from balancers.interop.flags import check_flags

__all__ = ["Peer", "Server", "smooth_round_robin"]


@dataclass(frozen=True, slots=True)
class Server:
    """One ``server`` line: the address as written, and the parameters with the defaults of nginx.

    ``max_conns`` requests in flight close the server; 0 sets no limit.  ``max_fails`` failures
    close it for ``fail_timeout`` whole seconds; 0 turns this off.  A ``backup`` serves when no
    other server can.

    >>> Server("10.0.0.1:80", weight=5, backup=True).max_fails
    1

    Raises InvalidSetting for the values that nginx refuses, for example an empty address or a
    weight of 0; TypeError for an address that is no str.
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
            raise TypeError(f"address must be a str, as in the configuration, not {self.address!r}")
        if not self.address or not self.address.isprintable():
            raise InvalidSetting(f"address must be printable and not empty, not {self.address!r}")
        at_least(1, weight=self.weight)
        at_least(
            0, max_conns=self.max_conns, max_fails=self.max_fails, fail_timeout=self.fail_timeout
        )
        check_flags(backup=self.backup, down=self.down)


class Peer:
    """The state of a server; times are whole seconds."""

    __slots__ = (
        "accessed",
        "checked",
        "conns",
        "current_weight",
        "down",
        "effective_weight",
        "fails",
        "server",
        "weight",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.weight = server.weight
        self.down = server.down
        self.effective_weight = server.weight
        """Reduced by failures; each round-robin step after that adds 1, up to the weight."""
        self.current_weight = 0
        self.conns = 0
        self.fails = 0
        self.accessed = self.checked = -inf
        """The time of the last failure, and of the last failure or trial request."""

    def full(self) -> bool:
        """Return whether ``max_conns`` requests are in flight."""
        return 0 < self.server.max_conns <= self.conns

    def failing(self, second: float) -> bool:
        """Return whether there were ``max_fails`` failures, and the last or a trial is recent."""
        max_fails = self.server.max_fails
        return 0 < max_fails <= self.fails and second - self.checked <= self.server.fail_timeout

    def picked(self, second: float) -> None:
        """Called on a pick.  After ``fail_timeout``, one pick is allowed as a trial."""
        if second - self.checked > self.server.fail_timeout:
            self.checked = second

    def failed(self, second: float) -> None:
        """Count a failure."""
        self.fails += 1
        self.accessed = self.checked = second
        if self.server.max_fails:
            reduction = self.weight // self.server.max_fails
            self.effective_weight = max(0, self.effective_weight - reduction)

    def succeeded(self) -> None:
        """Reset the failures if there was a trial request after the last one."""
        if self.accessed < self.checked:
            self.fails = 0


def smooth_round_robin(peers: Sequence[Peer]) -> Peer:
    """Return the next peer by the smooth weighted round robin of nginx; O(n).

    It is that of :class:`~balancers.WeightedRoundRobin`, with effective weights that recover from
    failures step by step.  A tie goes to the first peer.  There must be at least one peer.
    """
    for peer in peers:
        peer.current_weight += peer.effective_weight
    best = max(peers, key=lambda peer: peer.current_weight)
    best.current_weight -= sum(peer.effective_weight for peer in peers)
    for peer in peers:
        peer.effective_weight = min(peer.weight, peer.effective_weight + 1)
    return best
