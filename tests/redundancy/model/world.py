"""Routers, the packets between them, and everything that can happen to both.

What happens by itself (a packet arrives, a timer fires, time passes) is free.  What an adversary
does (it loses, delays or doubles a packet, crashes, restarts, shuts down, freezes or wakes a
router, or sends it an invalid packet) is an event.
"""

from collections.abc import Callable
from math import inf

from balancers.redundancy.vrrp import (
    Action,
    Datagram,
    Install,
    RouterSnapshot,
    Send,
    State,
    VirtualRouter,
    Withdraw,
)
from tests.redundancy.model.monitor import Broken, Monitor
from tests.redundancy.model.scenarios import Scenario

__all__ = ["DOWN", "FROZEN", "UP", "Move", "World"]

UP, DOWN, FROZEN = range(3)
Move = tuple[str, int]
"""What happens, and the place of the router or the packet that it happens to."""
RouterState = tuple[State, bool, bool, float, int, bool, float]
"""The fields of a RouterSnapshot."""
Packet = tuple[int, int, float, bool]
"""The receiver, the number of the datagram, when it arrives at the latest, whether it is late."""
QUEUE = 2
"""How many packets wait for a frozen router; the rest is dropped, as by a full socket."""
KINDS = (
    *("wait", "wait half", "arrive", "read", "tick"),
    *("lose", "delay", "double", "crash", "shut down", "restart", "freeze", "wake", "spoil"),
)
OF_PACKETS = {"lose", "delay", "double"}
"""What changes no router."""
COPIES = 4
"""How many packets are in flight at most before none is doubled any more."""


