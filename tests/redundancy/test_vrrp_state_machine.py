"""A virtual router does in every order of events what an independent model does."""

import copy
import pickle
from fractions import Fraction
from ipaddress import ip_address
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from balancers.redundancy.vrrp import (
    Action,
    Announce,
    Install,
    Send,
    StateChanged,
    VirtualRouter,
    Withdraw,
    decode,
)
from tests.depth import runs
from tests.redundancy.plain_router import PlainRouter
from tests.redundancy.vrrp_packets import advert

SOURCES = {
    4: ("10.77.0.2", ["10.77.0.1", "10.77.0.3", "9.255.255.255", "200.0.0.1"]),
    6: ("fe80::2", ["fe80::1", "fe80::3", "fe80::ffff:ffff:ffff:1", "fe80:0:0:1::"]),
}
ADDRESSES = {4: ["10.77.0.100", "10.77.0.101"], 6: ["fe80::77", "fd77::100"]}
PRIORITIES = st.sampled_from([0, 1, 99, 100, 101, 150, 254, 255])
OWN = st.sampled_from([1, 99, 100, 101, 254, 255])
CENTISECONDS = st.sampled_from([25, 50, 100, 200])  # their timers are exact as floats
STEPS = st.integers(0, 6 * 1024).map(lambda steps: steps / 1024)


def described(actions: tuple[Action, ...], addresses: int) -> list[str]:
    """Return actions in the words of the model: one word for all addresses."""
    found: list[str] = []
    for action in actions:
        if isinstance(action, Send):
            content = decode(action.datagram)
            suffix = f" {content.interval_cs}" if content.priority else ""
            found.append(f"send {content.priority}{suffix}")
        elif isinstance(action, StateChanged):
            found.append(f"{action.before} to {action.after}")
        else:
            found.append(type(action).__name__.lower())
    for kind in (Install, Announce, Withdraw):
        for_each = [action.address for action in actions if isinstance(action, kind)]
        assert len(for_each) in {0, addresses}
        assert len(set(for_each)) == len(for_each)
    return list(dict.fromkeys(found))


class Routers(RuleBasedStateMachine):
    @initialize(
        family=st.sampled_from([4, 6]),
        priority=OWN,
        cs=CENTISECONDS,
        preempt=st.booleans(),
        delay=st.sampled_from([0.0, 0.5, 3.0]),
        answers=st.booleans(),
        started=st.sampled_from([True, True, True, False]),
    )
    def begin(
        self,
        family: int,
        priority: int,
        cs: int,
        preempt: bool,
        delay: float,
        answers: bool,
        started: bool,
    ) -> None:
        delay = delay if preempt else 0.0
        self.family = family
        self.source, self.others = SOURCES[family]
        self.now = 0.0
        self.router = VirtualRouter(
            51,
            ADDRESSES[family],
            self.source,
            priority=priority,
            interval=cs / 100,
            preempt=preempt,
            preempt_delay=delay,
            answer_lower=answers,
        )
        own = int(ip_address(self.source))
        self.plain = PlainRouter(own, priority, cs, preempt, Fraction(delay), answers)
        if started:
            self.start()

    def agree(self, actions: tuple[Action, ...], expected: list[str]) -> None:
        assert described(actions, len(ADDRESSES[self.family])) == expected

    @rule(step=STEPS)
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule()
    def the_timer_fires(self) -> None:
        if self.now < self.router.due < inf:
            self.now = self.router.due
            self.timer(0.0)

    @rule()
    def start(self) -> None:
        self.agree(self.router.startup(self.now), self.plain.startup(Fraction(self.now)))

    @rule()
    def stop(self) -> None:
        self.agree(self.router.shutdown(self.now), self.plain.shutdown())

    @rule(up=st.booleans())
    def carrier(self, up: bool) -> None:
        self.agree(self.router.link(up, self.now), self.plain.link(up, Fraction(self.now)))

    @rule(earlier=st.sampled_from([0.0, 1.0, 1e9]))
    def timer(self, earlier: float) -> None:
        self.router.snapshot(self.now)
        late = self.plain.tick(Fraction(self.now))
        self.agree(self.router.tick(self.now), late)
        assert self.router.tick(self.now - earlier) == ()

    @rule(priority=PRIORITIES, cs=CENTISECONDS, other=st.integers(0, 3), more=st.booleans())
    def advertisement(self, priority: int, cs: int, other: int, more: bool) -> None:
        source = self.others[other]
        addresses = ADDRESSES[self.family]
        given = [*reversed(addresses)] if more and self.family == 4 else addresses[: 2 - more]
        datagram = advert(source, given, priority=priority, cs=cs)
        before = dict(self.router.notices)
        actions = self.router.receive(datagram, self.now)
        if self.plain.state == "init":
            self.agree(actions, [])
            return
        differs = len(given) != len(addresses)
        assert self.router.notices["addresses differ"] - before["addresses differ"] == differs
        differs = cs != self.plain.own_cs
        assert self.router.notices["interval differs"] - before["interval differs"] == differs
        value = int(ip_address(source))
        self.agree(actions, self.plain.advert(Fraction(self.now), priority, cs, value))

    @rule(
        change=st.sampled_from(
            [
                ("hop limit", {"hop_limit": 254}),
                ("version", {"first": 0x21}),
                ("type", {"first": 0x32}),
                ("truncated", {"count": 9}),
                ("trailing bytes", {"count": 1}),
                ("vrid", {"vrid": 52}),
                ("interval", {"cs": 0}),
            ]
        ),
        priority=PRIORITIES,
    )
    def bad_packet(self, change: tuple[str, dict[str, int]], priority: int) -> None:
        reason, fields = change
        fields = {"priority": priority} | fields
        datagram = advert(self.others[1], ADDRESSES[self.family], **fields)  # type: ignore[arg-type]  # of ints
        before, drops = self.router.snapshot(self.now), dict(self.router.drops)
        assert self.router.receive(datagram, self.now) == ()
        assert self.router.snapshot(self.now) == before
        assert dict(self.router.drops) == drops | {reason: drops[reason] + 1}

    @rule(priority=OWN, cs=CENTISECONDS)
    def change(self, priority: int, cs: int) -> None:
        actions = self.router.reconfigure(self.now, priority=priority, interval=cs / 100)
        self.agree(actions, self.plain.change(Fraction(self.now), priority, cs))

    @rule(how=st.sampled_from(["copy", "deepcopy", "pickle", "snapshot"]))
    def replace_by_a_copy(self, how: str) -> None:
        before = self.router.snapshot(self.now)
        if how == "snapshot":
            self.router.startup(self.now)
            self.router.link(False, self.now)
            self.router.restore(before, self.now)
        elif how == "pickle":
            self.router = pickle.loads(pickle.dumps(self.router))  # noqa: S301 - of this test
        else:
            self.router = getattr(copy, how)(self.router)
        assert hash(self.router.snapshot(self.now)) == hash(before)
        assert self.router.snapshot(self.now) == before

    @invariant()
    def same_state(self) -> None:
        timer = self.plain.timer
        assert self.router.state == self.plain.state
        # a snapshot does not contain for how long a timer has been due
        due = inf if timer is None else max(timer, self.now)
        assert max(self.router.due, self.now) == due
        assert round(self.router.active_interval * 100) == self.plain.active_cs


TestRouters = Routers.TestCase
TestRouters.settings = settings(max_examples=runs(1000), stateful_step_count=40, deadline=None)
