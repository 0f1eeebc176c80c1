"""What three gates are to do, written from their documentation as plain dicts.

A model of a gate has the methods that the model of the pool calls.  ``now`` is never earlier than
in an earlier call, except where a method says otherwise.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol, TypeVar

__all__ = ["DrainModel", "GateModel", "HealthModel", "LimitModel", "UnknownName", "clone"]

T = TypeVar("T")


class UnknownName(Exception):
    """Raised when a call names a backend that is not a member."""


def clone(value: T) -> T:
    """Return a copy that refers to the same attributes; ``copy.copy`` takes five times as long."""
    kind: Any = value.__class__
    copied: T = kind.__new__(kind)
    copied.__dict__.update(value.__dict__)
    return copied


class GateModel(Protocol):
    """Closes backends for one reason."""

    reason: str
    soft: bool
    last_resort: bool
    spares_bound: bool
    limits: bool

    def joined(self, name: str, now: float) -> None: ...
    def left(self, name: str) -> None: ...
    def ended(self, name: str, ok: bool | None, started_at: float, now: float) -> None: ...
    def closes(self, name: str, in_flight: int, now: float) -> bool: ...
    def unproven(self, name: str) -> bool: ...
    def due(self, now: float) -> float: ...
    def copy(self) -> "GateModel": ...


@dataclass
class Health:
    """The health of one backend."""

    healthy: bool
    flipped_at: float
    unproven: bool
    contrary: int = 0
    failed_requests: int = 0
    probed: bool = False
    recovers_at: float = inf

    def flip(self, healthy: bool, when: float) -> None:
        self.healthy, self.flipped_at, self.unproven = healthy, when, False
        self.contrary = self.failed_requests = 0
        self.recovers_at = inf

    def catch_up(self, now: float) -> None:
        if self.recovers_at <= now:
            self.flip(True, self.recovers_at)


@dataclass
class HealthModel:
    """``fall`` bad results in a row close a backend; ``rise`` good probes in a row open it."""

    fall: int
    rise: int
    recovery_time: float
    initial: str = "up"
    reason: str = "unhealthy"
    soft: bool = True
    last_resort: bool = False
    spares_bound: bool = False
    limits: bool = False
    members: dict[str, Health] = field(default_factory=dict[str, Health])
    now: float = -inf

    def joined(self, name: str, now: float) -> None:
        down = self.initial == "down"
        self.members[name] = Health(not down, now, unproven=down)

    def left(self, name: str) -> None:
        del self.members[name]

    def observe(self, name: str, ok: bool, now: float) -> None:
        if name not in self.members:
            raise UnknownName(name)
        self.settle(now)
        health = self.members[name]
        health.probed, health.unproven, health.recovers_at = True, False, inf
        health.contrary = 0 if ok == health.healthy else health.contrary + 1
        if health.contrary >= (self.fall if health.healthy else self.rise):
            health.flip(not health.healthy, now)

    def ended(self, name: str, ok: bool | None, started_at: float, now: float) -> None:
        self.settle(now)
        health = self.members[name]
        if ok is None or started_at < health.flipped_at:
            return
        if ok:
            health.failed_requests = 0
        elif health.healthy:
            health.failed_requests += 1
            if health.failed_requests >= self.fall:
                health.flip(False, now)
                if not health.probed:
                    health.recovers_at = now + self.recovery_time

    def settle(self, now: float) -> None:
        self.now = max(self.now, now)
        for health in self.members.values():
            health.catch_up(self.now)

    def closes(self, name: str, in_flight: int, now: float) -> bool:
        del in_flight
        health = self.members[name]
        return not health.healthy and health.recovers_at > max(now, self.now)

    def unproven(self, name: str) -> bool:
        return self.members[name].unproven

    def due(self, now: float) -> float:
        """Return when the next backend recovers by time."""
        times = [health.recovers_at for health in self.members.values()]
        return min((at for at in times if at > max(now, self.now)), default=inf)

    def copy(self) -> "HealthModel":
        copied = clone(self)
        copied.members = {name: clone(one) for name, one in self.members.items()}
        return copied


@dataclass
class DrainModel:
    """A backend that drains gets no new requests, but those that are bound to it."""

    timeout: float
    last_resort: bool = False
    reason: str = "draining"
    soft: bool = False
    spares_bound: bool = True
    limits: bool = False
    members: dict[str, float | None] = field(default_factory=dict[str, float | None])
    """For each member the time at which its drain began, or None."""
    reported: frozenset[str] = frozenset()

    def joined(self, name: str, now: float) -> None:
        del now
        self.members[name] = None

    def left(self, name: str) -> None:
        del self.members[name]
        self.reported -= {name}

    def begin(self, name: str, now: float) -> None:
        if name not in self.members:
            raise UnknownName(name)
        if self.members[name] is None:
            self.members[name] = now

    def cancel(self, name: str, now: float) -> None:
        del now
        if name not in self.members:
            raise UnknownName(name)
        self.members[name] = None
        self.reported -= {name}

    def drained(self, in_flight: dict[str, int], now: float) -> set[tuple[str, bool, int]]:
        """Return the drains that have ended: the name, whether it was forced, and in flight."""
        ended: set[tuple[str, bool, int]] = set()
        for name, began in self.members.items():
            over = began is not None and (began + self.timeout <= now or not in_flight[name])
            if over and name not in self.reported:
                ended.add((name, in_flight[name] > 0, in_flight[name]))
        self.reported |= {name for name, _, _ in ended}
        return ended

    def ended(self, name: str, ok: bool | None, started_at: float, now: float) -> None:
        """Requests that end change nothing."""

    def closes(self, name: str, in_flight: int, now: float) -> bool:
        del in_flight, now
        return self.members[name] is not None

    def unproven(self, name: str) -> bool:
        del name
        return False

    def due(self, now: float) -> float:
        del now
        return inf

    def copy(self) -> "DrainModel":
        copied = clone(self)
        copied.members = {**self.members}
        return copied


@dataclass
class LimitModel:
    """A backend with as many requests in flight as its limit gets no more."""

    limit: int
    reason: str = "saturated"
    soft: bool = False
    last_resort: bool = False
    spares_bound: bool = False
    limits: bool = True
    members: dict[str, int] = field(default_factory=dict[str, int])

    def joined(self, name: str, now: float) -> None:
        del now
        self.members[name] = self.limit

    def left(self, name: str) -> None:
        del self.members[name]

    def set(self, name: str, limit: int | None) -> None:
        if name not in self.members:
            raise UnknownName(name)
        self.members[name] = self.limit if limit is None else limit

    def ended(self, name: str, ok: bool | None, started_at: float, now: float) -> None:
        """The requests in flight are those of the pool."""

    def closes(self, name: str, in_flight: int, now: float) -> bool:
        del now
        return in_flight >= self.members[name]

    def unproven(self, name: str) -> bool:
        del name
        return False

    def due(self, now: float) -> float:
        del now
        return inf

    def copy(self) -> "LimitModel":
        copied = clone(self)
        copied.members = {**self.members}
        return copied
