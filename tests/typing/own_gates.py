"""Ways to write a gate and a load."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import TypeVar

from balancers import SUCCESS, Gate, Load, Outcome
from balancers.gates import MemberGate

B = TypeVar("B")


class Maintenance(Gate[B]):
    """Closed by the caller; defines only ``reason``, ``factor`` and ``changes``."""

    reason = "maintenance"

    def __init__(self) -> None:
        self._closed: set[B] = set()
        self._pending: list[B] = []

    def close(self, backend: B) -> None:
        self._closed.add(backend)
        self._pending.append(backend)
        self.due = -inf

    def factor(self, backend: B, now: float) -> float:
        return 0 if backend in self._closed else 1

    def changes(self, now: float) -> Iterable[B]:
        pending, self._pending, self.due = self._pending, [], inf
        return pending


class Quota(MemberGate[B, list[int]]):
    """A fixed number of requests per backend: two methods of MemberGate, and one event."""

    reason = "quota"

    def __init__(self, quota: int) -> None:
        super().__init__()
        self._quota = quota

    def new_state(self, now: float) -> list[int]:
        return [self._quota]

    def factor(self, backend: B, now: float) -> float:
        return 1 if self.state_of(backend)[0] else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        left = self.state_of(backend)
        left[0] -= 1
        if not left[0]:
            self.notify_change(backend)


class Reported(Load[str]):
    """Loads that the backends reported."""

    def __init__(self, reports: Mapping[str, float]) -> None:
        self.reports = reports

    def value(self, backend: str, now: float) -> float:
        return self.reports.get(backend, 0.0)


class LoadWithoutInheritance:
    """Defines every member of the protocol, and inherits nothing."""

    def value(self, backend: object, now: float) -> float:
        return 0.0

    def started(self, backend: object, now: float = 0.0) -> None:
        return

    def finished(self, backend: object, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        return

    def removed(self, backend: object) -> None:
        return
