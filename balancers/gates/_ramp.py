"""Ramps: a backend that joined or recovered grows to its full share in announced steps."""

from abc import abstractmethod
from math import inf

from balancers._internal.checks import at_least, duration, number
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate, S

__all__ = ["RampGate"]

_DECIMALS = 3
"""Shares are rounded to thousandths, so that sums of effective weights stay exact and short."""
_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Its multiples, modulo 1, are spread evenly over 0…1, however many there are."""


class _Ramp:
    """One ramp in progress.

    ``start``: seconds; up to one step before the real start, which shifts all steps of the ramp.
    ``step``: the number of the last step taken.
    """

    __slots__ = ("start", "step")

    def __init__(self, start: float) -> None:
        self.start = start
        self.step = 0


class RampGate(MemberGate[B, S]):
    """Members that ramp up for ``window`` seconds after they joined or recovered.

    The base class of :class:`~balancers.SlowStart` and :class:`~balancers.gates.WarmUp`.  The share
    at t seconds is max(min_share, (t / window) ** (1 / aggression)), rounded to thousandths.  It
    changes at ``steps`` instants; the last one is the end of the window, where the share is 1.
    Backends that ramp up together take their steps at different instants: every ramp but the first
    is up to one step early.

    A backend that joins a pool that was empty less than ``window`` seconds ago does not ramp up:
    every backend is new then.  A recovery is noticed at the next request; the ramp starts there.

    Raises InvalidSetting for a window or aggression that is not positive and finite, a min_share
    that is not above 0 and at most 1, or fewer than 2 steps.
    """

    def __init__(self, window: float, steps: int, aggression: float, min_share: float) -> None:
        super().__init__()
        at_least(2, steps=steps)
        if not 0 < number("aggression", aggression) < inf:
            raise InvalidSetting(f"aggression must be positive and finite, not {aggression!r}")
        if not 0 < number("min_share", min_share) <= 1:
            raise InvalidSetting(f"min_share must be above 0 and at most 1, not {min_share!r}")
        self._window = duration("window", window)
        self._steps = steps
        lowest = max(min_share, 10**-_DECIMALS)
        progress = (step / steps for step in range(steps))
        shares = [round(max(p ** (1 / aggression), lowest), _DECIMALS) for p in progress]
        self._shares: list[float] = [*shares, 1]
        self._offsets = [window * step / steps for step in range(steps + 1)]
        self._next_steps = [steps] * steps  # per step: the next one that changes the share
        for step in range(steps - 2, -1, -1):
            same = shares[step] == shares[step + 1]
            self._next_steps[step] = self._next_steps[step + 1] if same else step + 1
        self._ramping: dict[B, _Ramp] = {}
        self._populated_at = inf  # when the pool last got its first member

    @abstractmethod
    def _step_taken(self, backend: B, ramping: bool, now: float) -> None:
        """Called when a member starts to ramp up, takes a step, or has its full share.

        ``ramping`` is False for the last of these.
        """

    def begin(self, backend: B, now: float) -> None:
        """Start a ramp from ``min_share``, also if one is in progress; O(log n).

        Raises UnknownBackend, InvalidTime.
        """
        self.state_of(backend)
        now = self.advance(now)
        self._ramping.pop(backend, None)
        early = len(self._ramping) * _GOLDEN_RATIO % 1
        self._ramping[backend] = _Ramp(now - early * self._window / self._steps)
        self.record_event(backend, True, now, f"for {self._window} s", reason="slow start")
        self.timer_expired(backend, now)
        self.due = min(self.due, self.timers.first)

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins: it ramps up unless the pool is new; O(log n)."""
        super().added(backend, now)
        if len(self._members) == 1:
            self._populated_at = self._now
        if self._now - self._populated_at >= self._window:
            self.begin(backend, now)
            # The pool asks for the factor of a new member without being notified.
            self._changed.pop(backend, None)
            self.due = -inf if self._changed else self.timers.first

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        self._ramping.pop(backend, None)
        super().removed(backend, now)

    def recovered(self, backend: B, now: float) -> None:
        """Called when a backend that soft gates had closed is open again: it ramps up; O(log n)."""
        self.begin(backend, now)

    def share(self, backend: B, now: float) -> float:
        """Return the member's share, above 0 and at most 1; 1 unless it ramps up.

        Raises UnknownBackend.
        """
        ramp = self._ramping.get(backend)
        if ramp is None:
            self.state_of(backend)
            return 1
        now = max(self._now, now)
        step = ramp.step
        while step < self._steps and ramp.start + self._offsets[self._next_steps[step]] <= now:
            step = self._next_steps[step]
        return self._shares[step]

    def timer_expired(self, backend: B, when: float) -> None:
        """Take the steps that are due, and set the timer for the next change of the share."""
        ramp = self._ramping[backend]
        step = ramp.step
        while step < self._steps:
            following = self._next_steps[step]
            instant = ramp.start + self._offsets[following]
            if instant > when:
                ramp.step = step
                self.timers.set(backend, instant)
                self._step_taken(backend, ramping=True, now=when)
                return
            step = following
        del self._ramping[backend]
        self.record_event(backend, False, when, reason="slow start")
        self._step_taken(backend, ramping=False, now=when)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: window {self._window} s, {self._steps} steps, "
            f"min_share {self._shares[0]}, {len(self._ramping)} of {len(self._members)} ramping up>"
        )
