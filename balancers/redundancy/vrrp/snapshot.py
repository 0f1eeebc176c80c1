"""Defines the state of a virtual router as a value, for a search through all its states."""

from typing import NamedTuple

from balancers.redundancy.vrrp.actions import State

__all__ = ["RouterSnapshot"]


class RouterSnapshot(NamedTuple):
    """The state of a virtual router at a time, without its settings and its counts.

    Two routers with equal settings and equal snapshots behave equally from then on.

    >>> from balancers.redundancy.vrrp import VirtualRouter
    >>> router = VirtualRouter(51, ["10.77.0.100"], "10.77.0.1")
    >>> actions = router.startup(now=100.0)
    >>> router.snapshot(now=101.0).remaining
    2.609375
    """

    state: State
    started: bool
    link: bool
    remaining: float
    """The seconds until :meth:`VirtualRouter.tick` has something to do, 0 or more, or ``inf``."""
    learned_cs: int
    """The interval that was learned from the active router, or 0."""
    resigned: bool
    """Whether the down timer runs for the skew time, because the active router has resigned."""
    preempt_in: float
    """The seconds until the delay of the pre-emption ends, 0 or more.  It is ``inf`` if no
    advertisement of a lower priority has started the delay."""
