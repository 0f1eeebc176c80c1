"""What the adapters share, and how a library is described on the page."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from balancers.membership import Membership, checked_avoid

__all__ = ["Adapter", "Finding", "Subject"]


class Adapter(Membership[Any]):
    """A balancer that keeps the members itself, and lets a library choose among them."""

    def open(self) -> list[Any]:
        """Return the backends of positive weight, in order of insertion."""
        return [backend for backend, weight in self.weights.items() if weight]

    def first(self, offered: Iterable[Any], avoid: Collection[Any]) -> Any:
        """Return the first offered backend that is open and not avoided.

        The libraries cannot leave out a backend for one request, so the adapter asks again.
        """
        avoid = checked_avoid(avoid)
        eligible = {backend for backend in self.open() if backend not in avoid}
        if not eligible:
            raise self.refusal()
        for backend in offered:
            if backend in eligible:
                return backend
        raise LookupError("the library offers none of the backends that may be picked")


@dataclass(frozen=True)
class Finding:
    """One reason why laws do not hold, found by reading the source of the library."""

    title: str
    verdict: Literal["fault", "contract"]
    """``fault``: wrong by the library's own documentation; ``contract``: another promise."""
    laws: tuple[str, ...]
    """The laws that may not hold for this reason; other examples break others of them.
    The page shows the program of the first one."""
    reason: str
    alone: str = ""
    """A program that uses the library alone, without an adapter.  Every fault has one."""


@dataclass(frozen=True)
class Subject:
    """One algorithm of a library."""

    distribution: str
    """The name of the package in the index."""
    algorithm: str
    promise: str
    """What the library says of it."""
    factory: Callable[..., Any]
    traits: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further arguments of ``check_balancer``."""
    findings: tuple[Finding, ...] = ()
