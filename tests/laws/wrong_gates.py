"""Plausible but wrong gates, each caught by the law that is named for it."""

from collections.abc import Iterable
from itertools import count
from math import inf, nan
from time import monotonic
from typing import Any, ClassVar

from balancers import Gate
from balancers.gates import MemberGate
from tests.laws.wrong import wrong_gate


class Pause(MemberGate[Any, list[float]]):
    """Right: a failure closes a backend for ten seconds."""

    reason = "pause"
    seconds = 10.0

    def new_state(self, now: float) -> list[float]:
        return [-inf]

    def factor(self, backend: Any, now: float) -> float:
        return 0 if self.clamp(now) < self.state_of(backend)[0] else 1

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        now = self.settle(now)
        state = self.find_state(backend)
        if state is not None and outcome.ok is False:
            self.close(backend, state, now)

    def close(self, backend: Any, state: list[float], now: float) -> None:
        was_open = state[0] <= now
        state[0] = now + self.seconds
        self.timers.set(backend, state[0])
        if was_open:
            self.notify_change(backend)


class Limit(MemberGate[Any, int]):
    """Right: at most two requests in flight."""

    reason = "full"
    limits_in_flight = True
    most = 2

    def new_state(self, now: float) -> int:
        return 0

    def factor(self, backend: Any, now: float) -> float:
        self.clamp(now)
        return 1 if self.state_of(backend) < self.most else 0

    def set_count(self, backend: Any, in_flight: int, now: float) -> None:
        self.settle(now)
        before = self.find_state(backend)
        if before is None:
            return
        self._members[backend] = in_flight
        if (before < self.most) != (in_flight < self.most):
            self.notify_change(backend)

    def started(self, backend: Any, in_flight: int, now: float) -> None:
        self.set_count(backend, in_flight, now)

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        self.set_count(backend, in_flight, now)


@wrong_gate("factors_are_factors")
class AboveOne(Limit):
    """An idle backend gets more than its weight, as a reward."""

    fractional = True

    def factor(self, backend: Any, now: float) -> float:
        return 1.5 if not self.state_of(backend) else super().factor(backend, now)


@wrong_gate("factors_are_factors")
class NotANumber(Pause):
    """The time since the last failure over the pause: infinity minus infinity at first."""

    fractional = True

    def factor(self, backend: Any, now: float) -> float:
        opens = self.state_of(backend)[0]
        return nan if opens == -inf else super().factor(backend, now)


@wrong_gate("factors_are_factors")
class NotFractional(Pause):
    """A ramp of a half in a gate that says that it is not fractional."""

    def factor(self, backend: Any, now: float) -> float:
        return super().factor(backend, now) or 0.5


@wrong_gate("factors_move_only_as_announced")
class ForgetsToWake(Pause):
    """Opens when the pause is over, and announces nothing."""

    def close(self, backend: Any, state: list[float], now: float) -> None:
        state[0] = now + self.seconds
        self.notify_change(backend)


@wrong_gate("factors_move_only_as_announced")
class WakesTooLate(Pause):
    """Opens a moment before the announced time."""

    def factor(self, backend: Any, now: float) -> float:
        return 0 if self.clamp(now) < self.state_of(backend)[0] - 0.125 else 1


@wrong_gate("factors_move_only_as_announced")
class Creeps(Pause):
    """The factor grows all the time, and only the end is announced.  Bug 33."""

    fractional = True

    def factor(self, backend: Any, now: float) -> float:
        left = self.state_of(backend)[0] - self.clamp(now)
        return 1 - max(0.0, min(1.0, left / self.seconds))


@wrong_gate("changes_names_every_change")
class ClosesInSilence(Pause):
    """The opening is among the changes, the closing is not."""

    def close(self, backend: Any, state: list[float], now: float) -> None:
        state[0] = now + self.seconds
        self.timers.set(backend, state[0])
        self.due = min(self.due, state[0])


@wrong_gate("changes_names_every_change")
class OneAtATime(Pause):
    """``changes`` returns one backend and forgets the others."""

    def changes(self, now: float) -> Iterable[Any]:
        return list(super().changes(now))[:1]


@wrong_gate("changes_names_every_change")
class OpeningsOnly(Limit):
    """Only the closing of a full backend is among the changes."""

    def set_count(self, backend: Any, in_flight: int, now: float) -> None:
        self.settle(now)
        before = self.find_state(backend)
        if before is None:
            return
        self._members[backend] = in_flight
        if before < self.most <= in_flight:
            self.notify_change(backend)


