"""Slow start: a newcomer's share grows in announced steps."""

from typing import TypeVar

from balancers.gates.members import MemberGate
from balancers.membership import at_least, duration

__all__ = ["SlowStart"]

B = TypeVar("B")


class SlowStart(MemberGate[B, float]):
    """A factor that climbs from 1/steps to 1 in equal steps over ``window`` seconds.

    Each backend climbs from when it was added, or from :meth:`begin`, which a caller says on a
    recovery.  Soft and fractional: refused over a balancer that does not honour fractions.  Every
    method is O(log n).

    >>> ramp = SlowStart(window=30.0, steps=4)
    >>> ramp.added("a", now=0.0)
    >>> [ramp.factor("a", now) for now in (0.0, 9.9, 10.0, 20.0, 30.0)]
    [0.25, 0.25, 0.5, 0.75, 1.0]

    Raises InvalidSetting for a window that is not positive, or fewer than 2 steps.
    """

    reason = "slow start"
    soft = True
    fractional = True

    def __init__(self, window: float, steps: int = 16) -> None:
        super().__init__()
        at_least(2, steps=steps)
        self._window = duration("window", window)
        self._steps = steps

    def _fresh(self, now: float) -> float:
        return now

    def factor(self, backend: B, now: float) -> float:
        """Give the step's share of 1.  Raises UnknownBackend."""
        return (self._step(self._state(backend), max(now, self._now)) + 1) / self._steps

    def begin(self, backend: B, now: float) -> None:
        """Climb again from the lowest step.  Raises UnknownBackend, InvalidTime."""
        self._state(backend)
        now = self._at(now)
        self._members[backend] = now
        self._announce(backend, now)
        self._tell(backend)

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member: the lowest step."""
        super().added(backend, now)
        self._announce(backend, self._members[backend])
        self.due = min(self.due, self._timers.first)

    def _expired(self, backend: B, when: float) -> None:
        self._announce(backend, when)

    def _announce(self, backend: B, now: float) -> None:
        """Set the first instant after ``now`` at which the backend's factor moves."""
        begun = self._members[backend]
        step = self._step(begun, now)
        if step < self._steps - 1:
            self._timers.set(backend, self._instant(begun, step + 1))

    def _instant(self, begun: float, step: int) -> float:
        return begun + self._window * step / (self._steps - 1)

    def _step(self, begun: float, now: float) -> int:
        """Give the last step whose announced instant has come."""
        last = self._steps - 1
        step = min(max(int((now - begun) / self._window * last), 0), last)
        while step < last and self._instant(begun, step + 1) <= now:
            step += 1
        while step and self._instant(begun, step) > now:
            step -= 1
        return step
