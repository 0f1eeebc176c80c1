"""What a pool and its gates did, as plain data for whoever wants to know."""

from typing import NamedTuple

__all__ = ["Event"]


class Event(NamedTuple):
    """A reason began to hold, or ended, at an instant.

    ``at`` is in seconds: when it happened, or was announced to happen, not when it was noticed; but
    ``panic`` is of the pool, which weighs it at the next request.  ``reason`` is a gate's;
    ``member``, who joins and leaves with nothing said of what held then; ``drained``;
    ``slow start`` for a climb of either ramp; ``saturated`` for the pool's own limit; or ``panic``.
    ``backend`` is None where the whole pool is meant.  ``detail`` is for people: by what.

    >>> from collections import deque
    >>> from balancers import Drain, Pool, RoundRobin
    >>> events, drain = deque(maxlen=100), Drain()
    >>> pool = Pool(RoundRobin(["a"]), gates=[drain], events=events)
    >>> drain.begin("a", now=7.0)
    >>> events.pop()
    Event(at=7.0, reason='draining', began=True, backend='a', detail='until 37.0')
    """

    at: float
    reason: str
    began: bool
    backend: object = None
    detail: str = ""
