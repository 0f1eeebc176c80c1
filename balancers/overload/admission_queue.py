"""A queue before a pool that is full: bounded, in order, and nobody waits for ever."""

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
    """A place in a queue: whose, how urgent, and from when until when in seconds."""

    item: T
    priority: int
    number: int
    since: float
    deadline: float


class AdmissionQueue(SharesBackends, Generic[T]):
    """At most ``limit`` wait, first in first out, each for at most ``timeout`` seconds.

    A higher ``priority`` is served first, and among equals who came first.  :meth:`wake` takes out
    exactly one: call it when a lease is released, and let that one acquire.  Who waited too long is
    never woken; :meth:`expired` reports it, once.

    >>> queue = AdmissionQueue(limit=2, timeout=5.0)
    >>> first, second = queue.join("first", now=0.0), queue.join("urgent", now=1.0, priority=1)
    >>> queue.join("third", now=2.0)
    Traceback (most recent call last):
    balancers.errors.QueueFull: 2 wait already, and no more may
    >>> queue.wake(now=3.0).item, queue.expired(now=5.0)[0].item, len(queue)
    ('urgent', 'first', 0)

    Every method is O(log n).  Copies share the items.
    Raises InvalidSetting for a limit below 1 or a timeout that is not positive; ``inf`` is none.
    """

    def __init__(self, limit: int, timeout: float = 60.0) -> None:
        at_least(1, limit=limit)
        self._limit = limit
        self._timeout = duration("timeout", timeout, endless=True)
        self._now = -inf
        self._number = 0
        from sortedcontainers import SortedDict  # noqa: PLC0415 - a package of its own

        self._order: SortedDict[tuple[int, int], Waiting[T]] = SortedDict()
        self._deadlines: Timers[tuple[int, int]] = Timers()
        self._late: list[Waiting[T]] = []

    def join(
        self, item: T, now: float, priority: int = 0, timeout: float | None = None
    ) -> Waiting[T]:
        """Wait at the end of one's priority, for ``timeout`` seconds if given.

        Raises QueueFull, InvalidTime, InvalidSetting, TypeError for a priority that is no int;
        nothing has changed then.
        """
        patience = self._timeout if timeout is None else duration("timeout", timeout, endless=True)
        if type(priority) is not int:
            raise TypeError(f"priority must be an int, not {priority!r}")
        now = self._advance(now)
        if len(self._order) >= self._limit:
            raise QueueFull(f"{len(self._order)} wait already, and no more may")
        self._number += 1
        waiting = Waiting(item, priority, self._number, now, now + patience)
        place = self._place(waiting)
        self._order[place] = waiting
        if waiting.deadline < inf:
            self._deadlines.set(place, waiting.deadline)
        return waiting

    def leave(self, waiting: Waiting[T]) -> bool:
        """Give up the place, and say whether there was one: not woken, expired or left before."""
        place = self._place(waiting)
        known = self._order.get(place)
        if known is None or known.item is not waiting.item or known[1:] != waiting[1:]:
            return False
        self._deadlines.cancel(place)
        del self._order[place]
        return True

    def wake(self, now: float) -> Waiting[T] | None:
        """Take out who is next, None when nobody waits.  Raises InvalidTime."""
        self._advance(now)
        if not self._order:
            return None
        place, waiting = self._order.popitem(0)
        self._deadlines.cancel(place)
        return waiting

    def expired(self, now: float) -> list[Waiting[T]]:
        """Report who waited too long since last asked.  Raises InvalidTime."""
        self._advance(now)
        late, self._late = self._late, []
        return late

    @property
    def due(self) -> float:
        """Give when the next one will have waited too long, ``inf`` when none will; O(1)."""
        return self._deadlines.first

    def __len__(self) -> int:
        return len(self._order)

    def __repr__(self) -> str:
        return f"<AdmissionQueue: {len(self)} of {self._limit} wait>"

    def _known_backends(self) -> Iterable[object]:
        return [waiting.item for waiting in (*self._order.values(), *self._late)]

    @staticmethod
    def _place(waiting: Waiting[T]) -> tuple[int, int]:
        return (-waiting.priority, waiting.number)

    def _advance(self, now: float) -> float:
        """Take note of the time, and take out who waited until then."""
        self._now = valid_now(now, self._now)
        for place in self._deadlines.take(self._now):
            self._late.append(self._order.pop(place))
        return self._now
