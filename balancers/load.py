"""The load protocol: how busy a backend is, as a number; lower is better."""

from typing import Protocol, TypeVar

from balancers.outcome import SUCCESS, Outcome

__all__ = ["Load"]

B_contra = TypeVar("B_contra", contravariant=True)


class Load(Protocol[B_contra]):
    """Measures how busy each backend is.

    A load belongs to the one balancer that it was passed to, which forwards the events to it.  A
    subclass must define ``value``; the other methods do nothing by default.
    """

    def value(self, backend: B_contra, now: float) -> float:
        """Return how busy the backend is at ``now``; reading changes nothing."""
        ...

    def started(self, backend: B_contra, now: float = 0.0) -> None:
        """Called when a request starts."""
        return

    def finished(self, backend: B_contra, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends."""
        return

    def removed(self, backend: B_contra) -> None:
        """Called when the backend leaves the balancer: forget it."""
        return
