"""Chooses the time to live (TTL) of a DNS answer: shorter while the answer may change soon."""

from dataclasses import dataclass
from math import inf, isnan

from balancers._internal.checks import check_flags, number, shown
from balancers.errors import InvalidSetting

__all__ = ["TimeToLive"]

_HIGHEST = (1 << 31) - 1
"""The highest TTL (RFC 2181, section 8)."""


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """The limits in seconds of the TTL of DNS answers, from ``minimum`` to ``maximum``.

    While a region is healthy, its answers have the maximum.  So the maximum is how long a cache may
    send clients to a region after it has failed.  While the answer is degraded, it has the minimum,
    because it changes again when the region recovers.  So the minimum limits how often caches ask.

    >>> ttl = TimeToLive(maximum=60, minimum=10)
    >>> ttl.seconds(), ttl.seconds(degraded=True)
    (60, 10)

    An answer that holds for a known time only may have a TTL between the two.  gdnsd passes the
    time in which no check can change the answer, and its minimum is half of the maximum:

    >>> gdnsd = TimeToLive(maximum=300, minimum=150)
    >>> gdnsd.seconds(200.9), gdnsd.seconds(120.0), gdnsd.seconds()
    (200, 150, 300)

    Raises InvalidSetting unless both are ints and 0 <= minimum <= maximum < 2**31.
    """

    maximum: int
    """The TTL in seconds while nothing is known to change."""
    minimum: int
    """The TTL in seconds while the answer is degraded, and the shortest TTL."""

    def __post_init__(self) -> None:
        for name, seconds, limit in (
            ("maximum", self.maximum, _HIGHEST),
            ("minimum", self.minimum, self.maximum),
        ):
            if type(seconds) is not int or not 0 <= seconds <= limit:
                raise InvalidSetting(f"{name} must be an int, 0 to {limit}, not {shown(seconds)}")

    def seconds(self, holds: float = inf, *, degraded: bool = False) -> int:
        """Return the TTL of an answer in whole seconds; O(1).

        ``holds`` is how long the answer is known to hold, in seconds.  It is limited to the minimum
        and the maximum.  ``degraded`` is whether the answer is not the one that it would be if
        everything were healthy.

        Raises InvalidSetting if ``holds`` is NaN or not a number, or ``degraded`` is not a bool.
        """
        check_flags(degraded=degraded)
        holds = number("holds", holds)
        if isnan(holds):
            raise InvalidSetting("holds must be a number of seconds, not NaN")
        if degraded or holds <= self.minimum:
            return self.minimum
        return self.maximum if holds >= self.maximum else int(holds)
