"""Plausible but wrong loads, each caught by the law that is named for it."""

from math import inf
from typing import Any, ClassVar

from balancers import SUCCESS, Load
from tests.laws.wrong import wrong_load


class Queue(Load[Any]):
    """Right: requests in flight times the latest latency."""

    def __init__(self) -> None:
        self.queue: dict[Any, int] = {}
        self.latency: dict[Any, float] = {}

    def value(self, backend: Any, now: float) -> float:
        return self.queue.get(backend, 0) * self.latency.get(backend, 1.0)

    def started(self, backend: Any, now: float = 0.0) -> None:
        self.queue[backend] = self.queue.get(backend, 0) + 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.queue.get(backend):
            self.queue[backend] -= 1
            if outcome.ok is not None and outcome.elapsed is not None:
                self.latency[backend] = outcome.elapsed

    def removed(self, backend: Any) -> None:
        self.queue.pop(backend, None)
        self.latency.pop(backend, None)


@wrong_load("values_are_finite_and_not_negative")
class BelowZero(Queue):
    """An end without a start counts to -1.  LiteLLM's least-busy rule."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        self.queue[backend] = self.queue.get(backend, 0) - 1


@wrong_load("values_are_finite_and_not_negative")
class InfiniteAtFirst(Queue):
    """A backend that was never measured has an infinite load.  Bug 4, the other way."""

    def value(self, backend: Any, now: float) -> float:
        return self.queue.get(backend, 0) * self.latency.get(backend, inf)


@wrong_load("reading_changes_nothing")
class ReadingDecays(Queue):
    """Each reading halves the latency.  Bug 6: nginx, Kong."""

    def value(self, backend: Any, now: float) -> float:
        if backend in self.latency:
            self.latency[backend] /= 2
        return super().value(backend, now)


@wrong_load("reading_changes_nothing")
class ReadingJoins(Queue):
    """A reading makes an entry for the backend."""

    def value(self, backend: Any, now: float) -> float:
        return float(self.queue.setdefault(backend, 0))


@wrong_load("started_and_finished_cancel")
class FailuresLeak(Queue):
    """A request that fails is never uncounted.  Bug 40."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if outcome.ok is not False:
            super().finished(backend, outcome, now)


@wrong_load("removed_forgets")
class LatencyOutlives(Queue):
    """A backend that comes back has the latency of before.  Bug 43."""

    def removed(self, backend: Any) -> None:
        self.queue.pop(backend, None)


@wrong_load("removed_forgets")
class CountOutlives(Queue):
    """A backend that comes back has the requests of before.  Bug 40."""

    def removed(self, backend: Any) -> None:
        self.latency.pop(backend, None)


@wrong_load("unknown_backends_are_ignored")
class KeyErrorForOthers(Queue):
    """The end of a request of a backend without any raises KeyError."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.queue[backend]:
            super().finished(backend, outcome, now)


@wrong_load("copies_go_on_alike")
class SharedQueue(Queue):
    """The counts belong to the class."""

    shared: ClassVar[dict[Any, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.shared.clear()

    def value(self, backend: Any, now: float) -> float:
        return float(self.shared.get(backend, 0))

    def started(self, backend: Any, now: float = 0.0) -> None:
        self.shared[backend] = self.shared.get(backend, 0) + 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        self.shared[backend] = max(0, self.shared.get(backend, 0) - 1)

    def removed(self, backend: Any) -> None:
        self.shared.pop(backend, None)


@wrong_load("time_never_goes_back")
class Ages(Load[Any]):
    """The sum of the ages of the requests in flight; an earlier time makes it smaller.  Bug 42."""

    def __init__(self) -> None:
        self.starts: dict[Any, list[float]] = {}

    def value(self, backend: Any, now: float) -> float:
        return sum(max(0.0, now - start) for start in self.starts.get(backend, ()))

    def started(self, backend: Any, now: float = 0.0) -> None:
        self.starts.setdefault(backend, []).append(now)

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.starts.get(backend):
            self.starts[backend].pop(0)

    def removed(self, backend: Any) -> None:
        self.starts.pop(backend, None)


@wrong_load("unknown_outcomes_change_nothing")
class CancelledMeasures(Queue):
    """The duration of a cancelled request counts as a latency.  Bug 5."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.queue.get(backend):
            self.queue[backend] -= 1
            if outcome.elapsed is not None:
                self.latency[backend] = outcome.elapsed


@wrong_load("one_balancer_only")
class TwoBalancers(Queue):
    """Says that it is free whatever a balancer has written there."""

    @property
    def taken(self) -> bool:
        return False

    @taken.setter
    def taken(self, value: object) -> None:
        return
