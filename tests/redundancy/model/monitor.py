"""What the election promises, as clocks that are compared with bounds whenever time passes.

A router is *well* while it runs: it has not crashed, is not shut down, and is not frozen.
"""

from math import inf

from balancers.redundancy.vrrp import OWNER, down_interval, skew_time
from tests.redundancy.model.scenarios import Scenario

__all__ = ["NONE", "PROMISES", "Broken", "Monitor"]

PROMISES = ("two active", "none active", "a lower one active")
NONE = inf
"""Stands for a clock that does not run."""
SLACK = 1e-9
"""Rounding of the times of seeded runs; those of the search are exact."""


class Broken(AssertionError):
    """Raised when a promise is broken."""


class Monitor:
    """Follows the routers of a scenario.  All times are absolute, in seconds.

    ``quiet[i]``: since when router i has been a well backup while no well router was active.
    ``latest[i]``: by when it must be active, or one that it respects.  ``earliest[i]``: before this
    time, it must not become active.  ``learned[i]``: the interval of the active router.
    ``sent[i]``: when it sent its last advertisement.  ``woken[i]``: when it started or was woken.
    ``both[k]``: since when the pair k has been active, and no packet of the winner was lost.
    ``pair[k]``: since when it has been active, and ``lost[k]``: how many packets were lost since.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.places = range(len(scenario.peers))
        self.pairs = [
            (one, other) for one in self.places for other in self.places
            if scenario.beats(one, other)
        ]  # fmt: skip
        self.respected = [
            [other for other in self.places if other != one and scenario.respects(one, other)]
            for one in self.places
        ]
        self.exact = [not peer.preempt_delay for peer in scenario.peers]
        """Whether the earliest time for becoming active is also the latest."""
        self.intervals = [peer.interval for peer in scenario.peers]
        self.quiet_bounds = [scenario.none_bound(place) for place in self.places]
        self.lower_bounds = [scenario.lower_bound(place) for place in self.places]
        self.two_bounds = [
            [scenario.two_bound(winner, lost) for lost in range(64)] for winner, _ in self.pairs
        ]
        self.counts = False
        """Whether packets are counted that are lost while two are active."""
        self.longest: dict[tuple[str, int], float] = {}
        """The longest time that was seen, for each promise and number of lost packets."""
        self.worst: dict[str, float] = {}
        """The longest time that was seen for each promise, as a part of its bound."""
        self.clear()

    def clear(self) -> None:
        places = self.places
        self.quiet = [NONE for _ in places]
        self.latest = [NONE for _ in places]
        self.earliest = [-inf for _ in places]
        self.sent = [0.0 for _ in places]
        self.woken = [0.0 for _ in places]
        self.learned = list(self.intervals)
        self.both = [NONE for _ in self.pairs]
        self.pair = [NONE for _ in self.pairs]
        self.lost = [0 for _ in self.pairs]

    def settle(self, now: float, active: list[bool], backup: list[bool]) -> None:
        """Start and stop the clocks after something has happened.  Only well routers count."""
        some = any(active)
        for place in self.places:
            if not backup[place]:
                self.quiet[place] = self.latest[place] = NONE
                continue
            if some:
                self.quiet[place] = NONE
            elif self.quiet[place] == NONE:
                self.quiet[place] = now
            for other in self.respected[place]:
                if active[other]:
                    self.latest[place] = NONE
                    break
            else:
                if self.latest[place] == NONE:
                    self.latest[place] = now + self.lower_bounds[place]
        self._settle_pairs(now, active)

    def _settle_pairs(self, now: float, active: list[bool]) -> None:
        for number, (winner, loser) in enumerate(self.pairs):
            if not (active[winner] and active[loser]):
                self.both[number] = self.pair[number] = NONE
                self.lost[number] = 0
            elif self.both[number] == NONE:
                self.both[number] = self.pair[number] = now

    def pass_time(self, now: float, until: float, active: list[bool], backup: list[bool]) -> None:
        """Compare every clock with its bound at the time ``until``, which is about to come."""
        for place in self.places:
            if backup[place] and self.exact[place]:
                late = until - max(self.earliest[place], now)
                if late > SLACK:
                    raise Broken(f"the down timer of router {place} is {late} s late")
            since = self.quiet[place]
            if since != NONE:
                self._compare("none active", 0, until - since, self.quiet_bounds[place])
            if self.latest[place] != NONE:
                bound = self.lower_bounds[place]
                since = self.latest[place] - bound
                self._compare("a lower one active", 0, until - since, bound)
            if active[place]:
                silent = until - max(self.sent[place], self.woken[place])
                if silent > self.intervals[place] + SLACK:
                    raise Broken(f"active router {place} has sent nothing for {silent} s")
        self._pass_pairs(until)

    def _pass_pairs(self, until: float) -> None:
        for number, since in enumerate(self.both):
            if since != NONE:
                bounds, lost = self.two_bounds[number], self.lost[number]
                self._compare("two active", 0, until - since, bounds[0])
                if self.counts and lost:
                    self._compare("two active", lost, until - self.pair[number], bounds[lost])

    def _compare(self, promise: str, lost: int, seconds: float, bound: float) -> None:
        if seconds > self.longest.get((promise, lost), 0.0):
            self.longest[promise, lost] = seconds
            self.worst[promise] = max(seconds / bound, self.worst.get(promise, 0.0))
        if seconds > bound + SLACK:
            raise Broken(f"{promise} for {seconds} s, {lost} packets lost; the bound is {bound} s")

    def lose(self, sender: int, receiver: int, now: float) -> None:
        """Note that the network loses a packet."""
        if self.scenario.beats(sender, receiver):
            number = self.pairs.index((sender, receiver))
            if self.both[number] != NONE:
                self.both[number] = now
                self.lost[number] += 1

    def starts(self, place: int, now: float) -> None:
        """Note that a router starts: as a backup, it waits for a down interval of its own."""
        peer = self.scenario.peers[place]
        self.woken[place] = now
        self.learned[place] = peer.interval
        self.earliest[place] = now + down_interval(peer.priority, peer.interval)
        if peer.priority == OWNER:
            self.earliest[place] = now

    def hears(self, place: int, sender: int, priority: int, interval: float, now: float) -> None:
        """Note an advertisement that a backup receives: when may it become active now?

        ``priority`` is 0 for a resignation, else that of the sender.
        """
        own = self.scenario.peers[place]
        if not priority:
            skew = skew_time(own.priority, self.learned[place])
            self.earliest[place] = now + skew
            if self.latest[place] != NONE:
                self.latest[place] = max(self.latest[place], now + skew)
        elif self.scenario.respects(place, sender):
            self.learned[place] = interval
            self.earliest[place] = now + down_interval(own.priority, interval)
        elif own.preempt_delay:  # it may be accepted
            self.learned[place] = min(interval, self.learned[place])
            down = down_interval(own.priority, interval)
            self.earliest[place] = min(self.earliest[place], now + down)

    def takes_over(self, place: int, now: float) -> None:
        if now < self.earliest[place] - SLACK:
            early = self.earliest[place] - now
            raise Broken(f"router {place} becomes active {early} s too early")
        self.learned[place] = self.intervals[place]

    def sends(self, place: int, now: float, timer: bool) -> None:
        """Note an advertisement.  ``timer``: that of an active router, and not an answer."""
        if timer and now - self.sent[place] < self.intervals[place] - SLACK:
            raise Broken(f"router {place} sends {now - self.sent[place]} s after the last time")
        self.sent[place] = now

    def yields(self, place: int, sender: int, interval: float, now: float) -> None:
        if not self.scenario.beats(sender, place):
            raise Broken(f"router {place} yields to router {sender}, which it beats")
        self.learned[place] = interval
        own = self.scenario.peers[place].priority
        self.earliest[place] = now + down_interval(own, interval)
