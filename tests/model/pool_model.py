"""What a pool is to do, written from its documentation: dicts, and everything computed anew.

The model keeps no index, no count and no queue that it could compute.  Only three things are
remembered: what the gates said at the last request or reading (a pool asks them then, and not in
between), whether the pool was in a panic, and the numbers of requests, failures and refusals.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from tests.model.gate_models import GateModel, UnknownName, clone

__all__ = ["Answer", "DuplicateName", "MemberModel", "PoolModel", "Refused"]

QUIESCED, LEAVING = "quiesced", "leaving"
POOL_LIMIT = "saturated"
Closing = tuple[str, int]
"""A reason and the place of its gate: -1 for the pool's own reasons, -2 for a member that has had
no result."""


NOTHING: frozenset[Closing] = frozenset()


class DuplicateName(Exception):
    """Raised when a backend that is a member is added."""


class Refused(Exception):
    """Raised when no backend can serve.  ``reasons`` are those that may be named."""

    def __init__(
        self, reasons: set[str], counts: dict[str, int], retry_at: float, full: int
    ) -> None:
        super().__init__(reasons)
        self.reasons, self.counts, self.retry_at, self.full = reasons, counts, retry_at, full


class Answer(NamedTuple):
    """The backends that may serve a request."""

    allowed: frozenset[str]
    bound: bool
    panic: bool


@dataclass
class MemberModel:
    """One member."""

    weight: float
    serial: int
    """A number that is higher each time a backend joins."""
    factors: tuple[bool, ...] = ()
    """For each gate whether it closed the member when the pool last asked."""
    unproven: bool = False
    in_flight: int = 0
    requests: int = 0
    failures: int = 0
    until: float | None = None
    """The time until which a member that leaves is kept."""


@dataclass
class PoolModel:
    """A pool with some gates."""

    gates: list[GateModel]
    panic: float | None = 0.0
    calm: float = 0.0
    limit: int | None = None
    least: str = ""
    """``count`` or ``ratio``: the balancer picks the least in flight, or the least per weight."""
    now: float = -inf
    members: dict[str, MemberModel] = field(default_factory=dict[str, MemberModel])
    ignored: frozenset[Closing] = frozenset()
    serial: int = 0
    former_requests: int = 0
    former_failures: int = 0
    refusals: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        gates = [*enumerate(self.gates)]
        self._kinds = {
            kind: frozenset((gate.reason, place) for place, gate in gates if getattr(gate, kind))
            for kind in ("soft", "last_resort", "limits", "spares_bound")
        }

    def copy(self) -> "PoolModel":
        copied = clone(self)
        copied.members = {name: clone(member) for name, member in self.members.items()}
        copied.gates = [gate.copy() for gate in self.gates]
        copied.refusals = {**self.refusals}
        return copied

    # What closes a member

    def closing(self, member: MemberModel) -> frozenset[Closing]:
        """Return everything that closes a member, also what is ignored."""
        open_to_all = member.weight and member.until is None and not member.unproven
        if open_to_all and True not in member.factors:
            return NOTHING  # the usual case
        found: set[Closing] = set()
        if not member.weight:
            found.add((QUIESCED, -1))
        if member.until is not None:
            found.add((LEAVING, -1))
        for place, (gate, closed) in enumerate(zip(self.gates, member.factors, strict=True)):
            if closed:
                found.add((gate.reason, place))
        if member.unproven:
            found.add(("unhealthy", -2))
        return frozenset(found)

    def of_kind(self, kind: str) -> frozenset[Closing]:
        """Return the reasons of the gates that are ``soft``, of ``last_resort``, and so on."""
        return self._kinds[kind]

    def heeded(self, member: MemberModel) -> frozenset[Closing]:
        return self.closing(member) - self.ignored

    def closes_bound(self, member: MemberModel) -> frozenset[Closing]:
        """Return what closes a member to requests that are bound to it."""
        sparing = self.of_kind("spares_bound") | {(QUIESCED, -1), (LEAVING, -1)}
        return self.heeded(member) - sparing

    def serving(self) -> list[str]:
        """Return the members that the balancer may pick."""
        return [name for name, member in self.members.items() if not self.heeded(member)]

    def effective(self, member: MemberModel) -> float:
        return 0 if self.heeded(member) else member.weight

    def full(self) -> bool:
        """Return whether the limit of the whole pool is reached."""
        return self.limit is not None and self.total_in_flight() >= self.limit

    def total_in_flight(self) -> int:
        return sum(member.in_flight for member in self.members.values())

    # Panics

    def decide(self, closings: Collection[frozenset[Closing]]) -> frozenset[Closing]:
        """Return what is to be ignored if these are the reasons that close the members."""
        soft, last = self.of_kind("soft"), self.of_kind("last_resort")
        panicking = bool(self.ignored & soft)

        def opened(ignored: frozenset[Closing]) -> int:
            return sum(not reasons - ignored for reasons in closings)

        base = last if not opened(NOTHING) and opened(last) else NOTHING
        if self.panic is None:
            return base
        most = opened(base | soft)
        share = self.calm if panicking else self.panic
        begins = panicking if not most else not opened(base) or opened(base) / most < share
        chosen = base | soft if begins else base
        if not opened(chosen) and opened(soft | last):
            return soft | last
        return chosen

    def would_serve_without_limits(self, name: str) -> bool:
        """Return whether a limit closes the member, and it would serve if no limit did."""
        limits, member = self.of_kind("limits"), self.members[name]
        if not self.closing(member) & limits:
            return False
        freed = self.closing(member) - limits
        others = [self.closing(one) for other, one in self.members.items() if other != name]
        return not freed - self.decide([*others, freed])

    # What the pool does at each call

    def ask_gates(self) -> None:
        """Ask every gate about every member, and decide what to ignore."""
        for name, member in self.members.items():
            self.ask_about(name, member)
        self.decide_again()

    def ask_about(self, name: str, member: MemberModel) -> None:
        member.factors = tuple(gate.closes(name, member.in_flight, self.now) for gate in self.gates)
        member.unproven = any(gate.unproven(name) for gate in self.gates)

    def decide_again(self) -> None:
        self.ignored = self.decide([self.closing(member) for member in self.members.values()])

    def is_over(self, member: MemberModel) -> bool:
        return member.until is not None and member.until <= self.now and not member.in_flight

    def remove_expired(self) -> None:
        """Remove the kept members whose time is over and which are idle, last joined first."""
        for name in [name for name, member in self.members.items() if self.is_over(member)][::-1]:
            self.drop(name)
            self.decide_again()

    def drop(self, name: str) -> None:
        member = self.members.pop(name)
        self.former_requests += member.requests
        self.former_failures += member.failures
        for gate in self.gates:
            gate.left(name)

    def enter(self, name: str, weight: float) -> None:
        self.serial += 1
        member = MemberModel(weight, self.serial)
        for gate in self.gates:
            gate.joined(name, self.now)
        self.ask_about(name, member)
        self.members[name] = member

    def begin_change(self, clock: float) -> None:
        """Set the time of a change.  Kept members whose time is over leave before it."""
        self.now = max(clock, self.now)
        self.remove_expired()

    # The calls

    def add(self, name: str, weight: float, clock: float) -> None:
        self.begin_change(clock)
        member = self.members.get(name)
        if member is not None and member.until is None:
            raise DuplicateName(name)
        if member is None:
            self.enter(name, weight)
        else:
            member.until, member.weight = None, weight
        self.decide_again()

    def remove(self, name: str, clock: float) -> None:
        if name not in self.members:
            raise UnknownName(name)
        self.begin_change(clock)
        if name in self.members:
            self.drop(name)
            self.decide_again()

    def set_weight(self, name: str, weight: float, clock: float) -> None:
        self.begin_change(clock)
        if name not in self.members:
            raise UnknownName(name)
        self.members[name].weight = weight
        self.decide_again()

    def update(self, weights: dict[str, float], clock: float, keep: float | None) -> None:
        self.begin_change(clock)
        for name in [*self.members]:
            if name in weights:
                self.members[name].until = None
                self.members[name].weight = weights[name]
            elif keep is None:
                self.drop(name)
            elif self.members[name].until is None:
                self.members[name].until = self.now + keep
        for name, weight in weights.items():
            if name not in self.members:
                self.enter(name, weight)
        self.decide_again()

    def read(self) -> None:
        """Called when the state is read: it is what a request would find at the latest time."""
        self.ask_gates()

    def acquire(
        self,
        clock: float,
        prefer: str | None = None,
        strict: bool = False,
        avoid: frozenset[str] = frozenset(),
    ) -> Answer:
        """Return who may serve.  Raise Refused if nobody can."""
        self.now = max(clock, self.now)
        self.ask_gates()
        self.remove_expired()
        bound = prefer is not None and self.can_be_bound(prefer, strict, avoid)
        allowed = frozenset(self.serving()) - avoid
        if self.full():
            raise self.refusal(prefer, strict, avoid)
        if prefer is not None and bound:
            allowed = frozenset({prefer})
        elif not allowed:
            raise self.refusal(prefer, False, avoid)
        elif self.least:
            least = min(map(self.load_of, allowed))
            allowed = frozenset(name for name in allowed if self.load_of(name) == least)
        return Answer(allowed, bound, bool(self.ignored & self.of_kind("soft")))

    def load_of(self, name: str) -> float:
        member = self.members[name]
        return member.in_flight / (member.weight if self.least == "ratio" else 1)

    def can_be_bound(self, prefer: str, strict: bool, avoid: frozenset[str]) -> bool:
        reasons, full = {"unknown"}, False
        if prefer in self.members and prefer in avoid:
            reasons = {"avoided"}
        elif prefer in self.members:
            closing = self.closes_bound(self.members[prefer])
            reasons = {reason for reason, _ in closing}
            full = self.helps_to_wait(prefer, bound=True)
        if strict and reasons:
            named = reasons if len(reasons) == 1 else {"mixed"}
            raise Refused(named, dict.fromkeys(reasons, 1), self.due(), int(full))
        return not reasons

    def helps_to_wait(self, name: str, bound: bool) -> bool:
        """Return whether limits alone, also that of the pool, keep a member from serving."""
        member, limits = self.members[name], self.of_kind("limits")
        if self.would_serve_without_limits(name) or (self.full() and not self.heeded(member)):
            return True
        closing = self.closes_bound(member)
        return bound and not closing - limits and (bool(closing) or self.full())

    def refusal(self, prefer: str | None, strict: bool, avoid: frozenset[str]) -> Refused:
        counts: dict[str, int] = {}
        for member in self.members.values():
            for reason in {reason for reason, _ in self.heeded(member)}:
                counts[reason] = counts.get(reason, 0) + 1
        if self.full():
            counts[POOL_LIMIT] = len(self.members)
        elif self.serving():
            counts["avoided"] = len(self.serving())
        shared = {reason for reason, count in counts.items() if count == len(self.members)}
        full = sum(self.helps_to_wait(n, bound=n == prefer) for n in self.members if n not in avoid)
        reasons = shared or {"mixed"} if self.members else {"empty"}
        return Refused(reasons, counts, self.due(), 1 if strict and prefer else full)

    def count_refusal(self, reason: str) -> None:
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def due(self) -> float:
        """Return the time of the next change that is announced."""
        leaving = [m.until for m in self.members.values() if m.until is not None]
        later = [until for until in leaving if until > self.now]
        return min([*(gate.due(self.now) for gate in self.gates), *later], default=inf)

    def started(self, name: str) -> None:
        self.members[name].in_flight += 1
        self.members[name].requests += 1

    def ended(
        self, name: str, serial: int, ok: bool | None, started_at: float, clock: float
    ) -> None:
        self.now = max(clock, self.now)
        member = self.members.get(name)
        if member is None or member.serial != serial:
            return
        member.in_flight -= 1
        member.failures += ok is False
        for gate in self.gates:
            gate.ended(name, ok, started_at, self.now)
