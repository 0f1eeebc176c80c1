"""A queue for requests that a full pool refused: bounded, in order, with a time limit."""

from collections.abc import Iterable
from math import inf
from typing import Generic, NamedTuple, TypeVar

from balancers._internal.checks import at_least, duration, valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.timers import Timers
from balancers.errors import QueueFull

__all__ = ["AdmissionQueue", "Waiting"]

T = TypeVar("T")


class Waiting(NamedTuple, Generic[T]):
    """An entry of a queue: its item and priority, and from when until when in seconds it waits."""

    item: T
    priority: int
    number: int
    """How many entries the queue has had, this one included."""
    since: float
    deadline: float


class AdmissionQueue(SharesBackends, Generic[T]):
    """At most ``limit`` items wait, each for at most ``timeout`` seconds, first in first out.

    A higher ``priority`` is served first; items of the same priority are served in the order of
    their arrival.  :meth:`wake` removes exactly one item: call it when a lease is released, and
    acquire for that item.  An item that waited too long is never returned by :meth:`wake`;
    :meth:`expired` returns it, once.

    >>> queue = AdmissionQueue(limit=2, timeout=5.0)
    >>> first, second = queue.join("first", now=0.0), queue.join("urgent", now=1.0, priority=1)
    >>> queue.join("third", now=2.0)
    Traceback (most recent call last):
    balancers.errors.QueueFull: the queue is full: 2 items wait, limit 2
    >>> queue.wake(now=3.0).item, queue.expired(now=5.0)[0].item, len(queue)
    ('urgent', 'first', 0)

    Every method is O(log n).  Copies share the items.
    Raises InvalidSetting for a limit below 1 or a timeout that is not positive; ``inf`` means no
    timeout.
    """

    def __init__(self, limit: int, timeout: float = 60.0) -> None:
        at_least(1, limit=limit)
        self._limit = limit
        self._timeout = duration("timeout", timeout, endless=True)
        self._now = -inf
        self._last_number = 0
        from sortedcontainers import SortedDict  # noqa: PLC0415 - loaded only where it is used

        self._order: SortedDict[tuple[int, int], Waiting[T]] = SortedDict()
        self._deadlines: Timers[tuple[int, int]] = Timers()
        self._expired: list[Waiting[T]] = []

    def join(
        self, item: T, now: float, priority: int = 0, timeout: float | None = None
    ) -> Waiting[T]:
        """Add an item after those of its priority; its own ``timeout`` in seconds is optional.

        Raises QueueFull, InvalidTime, InvalidSetting, TypeError for a priority that is not an int;
        nothing has changed then.
        """
        wait = self._timeout if timeout is None else duration("timeout", timeout, endless=True)
        if type(priority) is not int:
            raise TypeError(f"priority must be an int, not {priority!r}")
        now = self._advance(now)
        if len(self._order) >= self._limit:
            raise QueueFull(
                f"the queue is full: {len(self._order)} items wait, limit {self._limit}"
            )
        self._last_number += 1
        waiting = Waiting(item, priority, self._last_number, now, now + wait)
        key = self._key(waiting)
        self._order[key] = waiting
        if waiting.deadline < inf:
            self._deadlines.set(key, waiting.deadline)
        return waiting

    def leave(self, waiting: Waiting[T]) -> bool:
        """Remove an entry, and return whether it was in the queue.

        It is not if it was woken, expired or removed before, or is an entry of another queue.
        """
        key = self._key(waiting)
        stored = self._order.get(key)
        if stored is None or stored.item is not waiting.item or stored[1:] != waiting[1:]:
            return False
        self._deadlines.cancel(key)
        del self._order[key]
        return True

    def wake(self, now: float) -> Waiting[T] | None:
        """Remove and return the next entry, None if the queue is empty.  Raises InvalidTime."""
        self._advance(now)
        if not self._order:
            return None
        key, waiting = self._order.popitem(0)
        self._deadlines.cancel(key)
        return waiting

    def expired(self, now: float) -> list[Waiting[T]]:
        """Return the entries that expired since the last call.  Raises InvalidTime."""
        self._advance(now)
        expired, self._expired = self._expired, []
        return expired

    @property
    def due(self) -> float:
        """When the next entry expires, in seconds; ``inf`` if none will; O(1)."""
        return self._deadlines.first

    def __len__(self) -> int:
        return len(self._order)

    def __repr__(self) -> str:
        return f"<AdmissionQueue: {len(self)} of {self._limit} waiting, timeout {self._timeout} s>"

    def _known_backends(self) -> Iterable[object]:
        return [waiting.item for waiting in (*self._order.values(), *self._expired)]

    @staticmethod
    def _key(waiting: Waiting[T]) -> tuple[int, int]:
        return (-waiting.priority, waiting.number)

    def _advance(self, now: float) -> float:
        """Store the time, and remove the entries that expired until then."""
        self._now = valid_now(now, self._now)
        for key in self._deadlines.take(self._now):
            self._expired.append(self._order.pop(key))
        return self._now
