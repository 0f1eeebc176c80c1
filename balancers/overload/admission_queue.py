"""Defines a queue in which requests wait while the pool is full.

The number of items is limited, and so is the time that each item waits.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Any, Generic, NamedTuple

from balancers._internal.checks import at_least, duration, shown, valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.timers import Timers
from balancers._internal.types import T
from balancers.errors import QueueFull

__all__ = ["AdmissionQueue", "Waiting"]


class Waiting(NamedTuple, Generic[T]):
    """An item that waits in a queue, with its priority.

    The item waits from the time ``since`` to the time ``deadline``.  Both times are in seconds.
    """

    item: T
    priority: int
    number: int
    """The serial number of the entry in its queue.  The first entry has the number 1."""
    since: float
    deadline: float
    backend: Any = None
    """The backend that the item waits for, or None if any backend can serve it."""


class AdmissionQueue(SharesBackends, Generic[T]):
    """Lets at most ``limit`` items wait, each for at most ``timeout`` seconds.

    An item with a higher ``priority`` leaves the queue earlier.  Items with the same priority leave
    in the order in which they arrived.  Add an item when ``full`` of a refusal is positive: only
    then it helps to wait.  Call :meth:`wake` when a lease is released.  It removes one item from
    the queue.  Then acquire a lease for that item.

    If the items want different backends, the first item is not always the one that can be served.
    If requests have costs, the end of one can make room for several items, or for none.  In both
    cases iterate over the queue instead.  The iteration yields the entries in the order in which
    :meth:`wake` would return them, each in O(log n).  Try to acquire a lease for an entry, and pass
    the entry to :meth:`leave` if this succeeds.  Other entries keep their places.  Items can be
    added and removed during the iteration.

    An item can also wait for one ``backend``, for example for the backend of its key.  Then call
    :meth:`wake` with the backend whose request has ended: it returns the first of the items that
    wait for this backend or for any.  If a backend has left or is down, :meth:`peek` at its items,
    and :meth:`move` them.  They keep their places and deadlines.

    If an item has waited too long, :meth:`wake` does not return it.  :meth:`expired` returns each
    such item once.

    >>> queue = AdmissionQueue(limit=2, timeout=5.0)
    >>> first, second = queue.join("first", now=0.0), queue.join("urgent", now=1.0, priority=1)
    >>> queue.join("third", now=2.0)
    Traceback (most recent call last):
    balancers.errors.QueueFull: the queue is full: 2 items wait, limit 2
    >>> queue.wake(now=3.0).item, queue.expired(now=5.0)[0].item, len(queue)
    ('urgent', 'first', 0)
    >>> for name in ("second", "third"):
    ...     entry = queue.join(name, now=6.0)
    >>> [entry.item for entry in queue if queue.leave(entry)], len(queue)
    (['second', 'third'], 0)

    >>> entries = [queue.join(name, now=6.0, backend=name[0]) for name in ("b1", "a1")]
    >>> queue.waiting_for("a"), queue.wake(now=7.0, backend="a").item, queue.backends
    (1, 'a1', ('b',))
    >>> queue.move(entries[0], "c").backend, queue.wake(now=7.0, backend="c").item
    ('c', 'b1')

    Every method is O(log n), plus O(log n) for each item that expires.  A deep copy of a queue
    contains the same item objects.
    Raises InvalidSetting for a limit below 1, or for a timeout that is not positive.  A timeout of
    ``inf`` means that items can wait without a time limit.
    """

    def __init__(self, limit: int, timeout: float = 60.0) -> None:
        at_least(1, limit=limit)
        self._limit = limit
        self._timeout = duration("timeout", timeout, endless=True)
        self._now = -inf
        self._last_number = 0
        from sortedcontainers import SortedDict  # noqa: PLC0415 - loaded only where it is used

        self._order: SortedDict[tuple[int, int], Waiting[T]] = SortedDict()
        self._places: dict[object, SortedDict[tuple[int, int], Waiting[T]]] = {}
        """The same entries by backend, also by None.  It is empty until the first entry waits for
        a backend."""
        self._deadlines: Timers[tuple[int, int]] = Timers()
        self._expired: list[Waiting[T]] = []

    def join(
        self,
        item: T,
        now: float,
        priority: int = 0,
        timeout: float | None = None,
        backend: object = None,
    ) -> Waiting[T]:
        """Add an item behind the items of its priority, and return its entry.

        ``timeout`` is in seconds.  It replaces the timeout of the queue for this item.  ``backend``
        is the backend that the item waits for; None means any.

        Raises QueueFull, InvalidTime, InvalidSetting, and TypeError for a priority that is not an
        int or a backend that is not hashable.  If the method raises, the item was not added.
        """
        wait = self._timeout if timeout is None else duration("timeout", timeout, endless=True)
        if type(priority) is not int:
            raise TypeError(f"priority must be an int, not {shown(priority)}")
        hash(backend)
        now = self._advance(now)
        if len(self._order) >= self._limit:
            raise QueueFull(
                f"the queue is full: {len(self._order)} items wait, limit {self._limit}"
            )
        self._last_number += 1
        waiting = Waiting(item, priority, self._last_number, now, now + wait, backend)
        key = self._key(waiting)
        self._add(key, waiting)
        if waiting.deadline < inf:
            self._deadlines.set(key, waiting.deadline)
        return waiting

    def leave(self, waiting: Waiting[T]) -> bool:
        """Remove an entry, and return whether it was in the queue.

        The result is False if the entry was woken, expired or removed before.  The result is also
        False if the entry belongs to another queue.  An entry that was moved since can be passed as
        it was before.
        """
        key = self._key(waiting)
        if not self._contains(key, waiting):
            return False
        self._deadlines.cancel(key)
        self._remove(key)
        return True

    def move(self, waiting: Waiting[T], backend: object = None) -> Waiting[T] | None:
        """Let an entry wait for another backend, or for any, and return it as it is now.

        It keeps its number and deadline.  So among the entries of its priority that wait for the
        backend, it is placed by its time of arrival.  The result is None if :meth:`leave` would
        return False.  Raises TypeError for a backend that is not hashable.
        """
        hash(backend)
        key = self._key(waiting)
        if not self._contains(key, waiting):
            return None
        moved = self._remove(key)._replace(backend=backend)
        self._add(key, moved)
        return moved

    def wake(self, now: float, backend: object = None) -> Waiting[T] | None:
        """Remove and return the next entry.  If there is none, return None.

        With a ``backend``, this is the first of the entries that wait for it or for any backend.
        Without, it is the first entry, whichever backend it waits for.  Raises InvalidTime.
        """
        self._advance(now)
        if not self._places:
            if not self._order:
                return None
            key, waiting = self._order.popitem(0)
            self._deadlines.cancel(key)
            return waiting
        first = self._first(backend)
        if first is None:
            return None
        self._deadlines.cancel(first)
        return self._remove(first)

    def peek(self, now: float, backend: object = None) -> Waiting[T] | None:
        """Return the entry that :meth:`wake` would return, but do not remove it.

        Raises InvalidTime.
        """
        self._advance(now)
        key = self._first(backend)
        return None if key is None else self._order[key]

    def waiting_for(self, backend: object) -> int:
        """Return the number of entries that wait for this backend, or for any (None); O(1)."""
        if backend is None and not self._places:
            return len(self._order)
        return len(self._places.get(backend, ()))

    @property
    def backends(self) -> tuple[Any, ...]:
        """The backends that entries wait for; O(backends).  It does not contain None."""
        return tuple(backend for backend in self._places if backend is not None)

    def expired(self, now: float) -> list[Waiting[T]]:
        """Return the entries that have expired since the last call of this method.

        Raises InvalidTime.
        """
        self._advance(now)
        expired, self._expired = self._expired, []
        return expired

    @property
    def due(self) -> float:
        """The time in seconds at which :meth:`expired` next has entries to report; O(1).

        It is ``inf`` if no entry will expire, and ``-inf`` if expired entries are waiting to be
        reported.
        """
        return -inf if self._expired else self._deadlines.first

    def __iter__(self) -> Iterator[Waiting[T]]:
        order, place = self._order, 0
        while place < len(order):
            key, waiting = order.peekitem(place)
            yield waiting
            place = order.bisect_right(key)

    def __len__(self) -> int:
        return len(self._order)

    def __repr__(self) -> str:
        return f"<AdmissionQueue: {len(self)} of {self._limit} waiting, timeout {self._timeout} s>"

    def _known_backends(self) -> Iterable[object]:
        entries = (*self._order.values(), *self._expired)
        return [each for entry in entries for each in (entry.item, entry.backend)]

    @staticmethod
    def _key(waiting: Waiting[T]) -> tuple[int, int]:
        return (-waiting.priority, waiting.number)

    def _contains(self, key: tuple[int, int], waiting: Waiting[T]) -> bool:
        stored = self._order.get(key)
        return stored is not None and stored.item is waiting.item and stored[1:-1] == waiting[1:-1]

    def _first(self, backend: object) -> tuple[int, int] | None:
        """Return the key of the next entry that the backend can serve."""
        if backend is None or not self._places:
            return self._order.keys()[0] if self._order else None
        places = (self._places.get(backend), self._places.get(None))
        return min((place.keys()[0] for place in places if place is not None), default=None)

    def _add(self, key: tuple[int, int], waiting: Waiting[T]) -> None:
        self._order[key] = waiting
        if self._places:
            self._place(key, waiting)
        elif waiting.backend is not None:
            for each, entry in self._order.items():
                self._place(each, entry)

    def _place(self, key: tuple[int, int], waiting: Waiting[T]) -> None:
        place = self._places.get(waiting.backend)
        if place is None:
            place = self._places[waiting.backend] = type(self._order)()
        place[key] = waiting

    def _remove(self, key: tuple[int, int]) -> Waiting[T]:
        waiting: Waiting[T] = self._order.pop(key)
        if self._places:
            place = self._places[waiting.backend]
            del place[key]
            if not place:
                del self._places[waiting.backend]
        return waiting

    def _advance(self, now: float) -> float:
        """Store and return the time, which never goes back.

        The entries that have expired by this time are moved to ``_expired``.
        """
        self._now = valid_now(now, self._now)
        for key in self._deadlines.take(self._now):
            self._expired.append(self._remove(key))
        return self._now
