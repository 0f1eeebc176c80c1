"""Defines the events of a pool.  An event describes one change in a pool or a gate."""

from typing import NamedTuple

__all__ = ["Event"]


class Event(NamedTuple):
    """Describes that a reason began or ended, for one backend or for the whole pool.

    >>> from collections import deque
    >>> from balancers import Drain, Pool, RoundRobin
    >>> events, drain = deque(maxlen=100), Drain()
    >>> pool = Pool(RoundRobin(["a"]), gates=[drain], events=events)
    >>> drain.begin("a", now=7.0)
    >>> events.pop()
    Event(at=7.0, reason='draining', began=True, backend='a', detail='until 37.0')
    """

    at: float
    """The time of the change in seconds.  If the change was announced, this is the announced time.
    For a "panic" it is the time of the call in which the pool noticed it."""
    reason: str
    """The reason of a gate, or one of nine others.  "member" begins when a backend joins the pool
    and ends when it leaves; then every other reason of the backend ends too, without an event.
    "leaving" means that an update with ``keep`` does not contain the backend.  "drained" means that
    a drain is complete.  "on trial" means that :class:`~balancers.gates.PassiveChecks` allows trial
    requests after a pause.  "slow start" means that the weight of a backend rises gradually.
    "outlier" means that :class:`~balancers.gates.OutlierEjection` found an outlier and did not
    eject it, because of ``enforcing``; this begins and ends at the same time.
    "saturated" means that the limit of the pool is reached.  "panic" means that the pool ignores
    the soft gates, and "last resort" that it ignores the gates with ``last_resort``."""
    began: bool
    """True if the reason began, False if it ended."""
    backend: object = None
    """The backend that the event is about.  It is None if the event is about the whole pool."""
    detail: str = ""
    """A text for people that describes the cause."""
