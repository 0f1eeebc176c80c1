"""The settings of the routers under the model check, and the bounds that follow from them.

All times are multiples of powers of two, so that sums of them are exact as floats, and equal states
are equal in every bit.
"""

from dataclasses import dataclass, field

from balancers.redundancy.vrrp import (
    OWNER,
    VirtualRouter,
    down_interval,
    longest_with_two_actives,
    longest_without_active,
)

__all__ = ["THREE", "TWO", "Peer", "Scenario"]


@dataclass(frozen=True)
class Peer:
    """The settings of one router."""

    priority: int
    interval: float = 1.0
    preempt: bool = True
    preempt_delay: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """Routers, and the longest time that a packet takes.

    The address of a router grows with its place in ``peers``.
    """

    name: str
    peers: tuple[Peer, ...]
    delay: float = 0.0625
    answer_lower: bool = True
    halves: bool = True
    """Whether events also happen halfway between two things that happen by themselves, late packets
    also before their latest time, and events of routers also while a packet arrives."""
    longest: float = field(init=False)
    """The longest interval."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest", max(peer.interval for peer in self.peers))

    def routers(self, make: type[VirtualRouter]) -> list[VirtualRouter]:
        return [
            make(
                51,
                ["10.0.0.100"],
                f"10.0.0.{place + 1}",
                priority=peer.priority,
                interval=peer.interval,
                preempt=peer.preempt,
                preempt_delay=peer.preempt_delay,
                answer_lower=self.answer_lower,
            )
            for place, peer in enumerate(self.peers)
        ]

    def beats(self, one: int, other: int) -> bool:
        """Whether a router stays active when both are active: a higher priority, then address."""
        peers = self.peers
        return (peers[one].priority, one) > (peers[other].priority, other)

    def respects(self, one: int, other: int) -> bool:
        """Whether a backup leaves another router active."""
        peer, rank = self.peers[one], self.peers[other].priority
        return rank >= peer.priority or (not peer.preempt and peer.priority != OWNER)

    def none_bound(self, one: int) -> float:
        """The longest time for which this router is a backup while no router is active."""
        return longest_without_active(self.peers[one].priority, self.longest, delay=self.delay)

    def lower_bound(self, one: int) -> float:
        """The longest time for which it is a backup while none is active that it respects."""
        peer = self.peers[one]
        bound = self.none_bound(one)
        if not peer.preempt_delay:
            return bound
        # A lower advertisement may start the delay just before the down timer fires.
        down = down_interval(peer.priority, self.longest)
        return bound + peer.preempt_delay + down

    def two_bound(self, winner: int, lost: int) -> float:
        """The longest time for which this router and one that it beats are active."""
        return longest_with_two_actives(self.peers[winner].interval, delay=self.delay, lost=lost)


HIGH, MIDDLE, LOW = 224, 192, 128

TWO = (
    Scenario("different priorities", (Peer(HIGH), Peer(LOW))),
    Scenario("equal priorities", (Peer(LOW), Peer(LOW))),
    Scenario("no pre-emption", (Peer(HIGH, preempt=False), Peer(LOW, preempt=False))),
    Scenario("an owner", (Peer(OWNER), Peer(LOW))),
    Scenario("different intervals", (Peer(HIGH, 0.5), Peer(LOW, 2.0))),
    Scenario("silent to lower priorities", (Peer(HIGH), Peer(LOW)), answer_lower=False),
    Scenario(
        "delays of one and a half intervals", (Peer(LOW), Peer(HIGH)), delay=1.5, halves=False
    ),
    Scenario("a delay of the pre-emption", (Peer(HIGH, preempt_delay=2.0), Peer(LOW))),
)
THREE = (
    Scenario("three priorities", (Peer(HIGH), Peer(MIDDLE), Peer(LOW)), halves=False),
    Scenario("two equal and a lower one", (Peer(LOW), Peer(HIGH), Peer(HIGH)), halves=False),
    Scenario(
        "three without pre-emption, silent",
        tuple(Peer(priority, preempt=False) for priority in (LOW, HIGH, HIGH)),
        answer_lower=False,
        halves=False,
    ),
)
