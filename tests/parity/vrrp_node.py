"""Drives one of our virtual routers with what a recorded node received, and compares.

The recorded program decides when its timers are served: a timer of ours is served when the program
sent its packet, and that time must be the right one.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from math import inf

from balancers.redundancy.vrrp import (
    Action,
    Announce,
    Install,
    Send,
    StateChanged,
    VirtualRouter,
    Withdraw,
)
from balancers.redundancy.vrrp.packet import Datagram
from tests.parity.vrrp_made import make, twin_of
from tests.parity.vrrp_recording import Config
from tests.parity.vrrp_rules import BUSY, OWNER_WAITS, RESTARTED

__all__ = ["TOLERANCE", "Mismatch", "Node"]

TOLERANCE = 0.3
"""The largest difference in seconds between a recorded time and ours."""
EARLY = (0.1, 0.4)
"""How much earlier than ours a timer may fire that does not count from the start of a program: so
many seconds, but at most this share of an interval."""
_ONE_MISSING = (0.97, 0.03)
"""A packet is missing if the next one is so many intervals to one interval and so many seconds
late."""
_SHORTEST = 0.05
"""With shorter intervals (seconds), a busy machine is as late as a whole interval."""


class Mismatch(Exception):
    """Raised when the recording and our router differ."""

    def __init__(self, time: float, text: str) -> None:
        super().__init__(f"at {time:.6f}: {text}")
        self.time = time


@dataclass
class Node:
    """The state of the comparison of one node.  ``router`` is None while its program is down."""

    configs: list[Config]
    states_recorded: bool
    announcements_recorded: bool
    thinned: bool
    """Whether only the first of equal packets was recorded."""
    signs: list[float]
    """When the program did anything, if it has several virtual routers."""
    router: VirtualRouter | None = None
    version: int = 0
    """Which of the settings are in use: each reload uses the next ones."""
    sent: deque[tuple[Datagram, float]] = field(default_factory=deque[tuple[Datagram, float]])
    """What our router sent and the program must have sent too."""
    ours: deque[tuple[str, float]] = field(default_factory=deque[tuple[str, float]])
    theirs: deque[tuple[str, float]] = field(default_factory=deque[tuple[str, float]])
    """Changes of the state that have no counterpart yet."""
    announced: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    """Addresses that our router announced and the program must have announced too."""
    takeovers: list[float] = field(default_factory=list[float])
    """When our router announced addresses."""
    installed: tuple[str, ...] = ()
    changed: float = -inf
    """When the addresses were installed or withdrawn the last time."""
    started: bool = False
    """Whether the running timer counts from a start, whose time is not exact."""
    rejected: float = -inf
    """When the active router rejected a packet, after its last own packet."""
    delay_end: float = inf
    """When the delay of the pre-emption ends."""
    incomplete: bool = False
    """Whether the program was reloaded or killed: then not all changes are recorded."""
    rules: dict[str, int] = field(default_factory=dict[str, int])
    compared: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def config(self) -> Config:
        """The settings in use."""
        return self.configs[self.version]

    def saved(self, now: float) -> "Node":
        """Return a copy that :meth:`resume` continues."""
        twin = copy(self)
        for name in ("sent", "ours", "theirs", "announced", "rules", "compared"):
            setattr(twin, name, copy(getattr(self, name)))
        if self.router is not None:
            twin.router = twin_of(self.router, self.config, now)
        return twin

    def rule(self, name: str) -> None:
        """Note that a deviation was recognised."""
        self.rules[name] = self.rules.get(name, 0) + 1

    def agree(self, kind: str) -> None:
        """Count a comparison that agrees."""
        self.compared[kind] = self.compared.get(kind, 0) + 1

    # The program starts and ends.

    def start(self, now: float, label: str) -> None:
        """Start our router when the program entered its first state, ``label``."""
        self.router = make(self.config)
        self.installed = ()
        self.sent.clear()
        if label == "FAULT":  # it starts without a link
            self.router.link(False, now)
            self.ours.append((label, now))
        actions = self.router.startup(now)
        if self.router.state == "active" and label == "BACKUP":
            self.rule(OWNER_WAITS)
            self._wait_as_backup(now)
            actions = (StateChanged("init", "backup", "startup"),)
        self.started = True
        self.act(actions, now)

    def _wait_as_backup(self, now: float) -> None:
        assert self.router is not None
        wait = (1024 - self.config.priority) * self.config.interval_cs / 25600
        waiting = self.router.snapshot(now)._replace(state="backup", remaining=wait)
        self.router.restore(waiting, now)

    def link_up(self, now: float, label: str) -> None:
        """Note that the program saw its link come up, and entered the state ``label``."""
        assert self.router is not None
        actions = self.router.link(True, now)
        if self.router.state == "active" and label == "BACKUP":
            self.rule(OWNER_WAITS)
            self._wait_as_backup(now)
            actions = (StateChanged("init", "backup", "link up"),)
        self.started = True
        self.act(actions, now)

    def is_started(self, now: float) -> bool:
        """Return whether the program runs, with or without a link."""
        return self.router is not None and self.router.snapshot(now).started

    def stop(self, now: float) -> None:
        """Shut our router down.  A program says so also if it has no link."""
        assert self.router is not None
        if self.router.state == "init":
            self.ours.append(("STOP", now))
        self.act(self.router.shutdown(now), now)
        self.changed = now

    def kill(self, now: float) -> None:
        """End without a word; the addresses stay."""
        self._forget_late(now)
        self.router = None
        self.sent.clear()
        self.announced.clear()

    def _forget_late(self, now: float) -> None:
        for datagram, since in self.sent:
            if now - since > TOLERANCE:
                raise Mismatch(since, f"only our router sent {datagram.payload.hex()}")

    # Our router acts.

    def act(self, actions: Iterable[Action], now: float) -> None:
        """Note what our router does."""
        for action in actions:
            if isinstance(action, Send):
                self.sent.append((action.datagram, now))
                self.rejected = -inf
            elif isinstance(action, StateChanged):
                self.changed = now
                self.ours.append((_label(action), now))
            elif isinstance(action, Install):
                self.installed = (*self.installed, str(action.address))
            elif isinstance(action, Withdraw):
                self.installed = tuple(
                    each for each in self.installed if each != str(action.address)
                )
            elif isinstance(action, Announce):  # pyright: ignore[reportUnnecessaryIsInstance]  # the last kind
                self.takeovers = [*self.takeovers, now]
                if self.announcements_recorded:
                    self.announced.append((str(action.address), now))
        self.match_states()

    def force(self, now: float) -> None:
        """Make the running timer fire now."""
        assert self.router is not None
        snapshot = self.router.snapshot(min(now, self.router.due))
        self.router.restore(snapshot._replace(remaining=0.0), now)
        self.act(self.router.tick(now), now)
        self.started = False

    def _served(self) -> float:
        """Return when the program could serve the timer that is due: it may be busy until then."""
        assert self.router is not None
        due = self.router.due
        place = bisect_left(self.signs, due)
        return self.signs[place] if place < len(self.signs) else due

    def serve_timer(self, now: float) -> None:
        """Serve the timer of our router, because the program sent a packet; check the time."""
        router = self.router
        if router is None or router.due == inf:
            raise Mismatch(now, f"the program sent a packet, but our router {self._is()}")
        late = now - (self._served() if now > router.due else router.due)
        interval = self.config.interval
        early = TOLERANCE if self.started else self._early()
        if late < -early:
            raise Mismatch(now, f"the program sent a packet, but ours is due at {router.due:.6f}")
        missing, more = _ONE_MISSING[0] * interval, interval + _ONE_MISSING[1]
        skipped = missing <= late <= more and interval >= _SHORTEST and self._is_settled(now)
        if late > TOLERANCE or skipped:
            restarted = self.rejected + interval
            if router.state != "active" or not -early <= now - restarted <= TOLERANCE:
                raise Mismatch(now, f"late: our packet was due at {router.due:.6f}")
            self.rule(RESTARTED)
        elif now - router.due > TOLERANCE:
            self.rule(BUSY)
        self.force(now)

    def _early(self) -> float:
        seconds, share = EARLY
        return min(seconds, share * self.config.interval)

    def _is_settled(self, now: float) -> bool:
        """Return whether our router has been active for so long that the program is not busy."""
        assert self.router is not None
        return self.router.state == "active" and now - self.changed > 0.5

    def _is(self) -> str:
        return "is down" if self.router is None else f"is in the state {self.router.state}"

    def check_overdue(self, now: float) -> None:
        """Raise Mismatch if something of ours has no counterpart in the recording by now."""
        router = self.router
        if self.thinned and router is not None and router.state == "active":
            while router.due < now:
                router.tick(router.due)
        if router is not None and self._served() + TOLERANCE < now:
            restarted = self.rejected + self.config.interval
            if router.state != "active" or restarted + TOLERANCE < now:
                raise Mismatch(now, f"our timer was due at {router.due:.6f}: nothing was sent")
        self._forget_late(now)
        self._check_states(now)
        for address, time in self.announced:
            if now - time > TOLERANCE:
                raise Mismatch(time, f"only our router announced {address}")

    def _check_states(self, now: float) -> None:
        if not self.states_recorded:
            self.ours.clear()
        while self.ours and now - self.ours[0][1] > TOLERANCE:
            label, time = self.ours.popleft()
            if not (self.incomplete and label in {"STOP", "MASTER_RX_LOWER_PRI"}):
                raise Mismatch(time, f"only our router entered {label}")
        if self.theirs and now - self.theirs[0][1] > TOLERANCE:
            label, time = self.theirs[0]
            raise Mismatch(time, f"only the program entered {label}")

    # The recording and our router meet.

    def match_states(self) -> None:
        """Compare the changes of the state in their order."""
        while self.ours and self.theirs:
            (ours, time), (theirs, recorded) = self.ours[0], self.theirs[0]
            if ours != theirs:
                raise Mismatch(recorded, f"the program entered {theirs}, ours {ours}")
            if abs(time - recorded) > TOLERANCE:
                raise Mismatch(recorded, f"our router entered {ours} at {time:.6f}")
            self.ours.popleft()
            self.theirs.popleft()
            self.agree("states")

    def expects(self, datagram: Datagram) -> bool:
        """Return whether the next packet of our router is this one."""
        return bool(self.sent) and self.sent[0][0] == datagram

    def match_packet(self, datagram: Datagram, now: float) -> None:
        """Compare a packet of the program with the next one of our router."""
        if not self.sent:
            raise Mismatch(now, f"only the program sent {datagram.payload.hex()}")
        ours, time = self.sent[0]
        if ours != datagram:
            raise Mismatch(now, f"the program sent {datagram}, ours {ours}")
        if abs(now - time) > TOLERANCE:
            raise Mismatch(now, f"our router sent this packet at {time:.6f}")
        self.sent.popleft()
        self.agree("packets")


def _label(action: StateChanged) -> str:
    if action.after == "init":
        return "STOP" if action.reason == "shutdown" else "FAULT"
    return {"backup": "BACKUP", "active": "MASTER"}[action.after]