@wrong_gate("changes_settle")
class AlwaysDue(Pause):
    """``due`` stays in the past, so that every pick asks for changes again.  Bug 13's cousin."""

    def changes(self, now: float) -> Iterable[Any]:
        changed = list(super().changes(now))
        if changed:
            self.due = now
        return changed


@wrong_gate("changes_settle")
class NeverForgetsChanges(Pause):
    """The list of changes is never cleared."""

    def changes(self, now: float) -> Iterable[Any]:
        self.expire(self.advance(now))
        self.due = -inf if self._changed else self._next_instant()
        return list(self._changed)


@wrong_gate("reading_changes_nothing")
class ReadingCounts(Pause):
    """A soft circuit breaker that lets one request in three through by counting the readings."""

    def __init__(self) -> None:
        self.readings = 0
        super().__init__()

    def factor(self, backend: Any, now: float) -> float:
        self.readings += 1
        return super().factor(backend, now)


@wrong_gate("reading_changes_nothing")
class ReadingOpens(Pause):
    """The state machine moves on when it is read.  Hystrix' ``allowRequest``; bug 30."""

    def factor(self, backend: Any, now: float) -> float:
        state = self.state_of(backend)
        if state[0] != -inf and self.clamp(now) >= state[0]:
            state[0] = -inf
        return super().factor(backend, now)


@wrong_gate("copies_go_on_alike")
class SharedStates(Pause):
    """The pauses belong to the class, so that every copy has those of the others."""

    until: ClassVar[dict[Any, list[float]]] = {}

    def new_state(self, now: float) -> list[float]:
        return [-inf]

    def state_of(self, backend: Any) -> list[float]:
        super().state_of(backend)
        return self.until.setdefault(backend, [-inf])

    def find_state(self, backend: Any) -> list[float] | None:
        if backend not in self._members:
            return None
        return self.until.setdefault(backend, [-inf])

    def removed(self, backend: Any, now: float) -> None:
        super().removed(backend, now)
        self.until.pop(backend, None)


@wrong_gate("copies_go_on_alike")
class Uncopied(Pause):
    """A generator numbers the pauses; no generator can be copied."""

    def __init__(self) -> None:
        self.numbers = (number for number in count())
        super().__init__()


@wrong_gate("removed_forgets")
class RemembersTheRemoved(Pause):
    """A backend that comes back is still in the pause of before.  Bugs 38 and 43."""

    def __init__(self) -> None:
        self.kept: dict[Any, list[float]] = {}
        super().__init__()

    def added(self, backend: Any, now: float) -> None:
        super().added(backend, now)
        if backend in self.kept:
            self._members[backend] = self.kept[backend]
            self.notify_change(backend)
            if self.kept[backend][0] > now:
                self.timers.set(backend, self.kept[backend][0])

    def removed(self, backend: Any, now: float) -> None:
        state = self.find_state(backend)
        if state is not None:
            self.kept[backend] = state
        super().removed(backend, now)


@wrong_gate("removed_forgets")
class CountsFailuresForever(Limit):
    """Closes a backend after its third failure ever, whoever had that address.  Bug 38."""

    def __init__(self) -> None:
        self.failures: dict[Any, int] = {}
        super().__init__()

    def factor(self, backend: Any, now: float) -> float:
        return 0 if self.failures.get(backend, 0) > 2 else super().factor(backend, now)

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        super().finished(backend, outcome, in_flight, started_at, now)
        if outcome.ok is False and self.find_state(backend) is not None:
            self.failures[backend] = self.failures.get(backend, 0) + 1
            self.notify_change(backend)


@wrong_gate("time_never_goes_back")
class BackInTime(Pause):
    """Takes the time as it comes, so that an earlier one reopens or closes again.  Bug 42."""

    def factor(self, backend: Any, now: float) -> float:
        return 0 if now < self.state_of(backend)[0] else 1


@wrong_gate("time_never_goes_back")
class EndsBeforeItBegan(Pause):
    """A failure that is reported late closes for a shorter time, or shortens the pause.  Bug 42."""

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        self.settle(now)
        state = self.find_state(backend)
        if state is not None and outcome.ok is False:
            state[0] = now + self.seconds
            self.timers.set(backend, state[0])
            self.notify_change(backend)


@wrong_gate("unknown_backends_are_ignored")
class KeyErrorForOthers(Pause):
    """The end of a request of a backend that has left raises KeyError."""

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        if not self.find_state(backend):
            raise KeyError(backend)
        super().finished(backend, outcome, in_flight, started_at, now)


