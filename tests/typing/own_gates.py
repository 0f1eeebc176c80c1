"""Ways to write a gate and a load."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import TypeVar

from balancers import SUCCESS, Gate, Load, Outcome
from balancers.gates import MemberGate

B = TypeVar("B")


class Maintenance(Gate[B]):
    """Closed while the caller says so: ``reason``, ``factor`` and ``changes``, nothing else."""

    reason = "maintenance"

    def __init__(self) -> None:
        self._closed: set[B] = set()
        self._news: list[B] = []

    def close(self, backend: B) -> None:
        self._closed.add(backend)
        self._news.append(backend)
        self.due = -inf

    def factor(self, backend: B, now: float) -> float:
        return 0 if backend in self._closed else 1

    def changes(self, now: float) -> Iterable[B]:
        news, self._news, self.due = self._news, [], inf
        return news


class Quota(MemberGate[B, int]):
    """So many requests a backend and no more: two methods over MemberGate, and one event."""

    reason = "quota"

    def __init__(self, quota: int) -> None:
        super().__init__()
        self._quota = quota

    def new_state(self, now: float) -> int:
        return self._quota

    def factor(self, backend: B, now: float) -> float:
        return 1 if self.state_of(backend) else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        self._members[backend] -= 1
        if not self._members[backend]:
            self.notify_change(backend)


class Reported(Load[str]):
    """What the backends said of themselves."""

    def __init__(self, reports: Mapping[str, float]) -> None:
        self.reports = reports

    def value(self, backend: str, now: float) -> float:
        return self.reports.get(backend, 0.0)


class LoadDuck:
    """Every member of the protocol, and nothing inherited."""

    def value(self, backend: object, now: float) -> float:
        return 0.0

    def started(self, backend: object, now: float = 0.0) -> None:
        return

    def finished(self, backend: object, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        return

    def removed(self, backend: object) -> None:
        return
