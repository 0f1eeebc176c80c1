"""What a gate is: one reason why a backend gets more, less or no traffic.

A gate gives each backend a factor from 0 (closed) to 1 (open); the pool multiplies the factors of
all its gates into the weight, so their order cannot matter.  A factor is a step function of time:
it moves at an instant announced in :attr:`~Gate.due`, or by an event the gate was told of, and then
``due`` is minus infinity.  The pool reads ``due`` before each pick and asks :meth:`~Gate.moved`
only when there is news; nobody filters on every pick.
"""

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol, TypeVar

from balancers.event import Event
from balancers.outcome import Outcome

__all__ = ["Gate"]

B = TypeVar("B")


class Gate(Protocol[B]):
    """One reason, as a factor a backend.

    Inherit and define ``watch``, ``factor`` and ``moved``, or start from
    :class:`balancers.gates.MemberGate`, which leaves ``factor`` and a member's fresh state.
    """

    reason: str
    """What refusals and reports call it; two gates may share one."""
    soft: bool = False
    """Whether panic may ignore it: health yes, draining and limits never."""
    spares_bound: bool = False
    """Whether a request that already belongs to the backend still gets in: draining yes."""
    fractional: bool = False
    """Whether there are factors strictly between 0 and 1."""
    due: float = inf
    """When ``moved`` next has news: ``inf`` nothing pending, ``-inf`` at once."""

    def watch(self, in_flight: Callable[[B], int]) -> None:
        """Be taken by a pool, once, and learn where to read in-flight counts.

        Raises AlreadyInUse for a second pool.
        """
        ...

    def unwatch(self) -> None:
        """Hear that the pool that took it was refused at construction: it is free again."""
        return

    def report(self, events: deque[Event]) -> None:
        """Be given where every transition of this gate is to be appended from now on."""
        return

    def factor(self, backend: B, now: float) -> float:
        """Say the backend's factor at ``now``, 0 to 1; reading changes nothing."""
        ...

    def moved(self, now: float) -> Iterable[B]:
        """Give the backends whose factor moved since last asked, and set ``due`` anew."""
        ...

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member."""
        return

    def removed(self, backend: B, now: float) -> None:
        """Hear that a member left: forget it."""
        return

    def recovered(self, backend: B, now: float) -> None:
        """Hear that a member is open again that soft gates had closed.

        Noticed at the next request: what closed and opened between two of them is no recovery.
        """
        return

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Hear that a request began; ``in_flight`` counts it."""
        return

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Hear that a request ended that began at ``started_at``; ``in_flight`` is what is left."""
        return
