"""Computes the timers of VRRP, and the bounds that follow from them."""

from balancers._internal.checks import number, shown
from balancers._internal.exact import exact
from balancers.errors import InvalidSetting

__all__ = ["centiseconds", "checked_priority", "down_interval", "skew_time"]

_LONGEST = 4095
_OWNER = 255
_UNITS = 25600  # hundredths of a second, and 256 steps of the priority


def checked_priority(priority: int) -> int:
    """Return the priority.  Raise InvalidSetting unless it is an int, 1 to 255."""
    if type(priority) is not int or not 1 <= priority <= _OWNER:
        raise InvalidSetting(
            f"priority must be an int, 1 to 254, or 255 for the owner, not {shown(priority)}"
        )
    return priority


def centiseconds(interval: float) -> int:
    """Return an interval of seconds in hundredths of a second, the unit of the packet; O(1).

    A float counts as the decimal that it is printed as.

    >>> centiseconds(0.29), centiseconds(40.95)
    (29, 4095)

    Raises InvalidSetting for an interval outside 0.01 to 40.95 seconds, and for one that is not a
    multiple of 0.01 seconds, because a packet cannot contain it.
    """
    seconds = number("interval", interval)
    if not 0 < seconds <= _LONGEST / 100 or (exact(seconds) * 100).denominator != 1:
        raise InvalidSetting(
            f"interval must be a multiple of 0.01 s, 0.01 to 40.95, not {shown(interval)}"
        )
    return int(exact(seconds) * 100)


def skew_time(priority: int, interval: float) -> float:
    """Return the skew time in seconds: ``(256 - priority) * interval / 256``; O(1).

    The skew makes the backup with the highest priority take over first.  It is also the time after
    which a backup takes over when the active router resigns.  ``interval`` is the time in seconds
    between two advertisements of the active router.  The result is the exact value, rounded once.

    >>> skew_time(100, 1.0), skew_time(254, 1.0)
    (0.609375, 0.0078125)

    Raises InvalidSetting for a priority outside 1 to 255 and for an invalid interval.  RFC 9568,
    section 6.1.
    """
    return (256 - checked_priority(priority)) * centiseconds(interval) / _UNITS


def down_interval(priority: int, interval: float) -> float:
    """Return the down interval in seconds: 3 intervals and the skew time; O(1).

    A backup that has received no advertisement for so long takes over.  The arguments are those of
    :func:`skew_time`.  The result is at least 3 and less than 4 intervals.

    >>> down_interval(100, 1.0), down_interval(1, 0.1)
    (3.609375, 0.399609375)

    Raises InvalidSetting like :func:`skew_time`.  RFC 9568, section 6.1.
    """
    return (1024 - checked_priority(priority)) * centiseconds(interval) / _UNITS
