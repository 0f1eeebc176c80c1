"""Three ways to write a balancer: from Membership, from the protocol, or without inheritance."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TypeVar

from balancers import SUCCESS, Balancer, Key, NoBackendAvailable, Outcome
from balancers.membership import Membership

B = TypeVar("B")


class FirstOpen(Membership[B]):
    """Only ``pick``: Membership stores the members, validates weights and creates the refusal."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        for backend, weight in self.weights.items():
            if weight and backend not in avoid:
                return backend
        raise self.refusal()


class Heaviest(Balancer[B]):
    """The required methods; ``started`` and ``finished`` do nothing by default."""

    def __init__(self) -> None:
        self._weights: dict[B, float] = {}

    @property
    def weights(self) -> Mapping[B, float]:
        return MappingProxyType(self._weights)

    def put(self, backend: B, weight: float = 1) -> None:
        self._weights[backend] = weight

    def discard(self, backend: B) -> None:
        self._weights.pop(backend, None)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        candidates = [b for b, weight in self._weights.items() if weight and b not in avoid]
        if not candidates:
            raise NoBackendAvailable("empty")
        return max(candidates, key=self._weights.__getitem__)


class WithoutInheritance:
    """Inherits nothing, and defines every member of the protocol."""

    keyed = False
    fractional = True

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self.calls: list[str] = []

    @property
    def weights(self) -> Mapping[str, float]:
        return self._weights

    def put(self, backend: str, weight: float = 1) -> None:
        self._weights[backend] = weight

    def discard(self, backend: str) -> None:
        self._weights.pop(backend, None)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        for backend, weight in self._weights.items():
            if weight and backend not in avoid:
                return backend
        raise NoBackendAvailable("empty")

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        self.calls.append(f"started {backend}")

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self.calls.append(f"finished {backend} {outcome.ok}")


def as_balancer(balancer: WithoutInheritance) -> Balancer[str]:
    """Return the same object: it is a balancer by its members."""
    return balancer
