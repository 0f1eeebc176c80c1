"""Ramps: who joined or came back climbs to its full share in announced steps."""

from abc import abstractmethod
from math import inf
from typing import NamedTuple, TypeVar

from balancers.errors import InvalidSetting
from balancers.gates.members import MemberGate, S
from balancers.membership import at_least, duration

__all__ = ["RampGate"]

B = TypeVar("B")

_GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are spread evenly however many there are."""


class _Climb(NamedTuple):
    """When it began, and the fraction of a step after which the first one is taken."""

    begun: float
    phase: float


class RampGate(MemberGate[B, S]):
    """Members that climb for ``window`` seconds from when they joined or recovered.

    The share at time t is max(floor, (t / window) ** (1 / aggression)), taken at ``steps``
    instants, the last of which is the end of the window and gives 1.  Those who climb together take
    their steps at different instants, at most one step early.  In a pool that was empty less than
    ``window`` seconds ago joining is no climb: everybody is new.  Shared by
    :class:`~balancers.SlowStart` and :class:`~balancers.WarmUp`.

    Raises InvalidSetting for a window or aggression that is not positive and finite, a floor
    outside 0…1 (above 0), or fewer than 2 steps.
    """

    def __init__(self, window: float, steps: int, aggression: float, floor: float) -> None:
        super().__init__()
        at_least(2, steps=steps)
        if not 0 < aggression < inf:
            raise InvalidSetting(f"aggression must be positive and finite, not {aggression!r}")
        if not 0 < floor <= 1:
            raise InvalidSetting(f"floor must be above 0, at most 1, not {floor!r}")
        self._window = duration("window", window)
        self._steps = steps
        self._exponent = 1 / aggression
        self._floor = floor
        self._climbing: dict[B, _Climb] = {}
        self._peopled_at = inf

    @abstractmethod
    def _changed(self, backend: B, climbs: bool, now: float) -> None:
        """Hear that a member began to climb, took a step, or (``climbs`` is false) arrived."""

    def begin(self, backend: B, now: float) -> None:
        """Climb from the floor, whatever went before; O(log n).

        Raises UnknownBackend, InvalidTime.
        """
        self._state(backend)
        now = self._at(now)
        self._climbing.pop(backend, None)
        phase = 1 - len(self._climbing) * _GOLDEN % 1
        self._climbing[backend] = climb = _Climb(now, phase)
        self._record(backend, True, now, f"for {self._window} s", reason="slow start")
        if not self._announce(backend, climb, now):
            self._arrive(backend, now)
            return
        self._changed(backend, climbs=True, now=now)
        self.due = min(self.due, self._timers.first)

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member, which climbs unless everybody is new; O(log n)."""
        super().added(backend, now)
        if len(self._members) == 1:
            self._peopled_at = self._now
        if self._now - self._peopled_at >= self._window:
            self.begin(backend, now)
            self._told.pop(backend, None)  # whoever adds it asks
            self.due = -inf if self._told else self._timers.first

    def removed(self, backend: B, now: float) -> None:
        """Forget the member; O(log n)."""
        self._climbing.pop(backend, None)
        super().removed(backend, now)

    def recovered(self, backend: B, now: float) -> None:
        """Hear that it is open again that soft gates had closed: it climbs; O(log n)."""
        self.begin(backend, now)

    def share(self, backend: B, now: float) -> float:
        """Give the share of a full one that it has, 1 unless it climbs.  Raises UnknownBackend."""
        self._state(backend)
        climb = self._climbing.get(backend)
        if climb is None:
            return 1
        step = self._step(climb, max(now, self._now))
        return self._value(climb, step)

    def _expired(self, backend: B, when: float) -> None:
        if self._announce(backend, self._climbing[backend], when):
            self._changed(backend, climbs=True, now=when)
        else:
            self._arrive(backend, when)

    def _arrive(self, backend: B, now: float) -> None:
        del self._climbing[backend]
        self._record(backend, False, now, reason="slow start")
        self._changed(backend, climbs=False, now=now)

    def _announce(self, backend: B, climb: _Climb, now: float) -> bool:
        """Set the next instant at which the share moves, and say whether there is one."""
        step = self._step(climb, now)
        value = self._value(climb, step)
        while step < self._steps:
            step += 1
            if self._value(climb, step) != value:
                self._timers.set(backend, self._instant(climb, step))
                return True
        return False

    def _value(self, climb: _Climb, step: int) -> float:
        if step == self._steps:
            return 1
        progress = (step - 1 + climb.phase) / self._steps if step else 0
        return max(self._floor, float(progress**self._exponent))

    def _instant(self, climb: _Climb, step: int) -> float:
        return climb.begun + self._window * (step - 1 + climb.phase) / self._steps

    def _step(self, climb: _Climb, now: float) -> int:
        """Give the last step whose announced instant has come."""
        progress = (now - climb.begun) / self._window * self._steps
        step = min(max(int(progress - climb.phase + 1), 0), self._steps)
        while step < self._steps and self._instant(climb, step + 1) <= now:
            step += 1
        while step and self._instant(climb, step) > now:
            step -= 1
        return step
