"""Suspects a member when its silence is unlikely, compared with its own earlier heartbeats.

Source: N. Hayashibara, X. Défago, R. Yared, T. Katayama, 2004; see :class:`PhiDetector`.
"""

from typing import cast

from balancers._internal.checks import at_least, number, shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.redundancy._intervals import Intervals
from balancers.redundancy._normal import phi_of, quantile_of
from balancers.redundancy.failure_detector import FailureDetector

__all__ = ["PhiDetector"]

_SHORTEST, _LONGEST = 1e-9, 1e9
"""The shortest and the longest setting in seconds: a nanosecond and 31 years."""
_HIGHEST_THRESHOLD = 1e6
_LARGEST_WINDOW = 1_000_000


class PhiDetector(FailureDetector[B]):
    """Suspects a member when the phi of its silence reaches ``threshold``.

    phi is -log10 of the chance that a heartbeat comes later than now.  The chance is that of a
    normal distribution with the mean and the standard deviation of the last ``window`` intervals
    between heartbeats of this member.  So at a threshold of 8, about one of 10⁸ heartbeats would be
    suspected wrongly if the intervals were normal and independent.  Unlike with a plain time-out,
    the time until a member is suspected follows its heartbeats: it is short if they are regular.

    ``least_deviation`` is the least standard deviation in seconds.  Without it, a member with
    regular heartbeats is suspected because of a delay of a millisecond.  ``pause`` is added to the
    mean, in seconds: it is how long heartbeats may be missing without any suspicion, for example
    during a garbage collection or a burst of loss.  ``first_interval`` is the expected time between
    two heartbeats in seconds.  It is the mean until heartbeats arrive, with a quarter of it as the
    deviation.

    The defaults are those of Akka's cluster.  Cassandra has the same threshold and window, but no
    pause, and an exponential distribution.  With the threshold 8, a member is suspected after a
    silence of mean + pause + 5.61 standard deviations.

    >>> detector = PhiDetector(threshold=8.0, pause=1.0)
    >>> detector.add("lb2", now=0.0)
    >>> for second in range(1, 61):
    ...     _ = detector.heartbeat("lb2", now=float(second))
    >>> round(detector.due, 2), round(detector.phi("lb2", now=62.0), 1)
    (62.56, 0.3)
    >>> detector.tick(now=detector.due)[0].reason
    'silent'

    The sums of the window are computed in whole ticks without rounding, so they never drift.  A
    heartbeat is O(1) amortised.  The memory is O(members · window).

    Raises InvalidSetting for a threshold that is not above 0 and at most 1e6, for a window that is
    not 1 to 1 000 000, and for a ``least_deviation``, a ``first_interval`` or a ``pause`` that is
    not 1e-9 to 1e9 seconds.  A ``pause`` may also be 0.

    Source: N. Hayashibara, X. Défago, R. Yared, T. Katayama, "The φ accrual failure detector", SRDS
    2004.  As in Akka, an interval that ended after the member was due is not learned.  Unlike Akka,
    which uses a logistic approximation, phi is computed from the exact tail.
    """

    def __init__(
        self,
        threshold: float = 8.0,
        *,
        window: int = 1000,
        least_deviation: float = 0.1,
        pause: float = 3.0,
        first_interval: float = 1.0,
        own_pause: float = 1.0,
    ) -> None:
        super().__init__(own_pause)
        if not 0 < number("threshold", threshold) <= _HIGHEST_THRESHOLD:
            raise InvalidSetting(f"threshold must be above 0, up to 1e6, not {shown(threshold)}")
        at_least(1, window=window)
        if window > _LARGEST_WINDOW:
            raise InvalidSetting(f"window must be up to {_LARGEST_WINDOW}, not {shown(window)}")
        self._threshold = float(threshold)
        self._window = window
        self._least = _seconds("least_deviation", least_deviation)
        self._pause = 0.0 if pause == 0 else _seconds("pause", pause)
        self._first_interval = _seconds("first_interval", first_interval)
        self._deviations = quantile_of(self._threshold)

    def phi(self, member: B, now: float) -> float:
        """Return how unlikely the silence of the member is: a finite number, 0 or more.

        It is computed for a member that is suspected, too.  :attr:`due` is the time at which it
        reaches the threshold, up to rounding.  Raises UnknownBackend, InvalidTime.
        """
        silence = self.silence(member, now)
        mean, deviation = self.estimate(member)
        return phi_of((silence - mean - self._pause) / deviation)

    def estimate(self, member: B) -> tuple[float, float]:
        """Return the mean and the standard deviation of the intervals of a member in seconds.

        The deviation is at least ``least_deviation``.  Raises UnknownBackend.
        """
        return cast("Intervals", self._state_of(member).history).estimate()

    def new_history(self) -> Intervals:
        return Intervals(
            self._window, self._first_interval, self._least, self._deviations, self._pause
        )

    def __repr__(self) -> str:
        alive = sum(state.alive for state in self._members.values())
        return (
            f"<PhiDetector: threshold {self._threshold:g}, {alive} of {len(self._members)} alive>"
        )


def _seconds(name: str, seconds: float) -> float:
    if not _SHORTEST <= number(name, seconds) <= _LONGEST:
        raise InvalidSetting(
            f"{name} must be {_SHORTEST:g} to {_LONGEST:g} seconds, not {shown(seconds)}"
        )
    return float(seconds)
