"""Describes a ``server`` directive of nginx, and keeps the state of one server."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from math import inf
from typing import Any

from balancers._internal.checks import at_least, check_flags, shown
from balancers.errors import InvalidSetting

__all__ = ["Peer", "Server", "next_current_weight", "smooth_round_robin"]


@dataclass(frozen=True, slots=True)
class Server:
    """Describes one ``server`` line of the configuration.

    ``address`` is the address as written in the configuration.  The parameters have the defaults of
    nginx.  A server is not picked while it has ``max_conns`` requests in flight.  If ``max_conns``
    is 0, there is no limit.  After ``max_fails`` failures, a server is not picked for
    ``fail_timeout`` whole seconds.  If ``max_fails`` is 0, failures have no effect.  A ``backup``
    is picked only if none of the other servers can be picked.  A server that is ``down`` is not
    picked.

    >>> Server("10.0.0.1:80", weight=5, backup=True).max_fails
    1

    Raises InvalidSetting for the values that nginx refuses, for example an empty address or a
    weight of 0.  Raises TypeError for an address that is not a str.
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
            raise TypeError(
                f"address must be a str, as in the configuration, not {shown(self.address)}"
            )
        if not self.address or not self.address.isprintable():
            raise InvalidSetting(
                f"address must be printable and not empty, not {shown(self.address)}"
            )
        at_least(1, weight=self.weight)
        at_least(
            0, max_conns=self.max_conns, max_fails=self.max_fails, fail_timeout=self.fail_timeout
        )
        check_flags(backup=self.backup, down=self.down)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Server":
        return self  # it never changes


class Peer:
    """Keeps the state of one server: its weights, requests and failures.

    All times are in whole seconds.
    """

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
        self.server: Server = server
        self.weight: int = server.weight
        self.down: bool = server.down
        self.effective_weight: int = server.weight
        """The weight that round robin uses.

        Each failure reduces it.  Each round-robin step adds 1, until ``weight`` is reached."""
        self.current_weight: int = 0
        self.conns: int = 0
        self.fails: int = 0
        self.accessed: float = -inf
        """The time of the last failure."""
        self.checked: float = -inf
        """The time of the last failure or trial request, whichever was later."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Peer":
        return copy(self)  # numbers, and a server that never changes

    def full(self) -> bool:
        """Return whether ``max_conns`` requests are in flight."""
        return 0 < self.server.max_conns <= self.conns

    def failing(self, second: float) -> bool:
        """Return whether the server must not be picked because of failures.

        This is so after ``max_fails`` failures, if the last failure or trial request was at most
        ``fail_timeout`` seconds ago.
        """
        max_fails = self.server.max_fails
        return 0 < max_fails <= self.fails and second - self.checked <= self.server.fail_timeout

    def picked(self, second: float) -> None:
        """Called when the server is picked.

        After ``fail_timeout`` seconds, one pick is allowed.  Its request is the trial request.
        """
        if second - self.checked > self.server.fail_timeout:
            self.checked = second

    def failed(self, second: float) -> None:
        """Called when a request fails.  The failure is counted."""
        self.fails += 1
        self.accessed = self.checked = second
        if self.server.max_fails:
            reduction = self.weight // self.server.max_fails
            self.effective_weight = max(0, self.effective_weight - reduction)

    def succeeded(self) -> None:
        """Called when a request succeeds.

        If there was a trial request after the last failure, the number of failures becomes 0.
        """
        if self.accessed < self.checked:
            self.fails = 0


def next_current_weight(peer: Peer) -> int:
    """Return the current weight that the next step of :func:`smooth_round_robin` compares."""
    return peer.current_weight + peer.effective_weight


def smooth_round_robin(peers: Sequence[Peer]) -> Peer:
    """Return the next peer by the smooth weighted round robin of nginx; O(n).

    In each step, every peer adds its effective weight to a counter, its current weight.  The peer
    with the greatest current weight is returned.  It then subtracts the sum of the effective
    weights from its own current weight.  :class:`~balancers.WeightedRoundRobin` uses the same
    method.  Here each step also adds 1 to an effective weight that failures have reduced.  If
    several peers have the greatest current weight, the first one is returned.  There must be at
    least one peer.
    """
    for peer in peers:
        peer.current_weight += peer.effective_weight
    best = max(peers, key=lambda peer: peer.current_weight)
    best.current_weight -= sum(peer.effective_weight for peer in peers)
    for peer in peers:
        peer.effective_weight = min(peer.weight, peer.effective_weight + 1)
    return best
