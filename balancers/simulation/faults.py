"""Defines what can go wrong with a server of a simulation, and when."""

from dataclasses import dataclass
from math import inf
from typing import Any

from balancers._internal.checks import at_least, number, shown
from balancers.errors import InvalidSetting, InvalidTime
from balancers.simulation._grid import LATEST, tick
from balancers.simulation._seconds import check_seconds

__all__ = ["Crash", "Errors", "FastFailures", "Fault", "Freeze", "Slow", "flap"]


_MOST_CRASHES = 2**52
"""The last of as many crashes, two ticks apart, ends after the latest time."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The server of ``backend`` is down from ``start`` to ``end``, in seconds.

    The requests on the server fail at ``start``.  Requests that arrive later fail ``refuse_after``
    seconds after their arrival: 0 for a connection that is refused at once, more for one that is
    not answered.  Probes fail in the same way.  ``end`` may be ``inf``.

    >>> Crash("a", start=60.0, end=120.0)
    Crash(backend='a', start=60.0, end=120.0, refuse_after=0.0)

    Raises InvalidTime for a time that is negative, NaN or later than 2 ** 22 seconds, and unless
    ``start`` is before ``end``.  Raises InvalidSetting for a negative duration.
    """

    backend: Any
    start: float
    end: float
    refuse_after: float = 0.0

    def __post_init__(self) -> None:
        _check_times(self.start, self.end, endless=True)
        check_seconds("refuse_after", self.refuse_after)


@dataclass(frozen=True, slots=True)
class Freeze:
    """The server of ``backend`` makes no progress from ``start`` to ``end``, in seconds.

    Its requests wait and are continued at ``end``.  Probes are not answered.

    >>> Freeze("a", start=60.0, end=90.0)
    Freeze(backend='a', start=60.0, end=90.0)

    Raises InvalidTime as :class:`Crash` does, and for an ``end`` that is infinite.
    """

    backend: Any
    start: float
    end: float

    def __post_init__(self) -> None:
        _check_times(self.start, self.end, endless=False)


@dataclass(frozen=True, slots=True)
class Slow:
    """The server of ``backend`` is ``factor`` times slower from ``start`` to ``end``, in seconds.

    This includes the rest of the requests that are in service at ``start``.  Probes are answered as
    usual.  ``end`` may be ``inf``.

    >>> Slow("a", start=60.0, end=90.0, factor=10)
    Slow(backend='a', start=60.0, end=90.0, factor=10)

    Raises InvalidTime as :class:`Crash` does.  Raises InvalidSetting for a ``factor`` below 1.
    """

    backend: Any
    start: float
    end: float
    factor: float

    def __post_init__(self) -> None:
        _check_times(self.start, self.end, endless=True)
        if not 1 <= number("factor", self.factor) <= LATEST:
            raise InvalidSetting(f"factor must be 1 to {LATEST:g}, not {shown(self.factor)}")


@dataclass(frozen=True, slots=True)
class Errors:
    """A share of the requests of ``backend`` fails from ``start`` to ``end``, in seconds.

    Each request that reaches the server in this time is served, and then fails with the probability
    ``share``.  Probes are answered as usual.  ``end`` may be ``inf``.

    >>> Errors("a", start=60.0, end=90.0, share=0.5)
    Errors(backend='a', start=60.0, end=90.0, share=0.5)

    Raises InvalidTime as :class:`Crash` does.  Raises InvalidSetting unless ``share`` is above 0
    and at most 1.
    """

    backend: Any
    start: float
    end: float
    share: float

    def __post_init__(self) -> None:
        _check_times(self.start, self.end, endless=True)
        _check_share(self.share)


@dataclass(frozen=True, slots=True)
class FastFailures:
    """A share of the requests of ``backend`` fails without work, from ``start`` to ``end``.

    Each request that reaches the server in this time fails with the probability ``share``, and does
    so ``after`` seconds later.  Probes are answered as usual.  ``end`` may be ``inf``.

    A balancer that compares requests in flight sends more requests to such a server than to others.

    >>> FastFailures("a", start=60.0, end=90.0)
    FastFailures(backend='a', start=60.0, end=90.0, share=1.0, after=0.0005)

    Raises InvalidTime as :class:`Crash` does.  Raises InvalidSetting unless ``share`` is above 0
    and at most 1, and for a negative duration.
    """

    backend: Any
    start: float
    end: float
    share: float = 1.0
    after: float = 0.0005

    def __post_init__(self) -> None:
        _check_times(self.start, self.end, endless=True)
        _check_share(self.share)
        check_seconds("after", self.after)


Fault = Crash | Freeze | Slow | Errors | FastFailures
"""What can go wrong with a server."""


def flap(backend: Any, start: float, down: float, up: float, times: int) -> tuple[Crash, ...]:
    """Return crashes that repeat: ``times`` times ``down`` seconds down, then ``up`` seconds up.

    >>> [(crash.start, crash.end) for crash in flap("a", 60.0, down=2.0, up=8.0, times=3)]
    [(60.0, 62.0), (70.0, 72.0), (80.0, 82.0)]

    Raises InvalidSetting for a duration that is not positive, and for ``times`` below 1.  Raises
    InvalidTime as :class:`Crash` does.
    """
    at_least(1, times=times)
    check_seconds("down", down, positive=True)
    check_seconds("up", up, positive=True)
    last = number("start", start) + (min(times, _MOST_CRASHES) - 1) * (down + up)
    _check_times(last, last + down, endless=False)  # before all of them are made
    starts = (start + turn * (down + up) for turn in range(times))
    return tuple(Crash(backend, each, each + down) for each in starts)


def _check_times(start: float, end: float, *, endless: bool) -> None:
    """Raise InvalidTime unless the times are valid, and one tick or more apart."""
    latest = f"up to {LATEST:g}"
    if not 0 <= number("start", start) <= LATEST:
        raise InvalidTime(f"start must be seconds {latest}, not {shown(start)}")
    valid = number("end", end) <= LATEST or (endless and end == inf)
    if not valid:
        raise InvalidTime(f"end must be seconds {latest}, not {shown(end)}")
    if end < inf and not tick(start) < tick(end):
        raise InvalidTime(f"end must be later than start, {shown(start)}, not {shown(end)}")


def _check_share(share: float) -> None:
    if not 0 < number("share", share) <= 1:
        raise InvalidSetting(f"share must be above 0 and at most 1, not {shown(share)}")
