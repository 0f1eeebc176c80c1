"""Events: what a pool and its gates did, as plain data."""

from typing import NamedTuple

__all__ = ["Event"]


class Event(NamedTuple):
    """A reason began to hold, or ended.

    >>> from collections import deque
    >>> from balancers import Drain, Pool, RoundRobin
    >>> events, drain = deque(maxlen=100), Drain()
    >>> pool = Pool(RoundRobin(["a"]), gates=[drain], events=events)
    >>> drain.begin("a", now=7.0)
    >>> events.pop()
    Event(at=7.0, reason='draining', began=True, backend='a', detail='until 37.0')
    """

    at: float
    """When it happened or was announced to happen, in seconds.  A "panic" is an exception: it is
    the time of the request at which the pool noticed it."""
    reason: str
    """A gate's reason; "member" when a backend joins or leaves, which ends every other reason of
    that backend without an event; "drained"; "slow start" for a ramp; "saturated" for the limit of
    the pool; or "panic"."""
    began: bool
    """Whether the reason began to hold; otherwise it ended."""
    backend: object = None
    """The backend, None for the whole pool."""
    detail: str = ""
    """For people: what caused it."""
