"""Defines the base class of gates with ramps.

After a backend joined or recovered, a ramp increases its share to 1 in several steps.
"""

from abc import abstractmethod
from math import inf

from balancers._internal.checks import at_least, duration, number, shown
from balancers._internal.types import B, S
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate

__all__ = ["RampGate"]

_DECIMALS = 3
"""Shares are rounded to this number of decimals.

Sums of effective weights are then exact, and have few digits.
"""
_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Its first n multiples, modulo 1, are spread evenly from 0 to 1, for every number n."""


class _Ramp:
    """Stores one ramp in progress.

    ``start`` is the time in seconds from which the steps are counted.  It is up to one step earlier
    than the real start.  All steps of the ramp are therefore earlier by the same time.
    ``step`` is the number of the last step taken.
    """

    __slots__ = ("start", "step")

    def __init__(self, start: float) -> None:
        self.start = start
        self.step = 0


class RampGate(MemberGate[B, S]):
    """Gives each member a share of its full traffic, from ``min_share`` to 1.

    This is the base class of :class:`~balancers.SlowStart` and :class:`~balancers.gates.WarmUp`.

    After a member joined or recovered, its share grows for ``window`` seconds.  During this time,
    the member ramps up.  After t seconds, the share is max(``min_share``, (t / ``window``) **
    (1 / ``aggression``)), rounded to thousandths.  The share is updated at ``steps`` times.  The
    last of these times is the end of the window.  From then on, the share is 1.  If several members
    ramp up together, they take their steps at different times.  For this, the steps of every ramp
    except the first are early by up to one step.

    If a backend joins a pool that was empty less than ``window`` seconds ago, the backend does not
    ramp up, because all backends of this pool are new.  The pool checks for recovery at each
    request, so a ramp after a recovery starts at a request.

    Raises InvalidSetting for a ``window`` or ``aggression`` that is not positive and finite, a
    ``min_share`` of 0 or less or above 1, or fewer than 2 ``steps``.
    """

    def __init__(self, window: float, steps: int, aggression: float, min_share: float) -> None:
        super().__init__()
        at_least(2, steps=steps)
        if not 0 < number("aggression", aggression) < inf:
            raise InvalidSetting(f"aggression must be positive and finite, not {shown(aggression)}")
        if not 0 < number("min_share", min_share) <= 1:
            raise InvalidSetting(f"min_share must be above 0 and at most 1, not {shown(min_share)}")
        self._window = duration("window", window)
        self._steps = steps
        lowest = max(min_share, 10**-_DECIMALS)
        progress = (step / steps for step in range(steps))
        shares = [round(max(p ** (1 / float(aggression)), lowest), _DECIMALS) for p in progress]
        self._shares: list[float] = [*shares, 1]
        self._offsets = [window * step / steps for step in range(steps + 1)]
        self._next_steps = [steps] * steps  # per step: the next step that changes the share
        for step in range(steps - 2, -1, -1):
            same = shares[step] == shares[step + 1]
            self._next_steps[step] = self._next_steps[step + 1] if same else step + 1
        self._ramping: dict[B, _Ramp] = {}
        self._populated_at = inf  # when the pool last got its first member

    @abstractmethod
    def _step_taken(self, backend: B, ramping: bool, now: float) -> None:
        """Called when a member starts to ramp up, takes a step, or reaches the share 1.

        ``ramping`` is False if the member has reached the share 1.
        """

    def begin(self, backend: B, now: float) -> None:
        """Start a ramp from ``min_share``; O(log n).

        If a ramp is in progress, it is replaced: it ends, and another one begins.

        Raises UnknownBackend, InvalidTime.
        """
        self.state_of(backend)
        now = self.advance(now)
        self._end_replaced(backend, now)
        early = len(self._ramping) * _GOLDEN_RATIO % 1
        self._ramping[backend] = _Ramp(now - early * self._window / self._steps)
        self.record_event(backend, True, now, f"for {self._window} s", reason="slow start")
        self.timer_expired(backend, now)
        self.due = min(self.due, self.timers.first)

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins.  It ramps up, unless all backends are new; O(log n)."""
        super().added(backend, now)
        if len(self._members) == 1:
            self._populated_at = self._now
        if self._now - self._populated_at >= self._window:
            self.begin(backend, now)
            # The pool asks for the factor of a new member without being notified.
            self._changed.pop(backend, None)
            due = self.timers.first
            self.due: float = -inf if self._changed or due <= self._now else due

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        self._ramping.pop(backend, None)
        super().removed(backend, now)

    def recovered(self, backend: B, now: float) -> None:
        """Called when a backend recovers (soft gates had closed it).  It ramps up; O(log n)."""
        if backend in self._members:
            self.begin(backend, now)

    def share(self, backend: B, now: float) -> float:
        """Return the share of a member, above 0 and at most 1.

        The share is 1 unless the member ramps up.

        Raises UnknownBackend, InvalidTime.
        """
        now = self.clamp(now)
        ramp = self._ramping.get(backend)
        if ramp is None:
            self.state_of(backend)
            return 1
        step = ramp.step
        while step < self._steps and ramp.start + self._offsets[self._next_steps[step]] <= now:
            step = self._next_steps[step]
        return self._shares[step]

    def timer_expired(self, backend: B, when: float) -> None:
        """Take the steps that are due.  Set the timer for the next change of the share."""
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

    def _end_replaced(self, backend: B, now: float) -> None:
        """End the ramp of the backend, if there is one, because another one begins.

        A ramp that reached the share 1 before ``now`` ended at that time.
        """
        ramp = self._ramping.pop(backend, None)
        if ramp is not None:
            end = ramp.start + self._offsets[-1]
            detail = "" if end <= now else "replaced"
            self.record_event(backend, False, min(end, now), detail, reason="slow start")

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: window {self._window} s, {self._steps} steps, "
            f"min_share {self._shares[0]}, {len(self._ramping)} of {len(self._members)} ramping up>"
        )
