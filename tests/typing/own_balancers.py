"""Three ways to write a balancer: from Membership, from the protocol, and as a duck."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TypeVar

from balancers import SUCCESS, Balancer, Key, NoBackendAvailable, Outcome
from balancers.membership import Membership

B = TypeVar("B")


class FirstOpen(Membership[B]):
    """Two lines: members are kept, weights are validated, a refusal is worded."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        for backend, weight in self.weights.items():
            if weight and backend not in avoid:
                return backend
        raise self.refusal()


class Heaviest(Balancer[B]):
    """The three methods that matter; started and finished do nothing by default."""

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


class Duck:
    """No import of ours but names; every member of the protocol."""

    keyed = False
    fractional = True

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self.heard: list[str] = []

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
        self.heard.append(f"started {backend}")

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self.heard.append(f"finished {backend} {outcome.ok}")


def as_balancer(duck: Duck) -> Balancer[str]:
    """A duck is a balancer by its shape."""
    return duck
