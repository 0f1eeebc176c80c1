"""Replays all records of one node through our router, in the order of their times."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from math import inf
from typing import Any

from balancers.redundancy.vrrp import Datagram, announcement_frame
from tests.parity.vrrp_keepalived import LOWER, reload_backup, sends_old, takes, use_new
from tests.parity.vrrp_made import make
from tests.parity.vrrp_node import TOLERANCE, Mismatch, Node
from tests.parity.vrrp_races import RACE, Moment, other_order
from tests.parity.vrrp_recording import Item, Track
from tests.parity.vrrp_rules import FIRST_ADVERT, KILLED, NO_START, REPEATS, ROUTER_FLAG, read

__all__ = ["Player"]

STARTUP = 2.0
"""The longest time in seconds from the start of a program to its first state, if its log also
has this time; otherwise it is twice the tolerance."""
REPEATED = 5.0
"""keepalived repeats its announcements after so many seconds (garp_master_delay)."""
_ARP_REPLY = 2
_SAME = {"sigstop": "freeze", "pause": "freeze", "sigcont": "thaw", "resume": "thaw"}
"""Other words for the same event."""
_UNHEARD = {"drop", "undrop", "inject"}
"""What happens outside the node: it is in the packets that the node received."""


class Player:
    """Steps through the items of one track."""

    def __init__(self, track: Track, announcements: bool, thinned: bool) -> None:
        self.items = track.items
        kinds = {item.kind for item in self.items}
        self.node = Node(track.configs, "state" in kinds, announcements, thinned, track.signs)
        self.pending = ""
        """The last event that the program has not reacted to: start, stop, link down or up."""
        self.pending_since = inf
        self.reload: float = -inf
        self.frozen: list[Item] | None = None
        self.thawed = -inf
        self.next: tuple[str, ...] = ()
        """The addresses after the reload that the program has not ended yet."""
        self.early: set[str] = set()
        """The addresses that FRR announced before its first advertisement."""
        self.startup = STARTUP if track.logged else 2 * TOLERANCE
        self.frr = track.configs[0].frr

    # Branches: what comes first if a packet arrives when a timer is due?

    def save(self, now: float) -> dict[str, Any]:
        """Return everything that :meth:`restore` needs."""
        return {
            **vars(self),
            "node": self.node.saved(now),
            "frozen": self.frozen and [*self.frozen],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from what :meth:`save` returned."""
        vars(self).update(saved)

    def race(self, place: int) -> str:
        """Return what may have come before the record at this place."""
        moment = Moment(self.node, self.items, place, self.pending, self.frozen is not None)
        return moment.kind()

    # The steps.

    def step(self, item: Item, before: str = "") -> None:
        """Do what one record says."""
        now = item.time
        if self.frozen is None:
            if not self.pending or now - self.pending_since > TOLERANCE:
                self.node.check_overdue(now)
            self._check_pending(now)
        if before == "start":
            self._react(now, "BACKUP")
        elif before:
            other_order(self.node, before, now)
        step: Callable[[Item], None] = getattr(self, f"_{item.kind}")
        step(item)

    def _check_pending(self, now: float) -> None:
        limit = self.startup if self.pending == "start" else TOLERANCE
        if not self.pending or now - self.pending_since <= limit:
            return
        if self.node.states_recorded and not (self.node.incomplete and self.pending == "stop"):
            raise Mismatch(self.pending_since, f"the program did not {self.pending}")
        self._react(self.pending_since, "")

    def _react(self, now: float, label: str) -> None:
        """Let our router do what the event said, at the time when the program did it."""
        pending, self.pending, self.pending_since = self.pending, "", inf
        node = self.node
        if pending == "start":
            node.start(now, label)
        if node.router is None:
            return
        if pending == "stop":
            node.stop(now)
        elif pending == "link down":
            node.act(node.router.link(False, now), now)
        elif pending == "link up":
            node.link_up(now, label)

    def _event(self, item: Item) -> None:
        event, now = item.value, item.time
        action: str = event["action"].partition(" ")[0]
        if action == "link":
            if not self.pending and not self.node.is_started(now):
                return  # the program learns the state of the link when it starts
            self._wait(f"link {event['state']}", now)
        elif action in {"start", "stop"}:
            if action == "start":
                self.node.router = None
            self._wait(action, now)
        elif action not in _UNHEARD:
            act: Callable[[float], None] | None = getattr(
                self, f"_{_SAME.get(action, action)}", None
            )
            if act is None:
                raise Mismatch(now, f"unknown event {action!r}")
            act(now)

    def _kill(self, now: float) -> None:
        if self._stops_soon(now):
            self.node.rule(KILLED)
            self.node.incomplete = True
            self._wait("stop", now)
            return
        self.pending = ""
        self.node.kill(self._last_breath(now))

    def _freeze(self, _: float) -> None:
        self.frozen = []

    def _thaw(self, now: float) -> None:
        """Receive the packets that arrived meanwhile, before or after the timer is served."""
        queued, self.frozen = self.frozen or [], None
        self.thawed = now
        for each in queued:
            self._rx(replace(each, time=now))

    def _stops_soon(self, now: float) -> bool:
        return any(
            each.value == "STOP" if each.kind == "state" else not each.value.payload[2]
            for each in self.items
            if each.kind in {"state", "tx"} and 0 <= each.time - now <= RACE
        )

    def _last_breath(self, now: float) -> float:
        """Serve what the program sent just after the record of its end."""
        for each in self.items:
            if each.kind == "tx" and now < each.time <= now + 0.02:
                self._tx(each)
        return now

    def _wait(self, pending: str, now: float) -> None:
        self.pending, self.pending_since = pending, now
        if not self.node.states_recorded and pending.startswith("link"):
            self._react(now, "")

    def _reload(self, now: float) -> None:
        node = self.node
        node.incomplete = True
        if node.version + 1 >= len(node.configs):
            raise Mismatch(now, "a reload without settings")
        if node.router is None:
            node.version += 1
        elif node.router.state == "active":
            self.reload = now
            self.next = node.configs[node.version + 1].addresses
            if self.next != node.config.addresses:
                node.takeovers = [*node.takeovers, now]
        else:
            reload_backup(node, now)

    def _state(self, item: Item) -> None:
        label, now = item.value, item.time
        expected = {
            "start": {"BACKUP", "MASTER", "FAULT"},
            "stop": {"STOP"},
            "link down": {"FAULT"},
            "link up": {"BACKUP", "MASTER"},
        }
        if label in expected.get(self.pending, set()):
            self._react(now, label)
        self.node.theirs.append((label, now))
        self.node.match_states()

    def _tx(self, item: Item) -> None:
        datagram, now, node = item.value, item.time, self.node
        if node.router is None and not self.pending and self.frr:
            node.rule(NO_START)
            node.router = make(node.config)
            node.router.startup(now)
            node.force(now)
            node.ours.clear()
            node.announced = [each for each in node.announced if each[0] not in self.early]
        if not node.expects(datagram):
            if self.pending == "start":
                self._react(now, self._first_state(now))
                if not node.sent:  # the notification of a backup is later than its first packet
                    node.serve_timer(now)
            elif self.pending == "stop" and not datagram.payload[2]:
                self._react(now, "")
            elif now - self.reload <= TOLERANCE:
                if sends_old(node, datagram):
                    return
                self.reload = -inf
                use_new(node, now)
            elif not node.sent:
                node.serve_timer(now)
        node.match_packet(datagram, now)
        node.rejected = -inf

    def _first_state(self, now: float) -> str:
        states = (each for each in self.items if each.kind == "state" and each.time >= now)
        return next((each.value for each in states), "MASTER")

    def _rx(self, item: Item) -> None:
        datagram, now, node = item.value, item.time, self.node
        if self.frozen is not None:
            self.frozen.append(item)
            return
        router = node.router
        if router is None or router.state == "init":
            return
        packet = read(datagram, node.config)
        if packet.invisible:
            return
        given: Datagram | None = datagram
        if not self.frr and packet.ours:
            given = takes(node, packet, datagram, now)
        if given is not None:
            self._receive(given, packet.priority, now)

    def _receive(self, datagram: Datagram, priority: int, now: float) -> None:
        router = self.node.router
        assert router is not None
        before, dropped = router.state, sum(router.drops.values())
        waiting = router.snapshot(now).preempt_in
        actions = router.receive(datagram, now)
        if waiting == inf > router.snapshot(now).preempt_in:
            self.node.delay_end = now + router.snapshot(now).preempt_in
        rejected = sum(router.drops.values()) > dropped
        if before == "active" and rejected and datagram.payload[1:2] == bytes((router.vrid,)):
            self.node.rejected = now
        elif before == "active" and router.state == "active" and priority and not rejected:
            self.node.ours.append((LOWER, now))
        if not rejected and not (before == "backup" and priority and priority < router.priority):
            self.node.started = False
        self.node.act(actions, now)

    def _announcement(self, item: Item) -> None:
        node, now, value = self.node, item.time, item.value
        address = value["spa"] if value["kind"] == "garp" else value["target"]
        if value.get("op") == _ARP_REPLY:
            return  # the kernel answered a request
        if address not in node.config.addresses + self.next:
            if address == node.config.source:
                return  # the kernel announced its own address
            raise Mismatch(now, f"the program announced {address}")
        mac = item.frame[6:12]
        flag = bool(value.get("flags", 4) & 4)
        if not flag:
            node.rule(ROUTER_FLAG)
        if announcement_frame(ip_address(address), mac, router=flag) != item.frame:
            raise Mismatch(now, f"the program announced {address} by {item.frame.hex()}")
        found = [each for each in node.announced if each[0] == address]
        if found:
            node.announced.remove(found[0])
            node.agree("announcements")
        elif self.frr and node.router is None:
            node.rule(FIRST_ADVERT)
            self.early.add(address)
        elif not self.frr and any(self._repeats(now, time) for time in node.takeovers):
            node.rule(REPEATS)
        else:
            raise Mismatch(now, f"only the program announced {address}")

    def _repeats(self, now: float, first: float) -> bool:
        """Return whether an announcement repeats one of the time ``first``."""
        after = now - first
        overdue = after >= REPEATED and now - self.thawed <= TOLERANCE
        return after <= TOLERANCE or abs(after - REPEATED) <= 2 * TOLERANCE or overdue

    def _end(self, _: Item) -> None:
        """Do nothing: what is newer than the tolerance may have its counterpart later."""

    def _check(self, item: Item) -> None:
        if item.time - self.node.changed <= TOLERANCE or self.pending:
            return
        ours = [each for each in self.node.installed if not each.startswith("fe80:")]
        if sorted(ours) != sorted(item.value):  # the kernel decides about the order
            raise Mismatch(item.time, f"the program has {item.value}, ours {ours}")
        self.node.agree("addresses")
