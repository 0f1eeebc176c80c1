"""Defines the protocol of gates.  A gate limits the traffic of backends for one reason.

A gate gives each backend a factor from 0 (closed) to 1 (open).  The pool multiplies the weight of
each backend by its factors from all gates.  The order of the gates has no effect.

A factor may change for two causes only:

* Time.  The gate announces the time of its next change in :attr:`~Gate.due`.
* An event that is reported to the gate.  The gate then sets ``due`` to minus infinity.

Before each pick, the pool compares ``due`` with the current time.  The pool calls
:meth:`~Gate.changes` only if ``due`` has come, so a pick does not check every backend.

The times that a pool passes to a gate never decrease.  A gate's own methods may be called with an
earlier time, because a caller read the clock earlier.  Every method treats a time that is earlier
than the latest one as the latest one.

A gate stands for one reason only.  Its factors must not depend on the factors of other gates.  A
gate says what it knows.  The pool alone decides which gates it ignores when no member is open.

More members are optional.  They are not part of the protocol, so that a class without them
still conforms to it:

* ``last_resort`` (a bool, False by default).  If True, the pool ignores this gate while no member
  is open otherwise, before it ignores soft gates.  Such a gate must not be soft.
* ``limits_in_flight`` (a bool, False by default).  True for a gate that closes a backend because of
  its requests in flight.  Such a backend opens when a request ends, so it helps to wait.
* ``unproven(backend, now)``, a method.  It returns True if a soft gate closes a backend that has
  had no result until ``now``.  The pool then treats the gate as hard for this backend.  When the
  value changes, the backend must be among the changes, and ``due`` must announce a change that time
  causes.
* ``charged(backend, change, now)``, a method.  It is called when the cost of the requests in flight
  on a member changes by the int ``change``, which is not 0: after ``started`` and ``finished``, and
  at :meth:`Pool.progress`.  It is not called for requests without a cost.
* ``without_room(cost, now)``, a method.  It returns the members that cannot take one more request
  of this cost, as a mapping to :class:`NoRoom`.  Members that the gate closes may be left out,
  unless the cost is too large for them whatever else they do.  The pool asks for requests with a
  cost only, and avoids these members.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple, Protocol

from balancers._internal.types import B
from balancers.event import Event
from balancers.outcome import Outcome

__all__ = ["Gate", "NoRoom"]


class NoRoom(NamedTuple):
    """Says why a backend has no room for a request of a certain cost.

    >>> NoRoom("saturated", full=True)
    NoRoom(reason='saturated', full=True, retry_at=inf)
    """

    reason: str
    """The name of the reason in refusals and reports.  It is that of the gate, or "too large" if
    the backend can never take a request of this cost."""
    full: bool = False
    """Whether the backend can take the request as soon as enough other requests have ended."""
    retry_at: float = inf
    """The time in seconds from which the backend can take the request if nothing else changes, or
    ``inf``."""


class Gate(Protocol[B]):
    """Limits traffic for one reason, by a factor per backend.

    A subclass must define ``reason``, ``factor`` and ``changes``.  Everything else has a default.
    :class:`balancers.gates.MemberGate` is a more convenient base class: it keeps a state per member
    and collects the changes.

    Use one gate object for one pool only.  The pool sets the attribute ``taken`` of the gate to
    True.  A pool raises AlreadyInUse if ``taken`` is True already.  If an object does not allow new
    attributes, the pool cannot detect that the object is used twice.
    """

    reason: str
    """The name of this reason in refusals and reports, for example "draining".

    Two gates may have the same reason.
    """
    soft: bool = False
    """Whether the pool ignores this gate during a panic (when too few members are open).

    True for health checks.  False for drains and limits.
    """
    spares_bound: bool = False
    """Whether a closed backend still gets bound requests (requests of sticky sessions).

    True for drains.
    """
    fractional: bool = False
    """Whether the gate can return a factor that is above 0 and below 1."""
    due: float = inf
    """The time of the next change of a factor, in seconds.

    ``inf`` means that no change is announced.  ``-inf`` means that a factor has already changed.
    """

    def attach(self, in_flight: Callable[[B], int], events: deque[Event] | None) -> None:
        """Called once, when a pool is created with this gate.

        The function ``in_flight`` returns the number of requests in flight on a backend.  It
        returns 0 for a backend that is not a member.  The gate appends its events to ``events``,
        unless ``events`` is None.
        """
        return

    @abstractmethod
    def factor(self, backend: B, now: float) -> float:
        """Return the backend's factor at ``now``, from 0 to 1.  The call changes no state."""
        ...

    @abstractmethod
    def changes(self, now: float) -> Iterable[B]:
        """Return the backends whose factor changed since the last call.  Also set ``due`` again.

        The result includes backends whose factor changed and then changed back.  It must not
        include backends whose factor did not change: from a soft gate that is not fractional, the
        pool concludes that such a backend was closed in between, and has recovered.
        """
        ...

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins the pool."""
        return

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves the pool.  Delete everything that is stored for it.

        Ignore a backend that is not a member.  The same is true for :meth:`recovered`,
        :meth:`started` and :meth:`finished`.
        """
        return

    def recovered(self, backend: B, now: float) -> None:
        """Called when a backend recovers.

        Soft gates had closed the backend, and now all of them are open for it.  This includes a
        backend that closed and opened again between two requests.
        """
        return

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts.  The number ``in_flight`` includes this request."""
        return

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends.  The request started at ``started_at``, in seconds.

        The number ``in_flight`` does not include this request any more.
        """
        return
