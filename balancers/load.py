"""What a load is: how busy a backend is, as a number; less is better."""

from typing import Protocol, TypeVar

from balancers.outcome import SUCCESS, Outcome

__all__ = ["Load"]

B_contra = TypeVar("B_contra", contravariant=True)


class Load(Protocol[B_contra]):
    """How busy.  It belongs to the one balancer it was given to, which forwards the events."""

    def value(self, backend: B_contra, now: float) -> float:
        """Say how busy the backend is at ``now``; reading never changes it."""
        ...

    def started(self, backend: B_contra, now: float = 0.0) -> None:
        """Hear that a request began."""
        return

    def finished(self, backend: B_contra, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Hear that a request ended."""
        return

    def removed(self, backend: B_contra) -> None:
        """Hear that the backend left: forget it."""
        return