class World:
    """The routers of a scenario.  ``make`` is their class, which may be a wrong one."""

    def __init__(self, scenario: Scenario, make: type[VirtualRouter] = VirtualRouter) -> None:
        self.scenario = scenario
        self.monitor = Monitor(scenario)
        self.routers = scenario.routers(make)
        self.places = range(len(self.routers))
        self.fresh = [router.snapshot(0.0) for router in self.routers]
        self.unread: list[tuple[RouterState, float] | None] = [None for _ in self.routers]
        """The state of a router at a time, until it is needed: most moves need one router only."""
        self.packets: list[Packet] = []
        self.datagrams: list[Datagram] = []
        self.contents: list[tuple[int, int, float]] = []
        """The sender, the priority and the interval of each datagram."""
        self.numbers: dict[Datagram, int] = {}
        self._methods: dict[str, Callable[[int], None]] = {
            name: getattr(self, "_" + name.replace(" ", "_")) for name in KINDS
        }
        self.begin()

    def begin(self) -> None:
        """Start all routers at the time 0."""
        self.now = 0.0
        self.packets.clear()
        self.modes = [UP for _ in self.places]
        self.frozen_at = [0.0 for _ in self.places]
        self.queues: list[list[int]] = [[] for _ in self.places]
        self.installed = [False for _ in self.places]
        self.halfway = False
        self.monitor.clear()
        for place in self.places:
            self._start(place)
        self._settle()

    def router(self, place: int) -> VirtualRouter:
        """The router at a place, in its state."""
        router, unread = self.routers[place], self.unread[place]
        if unread is not None:
            router.restore(RouterSnapshot(*unread[0]), unread[1])
            self.unread[place] = None
        return router

    def state(self, place: int) -> str:
        unread = self.unread[place]
        return self.routers[place].state if unread is None else unread[0][0]

    def due(self, place: int) -> float:
        unread = self.unread[place]
        return self.routers[place].due if unread is None else unread[1] + unread[0][3]

    def snapshot(self, place: int, at: float) -> RouterState:
        """The state of a router, relative to a time ``at``."""
        unread = self.unread[place]
        if unread is None:
            snapshot = self.routers[place].snapshot(at)
            return (*snapshot[:6], snapshot.preempt_in)
        passed = at - unread[1]
        if not passed:
            return unread[0]
        state, started, link, remaining, learned, resigned, preempt_in = unread[0]
        left, wait = max(remaining - passed, 0.0), max(preempt_in - passed, 0.0)
        return (state, started, link, left, learned, resigned, wait)

    def natural(self) -> list[Move]:
        """What can happen by itself now.  Time passes only when nothing else must happen first.

        A packet that is not delayed arrives at the instant at which it is sent.  Of the receivers
        of such packets, the first is served first: the others do not notice the order.
        """
        moves, must = self._arrivals()
        for place in self.places:
            if self.modes[place] == UP:
                if self.queues[place]:
                    moves.append(("read", place))
                    must = True
                if self.due(place) <= self.now:
                    moves.append(("tick", place))
                    must = True
        if not must:
            moves.append(("wait", 0))
            if self.scenario.halves and not self.halfway and self.next_time() < inf:
                moves.append(("wait half", 0))
        return moves

    def _arrivals(self) -> tuple[list[Move], bool]:
        """The packets that can arrive, and whether one must arrive before time passes."""
        moves: list[Move] = []
        must, first = False, -1
        seen: set[Packet] = set()
        for number, packet in enumerate(self.packets):
            if packet in seen:
                continue
            seen.add(packet)
            receiver, _, latest, late = packet
            if late:
                if self.scenario.halves or latest <= self.now:
                    moves.append(("arrive", number))
                must = must or latest <= self.now
            elif first in {-1, receiver}:
                first = receiver
                moves.append(("arrive", number))
                must = True
        return moves, must

    def events(self) -> list[Move]:
        """What an adversary can do now."""
        moves: list[Move] = []
        seen: set[Packet] = set()
        fresh = False
        for number, packet in enumerate(self.packets):
            if packet in seen:
                continue
            seen.add(packet)
            moves.append(("lose", number))
            if not packet[3]:
                fresh = True
                moves.append(("delay", number))
            if len(self.packets) < COPIES:
                moves.append(("double", number))
        if fresh and not self.scenario.halves:
            return moves
        for place in self.places:
            if self.modes[place] == UP:
                moves += [("crash", place), ("shut down", place), ("freeze", place)]
                if self.scenario.halves:
                    moves.append(("spoil", place))
            elif self.modes[place] == FROZEN:
                moves += [("wake", place), ("crash", place)]
            else:
                moves.append(("restart", place))
        return moves

    def next_time(self) -> float:
        """When something must happen by itself.  ``inf``: never."""
        times = [packet[2] for packet in self.packets]
        times += [self.due(p) for p in self.places if self.modes[p] == UP]
        return min(times, default=inf)

    def do(self, move: Move) -> None:
        """Let it happen.  Raises Broken."""
        kind, which = move
        self._methods[kind](which)
        if kind not in OF_PACKETS:
            self._settle()

    def delayed(self) -> float:
        """How long a packet that is delayed or doubled takes at most."""
        return self.scenario.delay

    def pass_until(self, time: float) -> None:
        self.monitor.pass_time(self.now, time, self._in("active"), self._in("backup"))
        self.now = time

    # What happens by itself.

    def _wait(self, _: int) -> None:
        time = self.next_time()
        self.halfway = False
        if time < inf:
            self.pass_until(time)

    def _wait_half(self, _: int) -> None:
        self.pass_until(self.now + (self.next_time() - self.now) / 2)
        self.halfway = True

    def _arrive(self, which: int) -> None:
        receiver, number, _, _ = self.packets.pop(which)
        if self.modes[receiver] == UP and not self.queues[receiver]:
            self._receive(receiver, number)
        elif self.modes[receiver] != DOWN and len(self.queues[receiver]) < QUEUE:
            self.queues[receiver].append(number)

    def _read(self, place: int) -> None:
        self._receive(place, self.queues[place].pop(0))

    def _tick(self, place: int) -> None:
        router = self.router(place)
        was_active = router.state == "active"
        actions = router.tick(self.now)
        if not was_active and router.state == "active":
            self.monitor.takes_over(place, self.now)
        self._execute(place, actions, timer=was_active)

    # Events.

    def _lose(self, which: int) -> None:
        receiver, number, _, _ = self.packets.pop(which)
        self.monitor.lose(self.contents[number][0], receiver, self.now)

    def _delay(self, which: int) -> None:
        receiver, number, latest, _ = self.packets[which]
        self.packets[which] = (receiver, number, latest + self.delayed(), True)

    def _double(self, which: int) -> None:
        receiver, number, latest, late = self.packets[which]
        self.packets.append((receiver, number, latest if late else latest + self.delayed(), True))

    def _crash(self, place: int) -> None:
        self.modes[place] = DOWN
        self.queues[place].clear()

    def _shut_down(self, place: int) -> None:
        self._execute(place, self.router(place).shutdown(self.now), timer=False)
        self._crash(place)

    def _restart(self, place: int) -> None:
        self.modes[place] = UP
        self._start(place)

    def _freeze(self, place: int) -> None:
        self.modes[place] = FROZEN
        self.frozen_at[place] = self.now

    def _wake(self, place: int) -> None:
        self.modes[place] = UP
        self.monitor.woken[place] = self.now

    def _spoil(self, place: int) -> None:
        """An invalid packet arrives: the checksum is wrong."""
        self.router(place).receive(INVALID, self.now)

    # Helpers.

    def _start(self, place: int) -> None:
        router = self.routers[place]
        self.unread[place] = None
        router.restore(self.fresh[place], self.now)
        self.monitor.starts(place, self.now)
        self._execute(place, router.startup(self.now), timer=False)

    def _receive(self, place: int, number: int) -> None:
        router, monitor = self.router(place), self.monitor
        sender, priority, interval = self.contents[number]
        was_active = router.state == "active"
        actions = router.receive(self.datagrams[number], self.now)
        if not was_active:
            monitor.hears(place, sender, priority, interval, self.now)
            if router.state == "active":
                monitor.takes_over(place, self.now)
        elif router.state != "active":
            monitor.yields(place, sender, interval, self.now)
        self._execute(place, actions, timer=False)

    def _execute(self, place: int, actions: tuple[Action, ...], timer: bool) -> None:
        sent = 0
        for action in actions:
            if type(action) is Send:
                sent += 1
                number = self._number(place, action.datagram)
                self.packets += [
                    (other, number, self.now, False)
                    for other in self.places
                    if other != place and self.modes[other] != DOWN
                ]
            elif type(action) is Install:
                self.installed[place] = True
            elif type(action) is Withdraw:
                self.installed[place] = False
        if sent:
            self.monitor.sends(place, self.now, timer)
        if sent > 1:
            raise Broken(f"router {place} sends {sent} advertisements at once")
        if self.installed[place] != (self.state(place) == "active"):
            raise Broken(f"router {place} has the address without being active, or the reverse")

    def _number(self, sender: int, datagram: Datagram) -> int:
        number = self.numbers.get(datagram)
        if number is None:
            number = self.numbers[datagram] = len(self.datagrams)
            self.datagrams.append(datagram)
            payload = datagram.payload
            interval = ((payload[4] & 15) << 8 | payload[5]) / 100
            self.contents.append((sender, payload[2], interval))
        return number

    def _in(self, state: str) -> list[bool]:
        """Which well routers are in this state."""
        modes = self.modes
        return [modes[place] == UP and self.state(place) == state for place in self.places]

    def _settle(self) -> None:
        self.monitor.settle(self.now, self._in("active"), self._in("backup"))


INVALID = Datagram(b"\x0a\x00\x00\x09", b"\xe0\x00\x00\x12", 255, b"\x31\x33\x01\x01" + bytes(8))
"""An advertisement with the checksum 0, of a router that does not exist."""