@wrong_gate("unknown_backends_are_ignored")
class AdoptsOthers(Limit):
    """A request of a backend that has left makes it a member again.  Bug 40."""

    def set_count(self, backend: Any, in_flight: int, now: float) -> None:
        self._members.setdefault(backend, 0)
        super().set_count(backend, in_flight, now)


@wrong_gate("idle_gates_fall_silent")
class Ticks(Pause):
    """Announces a change every second, for ever, whether there is one or not.  Bug 47."""

    def changes(self, now: float) -> Iterable[Any]:
        changed = list(super().changes(now))
        self.due = min(self.due, self._now + 1.0)
        return changed


@wrong_gate("idle_gates_fall_silent")
class NeverQuiteOpen(MemberGate[Any, list[float]]):
    """The factor comes half the way nearer to 1 every second, so it changes for ever."""

    reason = "nearly"
    fractional = True

    def new_state(self, now: float) -> list[float]:
        return [1.0]

    def factor(self, backend: Any, now: float) -> float:
        return self.state_of(backend)[0]

    def timer_expired(self, backend: Any, when: float) -> None:
        state = self._members[backend]
        state[0] = 1 - state[0] / 2
        self.timers.set(backend, when + 1.0)

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        now = self.settle(now)
        state = self.find_state(backend)
        if state is not None and outcome.ok is False:
            state[0] = 0.0
            self.timers.set(backend, now + 1.0)
            self.notify_change(backend)


@wrong_gate("one_pool_only")
class TwoPools(Pause):
    """Says that it is free whatever a pool has written there."""

    @property
    def taken(self) -> bool:
        return False

    @taken.setter
    def taken(self, value: object) -> None:
        return


@wrong_gate("unknown_outcomes_change_nothing")
class CancelledIsFailed(Pause):
    """A cancelled request counts as a failure.  Bug 40."""

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        now = self.settle(now)
        state = self.find_state(backend)
        if state is not None and not outcome.ok:
            self.close(backend, state, now)


@wrong_gate("unknown_outcomes_change_nothing")
class CancelledIsFine(MemberGate[Any, list[int]]):
    """Three failures in a row close for good; a cancelled request ends the row.  Bug 28."""

    reason = "row"

    def new_state(self, now: float) -> list[int]:
        return [0]

    def factor(self, backend: Any, now: float) -> float:
        return 0 if self.state_of(backend)[0] >= 3 else 1

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        state = self.find_state(backend)
        if state is not None and state[0] < 3:
            state[0] = state[0] + 1 if outcome.ok is False else 0
            if state[0] == 3:
                self.notify_change(backend)


@wrong_gate("factors_move_only_as_announced")
class OwnClock(Gate[Any]):
    """Opens by its own clock.  Bugs 36 and 42."""

    reason = "clock"

    def __init__(self) -> None:
        self.until: dict[Any, float] = {}

    def factor(self, backend: Any, now: float) -> float:
        return 0 if monotonic() < self.until.get(backend, 0.0) else 1

    def changes(self, now: float) -> Iterable[Any]:
        self.due = inf
        return list(self.until)

    def removed(self, backend: Any, now: float) -> None:
        self.until.pop(backend, None)

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        if outcome.ok is False:
            self.until[backend] = monotonic() + 1e-5
            self.due = -inf


@wrong_gate("removed_backends_take_no_memory")
class SeenBefore(Pause):
    """Remembers the name of every backend that has ever failed, to log it only once.  Bug 38."""

    def __init__(self) -> None:
        self.seen: dict[Any, float] = {}
        super().__init__()

    def close(self, backend: Any, state: list[float], now: float) -> None:
        self.seen.setdefault(backend, now)
        super().close(backend, state, now)


@wrong_gate("limits_open_at_rest")
class CancelledStay(Limit):
    """Counts for itself, and a cancelled request is never uncounted.  Bug 40."""

    def started(self, backend: Any, in_flight: int, now: float) -> None:
        self.set_count(backend, (self.find_state(backend) or 0) + 1, now)

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        if outcome.ok is not None:
            self.set_count(backend, max(0, (self.find_state(backend) or 0) - 1), now)


@wrong_gate("is_a_gate")
class SoftLastResort(Pause):
    """Is soft and the last resort, so that a pool would ignore it twice.  Bug 32."""

    soft = True
    last_resort = True


@wrong_gate("pools_follow_their_gates")
class AsksThePool(MemberGate[Any, None]):
    """Reads the requests in flight when it is asked, and announces nothing."""

    reason = "full"
    limits_in_flight = True

    def new_state(self, now: float) -> None:
        return None

    def factor(self, backend: Any, now: float) -> float:
        return 1 if self.in_flight_on(backend) < 2 else 0
