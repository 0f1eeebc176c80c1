"""Defines the load protocol.  A load measures how busy a backend is, as a number.

Three more members are optional.  They are not part of the protocol, so that a class without them
still conforms to it.  A balancer that uses a load looks them up once, and forwards them:

* ``timed`` (a bool, False by default).  If True, the pool measures how long each request takes, and
  ``finished`` gets an outcome with ``elapsed``.
* ``charged(backend, change, now)``, a method.  Called when the cost in flight of a backend changes:
  the sum of what its requests in flight cost.  ``change`` is an int, and not 0.  It is positive
  after ``started``, negative before or after ``finished``, and either when the application reports
  progress.  It is not called for a request without a cost.
* ``progressed(backend, elapsed, now)``, a method.  Called at the first progress of a request, for
  example its first token.  ``elapsed`` is the time in seconds since the request started.
"""

from abc import abstractmethod
from typing import Protocol, TypeVar

from balancers.outcome import SUCCESS, Outcome

__all__ = ["Load"]

B_contra = TypeVar("B_contra", contravariant=True)


class Load(Protocol[B_contra]):
    """Measures how busy each backend is.  A lower number means less busy.

    Use one Load object for one balancer only.  The balancer calls ``started``, ``finished`` and
    ``removed`` on it.  It sets the attribute ``taken`` of the load to True, and another balancer
    then raises AlreadyInUse.  A subclass must define ``value``.  The other methods do nothing by
    default.

    A value is finite, and 0 or more.  A time that is earlier than the latest one counts as the
    latest one.
    """

    @abstractmethod
    def value(self, backend: B_contra, now: float) -> float:
        """Return how busy the backend is at ``now``.  The call changes no state."""
        ...

    def started(self, backend: B_contra, now: float = 0.0) -> None:
        """Called when a request starts."""
        return

    def finished(self, backend: B_contra, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.  Ignore it if the backend has no request in flight.

        An outcome whose ``ok`` is None says nothing about the backend, and neither does its
        duration.
        """
        return

    def removed(self, backend: B_contra) -> None:
        """Called when the backend leaves the balancer.  Delete what is stored for the backend."""
        return
