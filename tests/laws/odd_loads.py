"""Right but unusual loads: each keeps the contracts of ``balancers.load`` in its own way."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf
from typing import Any

from balancers import SUCCESS, Load

__all__ = ["ODD_LOADS", "OddLoad"]


@dataclass(frozen=True)
class OddLoad:
    """One right load."""

    make: Callable[[], Any]
    source: str

    @property
    def name(self) -> str:
        return str(self.make.__name__)


class LatencyTimesQueue(Load[Any]):
    """The mean latency of the measured requests, by an average that forgets, times the queue."""

    def __init__(self) -> None:
        self.queue: dict[Any, int] = {}
        self.latency: dict[Any, float] = {}

    def value(self, backend: Any, now: float) -> float:
        return self.queue.get(backend, 0) * self.latency.get(backend, 1.0)

    def started(self, backend: Any, now: float = 0.0) -> None:
        self.queue[backend] = self.queue.get(backend, 0) + 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if not self.queue.get(backend):
            return
        self.queue[backend] -= 1
        if outcome.ok and outcome.elapsed is not None:
            before = self.latency.get(backend, outcome.elapsed)
            self.latency[backend] = before + (outcome.elapsed - before) / 8

    def removed(self, backend: Any) -> None:
        self.queue.pop(backend, None)
        self.latency.pop(backend, None)


class SumOfAges(Load[Any]):
    """How long the requests in flight have waited, all together, and one second each at least."""

    def __init__(self) -> None:
        self.starts: dict[Any, list[float]] = {}
        self.now = -inf

    def value(self, backend: Any, now: float) -> float:
        now = max(now, self.now)
        return sum(max(1.0, now - start) for start in self.starts.get(backend, ()))

    def started(self, backend: Any, now: float = 0.0) -> None:
        self.now = max(now, self.now)
        self.starts.setdefault(backend, []).append(self.now)

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        self.now = max(now, self.now)
        if self.starts.get(backend):
            self.starts[backend].pop()

    def removed(self, backend: Any) -> None:
        self.starts.pop(backend, None)


class DecayingPenalty(Load[Any]):
    """Requests in flight, and a penalty for each failure that decays with time."""

    def __init__(self) -> None:
        self.state: dict[Any, list[float]] = {}  # in flight, penalty, its time
        self.now = -inf

    def value(self, backend: Any, now: float) -> float:
        if backend not in self.state:
            return 0.0
        in_flight, penalty, since = self.state[backend]
        return in_flight + penalty * exp(-max(0.0, max(now, self.now) - since) / 10.0)

    def started(self, backend: Any, now: float = 0.0) -> None:
        self.now = max(now, self.now)
        self.state.setdefault(backend, [0.0, 0.0, self.now])[0] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        self.now = max(now, self.now)
        if self.state.get(backend, [0.0])[0] < 1:
            return
        self.state[backend][0] -= 1
        if outcome.ok is False:
            decayed = self.value(backend, self.now) - self.state[backend][0]
            self.state[backend][1:] = [decayed + 5.0, self.now]

    def removed(self, backend: Any) -> None:
        self.state.pop(backend, None)


class BytesOutstanding:
    """Bytes that were announced and not yet sent; a request counts as one kilobyte at first.

    It inherits from nothing.
    """

    def __init__(self) -> None:
        self.requests: dict[Any, int] = {}
        self.announced: dict[Any, int] = {}

    def value(self, backend: Any, now: float) -> float:
        return 1024 * self.requests.get(backend, 0) + self.announced.get(backend, 0)

    def announce(self, backend: Any, size: int) -> None:
        if self.requests.get(backend):
            self.announced[backend] = self.announced.get(backend, 0) + size

    def started(self, backend: Any, now: float = 0.0) -> None:
        self.requests[backend] = self.requests.get(backend, 0) + 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.requests.get(backend):
            self.requests[backend] -= 1
            if not self.requests[backend]:
                self.announced.pop(backend, None)

    def removed(self, backend: Any) -> None:
        self.requests.pop(backend, None)
        self.announced.pop(backend, None)


class PowerOfQueue(Load[Any]):
    """The square of the queue, so that a long queue weighs more; a set of tickets, no counter."""

    __slots__ = ("taken", "tickets")

    def __init__(self) -> None:
        self.tickets: dict[Any, tuple[int, ...]] = {}

    def value(self, backend: Any, now: float) -> float:
        return len(self.tickets.get(backend, ())) ** 2

    def started(self, backend: Any, now: float = 0.0) -> None:
        held = self.tickets.get(backend, ())
        self.tickets[backend] = (*held, len(held))

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        self.tickets[backend] = self.tickets.get(backend, ())[:-1]
        if not self.tickets[backend]:
            del self.tickets[backend]

    def removed(self, backend: Any) -> None:
        self.tickets.pop(backend, None)


class Constant(Load[Any]):
    """A fixed price by the length of the name: nothing that happens matters."""

    def value(self, backend: Any, now: float) -> float:
        return float(len(str(backend)))


ODD_LOADS = [
    OddLoad(LatencyTimesQueue, "Finagle's EWMA"),
    OddLoad(SumOfAges, "least work left, by age"),
    OddLoad(DecayingPenalty, "linkerd's penalty of five for a failure"),
    OddLoad(BytesOutstanding, "mod_lbmethod_bytraffic of Apache httpd"),
    OddLoad(PowerOfQueue, "M/M/1 costs that grow faster than the queue"),
    OddLoad(Constant, "OSPF's static costs"),
]
