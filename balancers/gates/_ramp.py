"""Ramps: who joined or came back climbs to its full share in announced steps."""

from abc import abstractmethod
from math import inf

from balancers._internal.checks import at_least, duration, number
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate, S

__all__ = ["RampGate"]

_DECIMALS = 3
"""Shares are thousandths, so that sums of effective weights stay exact and short."""
_GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are spread evenly however many there are."""


class _Climb:
    """When the climb began, less the fraction of a step it is early, and the last step taken."""

    __slots__ = ("begun", "step")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.step = 0


class RampGate(MemberGate[B, S]):
    """Members that climb for ``window`` seconds from when they joined or recovered.

    The share at time t is max(min_share, (t / window) ** (1 / aggression)) in thousandths, taken at
    ``steps`` instants, the last of which is the end of the window and gives 1.  Those who climb
    together take their steps at different instants, all but the first of them up to a step early.
    In a pool that was empty less than ``window`` seconds ago joining is no climb: everybody is new.
    A recovery is noticed at the next request, and the climb begins then.  Shared by
    :class:`~balancers.SlowStart` and :class:`~balancers.gates.WarmUp`.

    Raises InvalidSetting for a window or aggression that is not positive and finite, a min_share
    outside 0…1 (above 0), or fewer than 2 steps.
    """

    def __init__(self, window: float, steps: int, aggression: float, min_share: float) -> None:
        super().__init__()
        at_least(2, steps=steps)
        if not 0 < number("aggression", aggression) < inf:
            raise InvalidSetting(f"aggression must be positive and finite, not {aggression!r}")
        if not 0 < number("min_share", min_share) <= 1:
            raise InvalidSetting(f"min_share must be above 0, at most 1, not {min_share!r}")
        self._window = duration("window", window)
        self._steps = steps
        least = max(min_share, 10**-_DECIMALS)
        progress = (step / steps for step in range(steps))
        shares = [round(max(p ** (1 / aggression), least), _DECIMALS) for p in progress]
        self._shares: list[float] = [*shares, 1]
        self._offsets = [window * step / steps for step in range(steps + 1)]
        self._follows = [steps] * steps  # the next step that moves the share
        for step in range(steps - 2, -1, -1):
            same = shares[step] == shares[step + 1]
            self._follows[step] = self._follows[step + 1] if same else step + 1
        self._climbing: dict[B, _Climb] = {}
        self._peopled_at = inf

    @abstractmethod
    def _step_taken(self, backend: B, climbs: bool, now: float) -> None:
        """Hear that a member began to climb, took a step, or (``climbs`` is false) arrived."""

    def begin(self, backend: B, now: float) -> None:
        """Climb from ``min_share``, whatever went before; O(log n).

        Raises UnknownBackend, InvalidTime.
        """
        self.state_of(backend)
        now = self.advance(now)
        self._climbing.pop(backend, None)
        early = len(self._climbing) * _GOLDEN % 1
        self._climbing[backend] = _Climb(now - early * self._window / self._steps)
        self.record_event(backend, True, now, f"for {self._window} s", reason="slow start")
        self.timer_expired(backend, now)
        self.due = min(self.due, self.timers.first)

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member, which climbs unless everybody is new; O(log n)."""
        super().added(backend, now)
        if len(self._members) == 1:
            self._peopled_at = self._now
        if self._now - self._peopled_at >= self._window:
            self.begin(backend, now)
            self._changed.pop(backend, None)  # whoever adds it asks
            self.due = -inf if self._changed else self.timers.first

    def removed(self, backend: B, now: float) -> None:
        """Forget the member; O(log n)."""
        self._climbing.pop(backend, None)
        super().removed(backend, now)

    def recovered(self, backend: B, now: float) -> None:
        """Hear that it is open again that soft gates had closed: it climbs; O(log n)."""
        self.begin(backend, now)

    def share(self, backend: B, now: float) -> float:
        """Give the share of a full one that it has, 1 unless it climbs.  Raises UnknownBackend."""
        climb = self._climbing.get(backend)
        if climb is None:
            self.state_of(backend)
            return 1
        now = max(self._now, now)
        step = climb.step
        while step < self._steps and climb.begun + self._offsets[self._follows[step]] <= now:
            step = self._follows[step]
        return self._shares[step]

    def timer_expired(self, backend: B, when: float) -> None:
        """Take the steps whose instants have come, and announce the next that moves the share."""
        climb = self._climbing[backend]
        step = climb.step
        while step < self._steps:
            following = self._follows[step]
            instant = climb.begun + self._offsets[following]
            if instant > when:
                climb.step = step
                self.timers.set(backend, instant)
                self._step_taken(backend, climbs=True, now=when)
                return
            step = following
        del self._climbing[backend]
        self.record_event(backend, False, when, reason="slow start")
        self._step_taken(backend, climbs=False, now=when)
