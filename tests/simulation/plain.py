"""A slow simulation of lines, faults, timeouts and retries, to compare the fast ones with.

It keeps no agenda.  At each instant it looks at everything that could happen, and does what comes
first by the rule for one instant; then it looks again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

from balancers import NoBackendAvailable, Outcome
from balancers.simulation import Crash, Errors, FastFailures, Fault, Freeze, Retries, Slow

COMPLETE, END, TIMEOUT, DEADLINE, FAULT, REACH, RETRY, ARRIVAL = range(8)
Action = tuple[int, int, Callable[[], None]]


def rounded(seconds: float) -> float:
    return round(seconds * 2**30) / 2**30


@dataclass(eq=False)
class Job:
    """One try of a request."""

    number: int
    serial: int
    server: "Station"
    sent: float
    left: float | None = None
    """The rest of its service, once it is in service."""
    where: str = "there"
    """It is on its way ``there``, at the ``server``, or on its way ``back``."""
    due: float = inf
    """When it arrives, while it is on a way."""
    ok: bool = True


@dataclass(eq=False)
class Station:
    """One server, as a list of what is on it."""

    name: Any
    speed: float
    slots: int
    room: int | None
    jobs: list[Job] = field(default_factory=list[Job])
    active: list[Fault] = field(default_factory=list[Fault])

    def has(self, kind: type) -> bool:
        return any(isinstance(fault, kind) for fault in self.active)

    def factor(self) -> float:
        product = 1.0
        for fault in self.active:
            if isinstance(fault, Slow):
                product *= fault.factor
        return product

    def begin(self, works: Sequence[float]) -> None:
        for job in self.jobs[: self.slots]:
            if job.left is None:
                job.left = rounded(rounded(works[job.number] / self.speed) * self.factor())

    def pass_time(self, seconds: float) -> None:
        if not self.has(Freeze):
            for job in self.jobs[: self.slots]:
                assert job.left is not None
                job.left -= seconds


@dataclass
class Plain:
    """A simulation in progress."""

    balancer: Any
    times: Sequence[float]
    works: Sequence[float]
    stations: dict[Any, Station]
    faults: Sequence[Fault] = ()
    there: float = 0.0
    back: float = 0.0
    timeout: float | None = None
    retries: Retries = field(default_factory=lambda: Retries(tries=1))
    random: Callable[[], float] = lambda: 1.0

    def run(self) -> list[tuple[float, Any, bool, int]]:
        """Return the response, the last backend, whether it was answered, and the tries of each."""
        size = len(self.times)
        self.now, self.serial, self.scheduled, self.arrived = 0.0, 0, 0, 0
        self.jobs: list[Job] = []
        self.waiting: dict[int, tuple[float, int]] = {}
        self.tries, self.tried = [0] * size, [list[Any]() for _ in range(size)]
        self.last: list[Any] = [None] * size
        self.result: list[tuple[float, Any, bool, int] | None] = [None] * size
        self.edges = [(rounded(f.start), f, True) for f in self.faults]
        self.edges += [(rounded(f.end), f, False) for f in self.faults if f.end < inf]
        while None in self.result:
            due = list(self.actions())
            if due:
                min(due, key=lambda action: action[:2])[2]()
            else:
                later = min(self.instants())
                for station in self.stations.values():
                    station.pass_time(later - self.now)
                self.now = later
        return [each for each in self.result if each is not None]

    def instants(self) -> Iterator[float]:
        """When something may happen next."""
        yield from (when for when, _, _ in self.edges)
        yield from (when for when, _ in self.waiting.values())
        if self.arrived < len(self.times):
            yield self.times[self.arrived]
        for job in self.jobs:
            yield job.due
            if self.timeout is not None:
                yield job.sent + self.timeout
        for station in self.stations.values():
            if not station.has(Freeze):
                yield from (self.now + (job.left or 0) for job in station.jobs[: station.slots])
        if self.retries.deadline is not None:
            for number in range(self.arrived):
                if self.result[number] is None:
                    yield self.times[number] + self.retries.deadline

    def actions(self) -> Iterator[Action]:
        """What happens now."""
        for station in self.stations.values():
            if not station.has(Freeze):
                for job in station.jobs[: station.slots]:
                    if job.left == 0:
                        yield COMPLETE, job.serial, partial(self.complete, job)
        for place, edge in enumerate(self.edges):
            if edge[0] == self.now:
                yield FAULT, place, partial(self.change, edge)
        yield from self.way_actions()
        yield from self.client_actions()

    def way_actions(self) -> Iterator[Action]:
        for job in self.jobs:
            if job.due == self.now and job.where == "back":
                yield END, job.serial, partial(self.answer, job, job.ok)
            if job.due == self.now and job.where == "there":
                yield REACH, job.serial, partial(self.reach, job)

    def client_actions(self) -> Iterator[Action]:
        for job in self.jobs:
            if self.timeout is not None and job.sent + self.timeout == self.now:
                yield TIMEOUT, job.serial, partial(self.give_up, job)
        deadline = self.retries.deadline
        for number in range(self.arrived):
            is_open = self.result[number] is None and deadline is not None
            if is_open and self.times[number] + (deadline or 0) == self.now:
                yield DEADLINE, number, partial(self.expire, number)
        for number, (when, order) in self.waiting.items():
            if when == self.now:
                yield RETRY, order, partial(self.send, number)
        if self.arrived < len(self.times) and self.times[self.arrived] == self.now:
            yield ARRIVAL, self.arrived, self.arrive

    def arrive(self) -> None:
        self.arrived += 1
        self.send(self.arrived - 1)

    def send(self, number: int) -> None:
        self.waiting.pop(number, None)
        self.tries[number] += 1
        try:
            try:
                backend = self.balancer.pick(None, self.now, self.tried[number])
            except NoBackendAvailable:
                backend = self.balancer.pick(None, self.now)
        except NoBackendAvailable:
            self.fail(number)
            return
        self.balancer.started(backend, self.now)
        self.tried[number].append(backend)
        self.last[number] = backend
        self.serial += 1
        job = Job(number, self.serial, self.stations[backend], self.now)
        self.jobs.append(job)
        if self.there:
            job.due = self.now + self.there
        else:
            self.reach(job)

    def reach(self, job: Job) -> None:
        station, job.due = job.server, inf
        crashes = [fault for fault in station.active if isinstance(fault, Crash)]
        if crashes:
            self.bounce(job, rounded(crashes[-1].refuse_after))
            return
        for fault in station.active:
            if isinstance(fault, FastFailures) and self.random() < fault.share:
                self.bounce(job, rounded(fault.after))
                return
        for fault in station.active:
            if job.ok and isinstance(fault, Errors) and self.random() < fault.share:
                job.ok = False
        if station.room is not None and len(station.jobs) >= station.room:
            self.bounce(job, 0.0)
            return
        job.where = "server"
        station.jobs.append(job)
        station.begin(self.works)

    def bounce(self, job: Job, after: float) -> None:
        job.ok, job.where = False, "back"
        job.due = self.now + after + self.back
        if job.due == self.now:
            self.answer(job, False)

    def complete(self, job: Job) -> None:
        job.server.jobs.remove(job)
        job.server.begin(self.works)
        job.where, job.due = "back", self.now + self.back
        if not self.back:
            self.answer(job, job.ok)

    def answer(self, job: Job, ok: bool) -> None:
        self.jobs.remove(job)
        self.balancer.finished(job.server.name, Outcome(ok, self.now - job.sent), self.now)
        if ok:
            self.end(job.number, True)
        else:
            self.fail(job.number)

    def fail(self, number: int) -> None:
        deadline = self.retries.deadline
        over = deadline is not None and self.now >= self.times[number] + deadline
        expired = over and self.expiring == number
        if self.tries[number] < self.retries.tries and not expired:
            self.scheduled += 1
            self.waiting[number] = self.now + rounded(self.retries.backoff), self.scheduled
        else:
            self.end(number, False)

    expiring = -1

    def end(self, number: int, ok: bool) -> None:
        response = self.now - self.times[number]
        self.result[number] = response, self.last[number], ok, self.tries[number]

    def give_up(self, job: Job) -> None:
        if job in job.server.jobs:
            job.server.jobs.remove(job)
            job.server.begin(self.works)
        self.answer(job, False)

    def expire(self, number: int) -> None:
        current = [job for job in self.jobs if job.number == number]
        if not current:
            del self.waiting[number]
            self.end(number, False)
            return
        self.expiring = number
        self.give_up(current[0])
        self.expiring = -1

    def change(self, edge: tuple[float, Fault, bool]) -> None:
        self.edges.remove(edge)
        _, fault, begins = edge
        station = self.stations[fault.backend]
        before = station.factor()
        if begins:
            station.active.append(fault)
        else:
            station.active.remove(fault)
        if isinstance(fault, Crash) and begins:
            lost, station.jobs = station.jobs, []
            for job in sorted(lost, key=lambda job: job.serial):
                self.bounce(job, 0.0)
        if isinstance(fault, Slow):
            for job in station.jobs[: station.slots]:
                assert job.left is not None
                job.left = rounded(job.left * station.factor() / before)
