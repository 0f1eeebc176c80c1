"""The gate protocol: one reason to limit a backend's traffic.

A gate gives each backend a factor from 0 (closed) to 1 (open).  The pool multiplies the factors of
all its gates into the backend's weight, so the order of the gates cannot matter.  A factor changes
only at the instant announced in :attr:`~Gate.due`, or by an event that the gate was informed of; it
then sets ``due`` to minus infinity.  The pool compares ``due`` with the time before each pick and
calls :meth:`~Gate.changes` only when there are changes, so a pick filters nothing.

A gate stands for one reason only.  Its factors must not depend on those of other gates.
"""

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

from balancers._internal.types import B
from balancers.event import Event
from balancers.outcome import Outcome

__all__ = ["Gate"]


class Gate(Protocol[B]):
    """One reason to limit traffic, as a factor per backend.

    A subclass defines ``reason``, ``factor`` and ``changes``; everything else has a default.
    :class:`balancers.gates.MemberGate` is a more convenient base: it keeps a state per member and
    collects the changes.

    A gate belongs to one pool.  The pool sets ``taken`` on it, and refuses a gate that has it set
    already; an object that cannot have attributes is not protected in this way.
    """

    reason: str
    """The name in refusals and reports, for example "draining"; two gates may share one."""
    soft: bool = False
    """Whether the pool may ignore it in a panic: True for health, False for drains and limits."""
    spares_bound: bool = False
    """Whether bound requests (sticky sessions) pass while it is closed: True for drains."""
    fractional: bool = False
    """Whether some factors are strictly between 0 and 1."""
    due: float = inf
    """When ``changes`` has its next change, in seconds: ``inf`` for never, ``-inf`` for now."""

    def attach(self, in_flight: Callable[[B], int], events: deque[Event] | None) -> None:
        """Called once, when a pool takes the gate.

        ``in_flight`` returns the number of requests in flight on a backend; 0 for a backend that is
        not a member.  ``events`` is where the gate appends its events, or None.
        """
        return

    def factor(self, backend: B, now: float) -> float:
        """Return the backend's factor at ``now``, from 0 to 1; reading changes nothing."""
        ...

    def changes(self, now: float) -> Iterable[B]:
        """Return the backends whose factor changed since the last call, and set ``due`` again.

        A backend whose factor changed and changed back is among them.
        """
        ...

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins the pool."""
        return

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves the pool: remove what is stored of it."""
        return

    def recovered(self, backend: B, now: float) -> None:
        """Called when a backend that soft gates had closed is open again.

        The pool notices this at the next request: a backend that closed and opened again between
        two requests did not recover.
        """
        return

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts; ``in_flight`` includes it."""
        return

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends that started at ``started_at``; ``in_flight`` excludes it."""
        return
