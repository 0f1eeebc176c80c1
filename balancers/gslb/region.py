"""Defines a region: backends in one place, and when enough of them are up."""

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from math import ceil, inf
from typing import TYPE_CHECKING, Any, cast

from balancers._internal.checks import (
    as_weights,
    checked_ok,
    not_negative,
    number,
    shown,
    valid_now,
)
from balancers._internal.exact import exact
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.gates import HealthRule, HealthStateMachine, Leaky
from balancers.gslb.answer import Answer, Skipped
from balancers.gslb.place import Place
from balancers.gslb.ranking import Part, Ranking
from balancers.pool import Pool

if TYPE_CHECKING:
    from balancers.gslb.client import Client

__all__ = ["Region", "up_share"]

_MAX_BIAS = 99


class Region(Part):
    """Backends in one place, for example a data centre.  It is healthy if enough of them are up.

    ``members`` are backends, a mapping of backends to weights, or a :class:`~balancers.Pool`.  The
    region is healthy while the weights of the members that are up have a sum of
    ``ceil(up_thresh · total)`` or more, computed exactly; only whole weights are rounded up.
    ``up_thresh`` is 0 to 1, and at least one member must be up for each value.  Members with weight
    0 do not count, and are not answered unless health is ignored.

    >>> region = Region("eu", ["192.0.2.1", "192.0.2.2", "192.0.2.3"], up_thresh=0.5)
    >>> region.set_up("192.0.2.1", False, now=1.0)
    >>> region.healthy(now=1.0), region.status(now=1.0)
    (True, '2 of 3 up, needs 2')
    >>> region.set_up("192.0.2.2", False, now=2.0)
    >>> region.healthy(now=2.0), region.status(now=2.0)
    (False, '1 of 3 up, needs 2')

    All members are up at first.  Report each change by :meth:`set_up` if your monitor decides when
    a member is up, or each result of a probe by :meth:`observe`.  Results are counted by ``rule``,
    for each member alone.  The default is :class:`~balancers.gates.Leaky`, the rule of gdnsd: a
    member that fails every other probe goes down and stays down.

    A region that was unhealthy becomes healthy only after ``hold`` seconds without an interruption
    in which enough members were up.  So a region that flips moves its clients once, and not at each
    flip.  If everything else is down too, a region that is only held back is answered, with its
    members that are up.

    The state of a pool is read when it is needed, at ``now``: a member is up while no gate closes
    it (drained, unhealthy, full), even if the pool panics and ignores its gates.  So a region
    whose pool panics is down unless ``up_thresh`` is low.  With ``hold``, the region sees changes
    of the pool only when it is asked.

    ``place`` and ``bias`` (-99 to 99) are for :class:`Distance`, and ``capacity`` for
    :class:`SpillOver`.  Cost: every method is O(1) but those that return members, which are O(n);
    O(n · gates) for a pool.

    Raises InvalidSetting for a region without members (a pool may be empty), and for a threshold,
    hold, bias or capacity outside its range; InvalidWeight and TypeError for invalid members.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        members: Iterable[Any] | Mapping[Any, float] | Pool[Any],
        *,
        up_thresh: float = 0.5,
        hold: float = 0.0,
        rule: HealthRule | None = None,
        place: Place | None = None,
        bias: float = 0,
        capacity: float = inf,
    ) -> None:
        if not isinstance(cast("object", name), str):
            raise TypeError(f"name must be a text, not {shown(name)}")
        if place is not None and not isinstance(cast("object", place), Place):
            raise TypeError(f"place must be a Place or None, not {shown(place)}")
        self.name: str = name
        self.place: Place | None = place
        """Where the region is."""
        self.bias: float = _in_range("bias", bias, -_MAX_BIAS, _MAX_BIAS)
        """What :class:`Distance` uses to make the region nearer (positive) or farther."""
        self.capacity: float = (
            capacity if capacity == inf else not_negative("capacity", capacity, unit="")
        )
        """The greatest load for :class:`SpillOver`, in the unit of the reported loads."""
        self._up_thresh = up_share(up_thresh)
        self._hold = not_negative("hold", hold)
        self._now = -inf
        self._enough = True
        self._healthy_at = -inf
        self._pool: Pool[Any] | None = members if isinstance(members, Pool) else None
        self._weights: dict[Any, float] = {}
        self._machines: dict[Any, HealthStateMachine] = {}
        self._exact: dict[Any, int | Fraction] = {}
        if not isinstance(members, Pool):
            self._weights = as_weights(members)
            if not self._weights:
                raise InvalidSetting(f"members of {shown(name)} must be at least one, not none")
            rule = Leaky() if rule is None else rule
            self._machines = {m: HealthStateMachine(rule=rule) for m in self._weights}
            self._exact = {m: exact(weight) for m, weight in self._weights.items()}
        self._set_total(self._exact.values())
        self._up = self._total
        if self._pool is None:
            self._judge(-inf)

    @property
    def members(self) -> tuple[Any, ...]:
        """All members in their order; O(n)."""
        return tuple(self._weights if self._pool is None else self._pool.backends)

    def up_members(self, now: float) -> tuple[Any, ...]:
        """Return the members that are up and have a weight above 0; O(n).  Raises InvalidTime."""
        now = self._read(now)
        pool = self._pool
        if pool is not None:
            return tuple(m for m in pool.backends if pool.weight(m) and not pool.state(m, now))
        return tuple(
            m for m, weight in self._weights.items() if weight and self._machines[m].healthy
        )

    def set_up(self, member: Any, up: bool, now: float) -> None:
        """Set whether a member is up, at once; O(1).

        Raises UnknownBackend, InvalidTime, and TypeError unless ``up`` is True or False.  Raises
        InvalidSetting if the region reads its state from a pool.
        """
        up, machine = checked_ok(up), self._machine(member)
        now = valid_now(now, self._now)
        before = machine.healthy
        machine.reset(up)
        self._count(member, before, up, now)

    def observe(self, member: Any, ok: bool, now: float) -> bool:
        """Count the result of a probe.  Return whether it changed the state of the member; O(1).

        Raises UnknownBackend, InvalidTime, and TypeError unless ``ok`` is True or False.  Raises
        InvalidSetting if the region reads its state from a pool.
        """
        ok, machine = checked_ok(ok), self._machine(member)
        now = valid_now(now, self._now)
        before = machine.healthy
        changed = machine.observe(ok)
        self._count(member, before, machine.healthy, now)
        return changed

    def healthy(self, now: float, client: "Client | None" = None) -> bool:
        now = self._read(now)
        return self._enough and now >= self._healthy_at

    def held(self, now: float, client: "Client | None" = None) -> bool:
        self._read(now)
        return self._enough

    def status(self, now: float) -> str:
        now = self._read(now)
        counted = f"{_plain(self._up)} of {_plain(self._total)} up, needs {_plain(self._needed)}"
        if not self._total:
            counted = "no member has a weight" if self.members else "no members"
        if self._enough and now < self._healthy_at:
            return f"{counted}, held until {self._healthy_at}"
        return counted

    def share(self, now: float) -> int | Fraction:
        self._read(now)
        return self._up

    @property
    def total(self) -> int | Fraction:
        return self._total

    def scope(self, client: "Client") -> int:
        del client
        return 0

    def rank(self, client: "Client", now: float) -> Ranking:
        self._read(now)
        return Ranking(client, (self,), ("the only region",))

    def answer_of(
        self,
        client: "Client",
        now: float,
        everything: bool,
        reason: str,
        skipped: tuple[Skipped, ...] = (),
    ) -> Answer:
        everyone = everything and not self.held(now)
        members = self._staying(now) if everyone else self.up_members(now)
        return Answer(members, (self.name,), reason, skipped, everything)

    def _staying(self, now: float) -> tuple[Any, ...]:
        """Return all members but those that leave their pool."""
        pool = self._pool
        if pool is None:
            return self.members
        return tuple(m for m in pool.backends if "leaving" not in pool.state(m, now))

    def __repr__(self) -> str:
        return f"<Region {self.name}: {len(self.members)} members>"

    def _machine(self, member: Any) -> HealthStateMachine:
        if self._pool is not None:
            raise InvalidSetting(f"{self.name} reads the state of its members from its pool")
        machine = self._machines.get(member)
        if machine is None:
            raise UnknownBackend(member)
        return machine

    def _count(self, member: Any, before: bool, after: bool, now: float) -> None:
        self._now = now
        if before != after:
            weight = self._exact[member]
            self._up += weight if after else -weight
            self._judge(now)

    def _read(self, now: float) -> float:
        """Return the time, and read the pool."""
        now = valid_now(now, self._now)
        pool = self._pool
        if pool is not None:
            self._now = now
            states = [(exact(pool.weight(m)), pool.state(m, now)) for m in pool.backends]
            self._set_total([weight for weight, closed in states if "leaving" not in closed])
            self._up = sum(weight for weight, closed in states if not closed)
            self._judge(now)
        return now

    def _set_total(self, weights: Collection[int | Fraction]) -> None:
        """Store the sum of all weights, and of those that must be up."""
        self._total = sum(weights)
        needed = self._up_thresh * self._total
        whole = all(type(weight) is int for weight in weights)
        self._needed = max(1, ceil(needed)) if whole else needed

    def _judge(self, now: float) -> None:
        """Decide whether enough members are up, and from when on the region counts as healthy."""
        enough = self._up > 0 and self._up >= self._needed
        if enough and not self._enough:
            self._healthy_at = now + self._hold
        self._enough = enough
        self.down: bool = not enough and self._pool is None


def up_share(up_thresh: float) -> int | Fraction:
    """Return the threshold exactly.  Raise InvalidSetting unless it is 0 to 1."""
    return exact(_in_range("up_thresh", up_thresh, 0, 1))


def _in_range(name: str, value: float, least: float, most: float) -> float:
    value = number(name, value)
    if not least <= value <= most:
        raise InvalidSetting(f"{name} must be {least} to {most}, not {shown(value)}")
    return value


def _plain(value: int | Fraction) -> str:
    return f"{float(value):g}"
