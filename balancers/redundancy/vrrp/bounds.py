"""Computes how long the protocol can leave no router, or two routers, active."""

from balancers._internal.checks import at_least, not_negative
from balancers.redundancy.vrrp.timers import centiseconds, down_interval

__all__ = ["longest_with_two_actives", "longest_without_active"]


def longest_without_active(
    priority: int, interval: float, *, delay: float = 0.0, late: float = 0.0
) -> float:
    """Return the longest time in seconds without an active router after one has failed; O(1).

    ``priority`` is the highest priority of the routers that are still alive and reach each other.
    ``interval`` is the longest interval of the routers.  ``delay`` is the longest time from the
    sending of a packet to its :meth:`VirtualRouter.receive`.  ``late`` is the longest time by
    which a :meth:`VirtualRouter.tick` is late.

    The derivation: the failed router sends its last advertisement at the time *t* or before, so a
    backup receives it at *t + delay* or before.  Each advertisement restarts the down timer with
    at most the down interval of that backup, and nothing restarts it after the last one.  So the
    backup is active at *t + delay + down interval + late*, unless another one is active before.  A
    lost advertisement makes this time shorter, because the timer runs from an earlier one.  The
    delay of a pre-emption does not matter, because the timer runs meanwhile.

    After a :meth:`VirtualRouter.shutdown` whose packet arrives, the down interval of the bound is
    replaced by the skew time (:func:`skew_time`).

    >>> longest_without_active(100, 1.0), longest_without_active(100, 1.0, delay=0.25)
    (3.609375, 3.859375)

    Raises InvalidSetting for a setting that is outside its range.
    """
    waits = not_negative("delay", delay) + not_negative("late", late)
    return down_interval(priority, interval) + waits


def longest_with_two_actives(
    interval: float, *, delay: float = 0.0, late: float = 0.0, lost: int = 0
) -> float:
    """Return the longest time in seconds with two active routers that can reach each other; O(1).

    The time counts from the moment at which both are active and the network carries packets
    between them.  ``interval`` is the longest interval of the routers, and ``lost`` is the most
    advertisements in a row that the network still loses.  ``delay`` and ``late`` are those of
    :func:`longest_without_active`.

    The derivation: of two active routers, one wins: it has the higher priority, or the higher
    address with the same priority.  It sends an advertisement at most *interval + late* after the
    previous one.  So at most *lost + 1* such times after the beginning it sends one that is not
    lost, and the other router receives it *delay* later and becomes a backup.  An advertisement
    of the other router restarts the timer of the winner, but the winner answers it by an
    advertisement, so the time between two of its own does not grow.

    With three or more active routers, the bound is the same, because one of them wins against
    each of the others.

    >>> longest_with_two_actives(1.0), longest_with_two_actives(0.5, delay=0.25, lost=2)
    (1.0, 1.75)

    Raises InvalidSetting for a setting that is outside its range.
    """
    at_least(0, lost=lost)
    not_negative("lost", lost)  # and in the range of a float
    waits = not_negative("delay", delay) + (lost + 1) * not_negative("late", late)
    return (lost + 1) * centiseconds(interval) / 100 + waits
