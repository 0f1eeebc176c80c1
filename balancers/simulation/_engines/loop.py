"""Runs any simulation, event by event."""

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from heapq import heappop, heappush
from itertools import count, repeat
from math import inf
from typing import Any, Generic

from balancers._internal.types import B
from balancers.errors import InvalidTime, NoBackendAvailable
from balancers.outcome import Outcome
from balancers.overload import RetryBudget
from balancers.pool import Pool
from balancers.simulation._engines import agenda
from balancers.simulation._engines.agenda import KIND_BITS, REACH, RETRY, TIMEOUT, Agenda, Event
from balancers.simulation._engines.batching import Batching
from balancers.simulation._engines.fleet import Fleet
from balancers.simulation._engines.quiet import CHUNK, keys_of
from balancers.simulation._engines.reports import Reports
from balancers.simulation._engines.setup import Setup
from balancers.simulation._engines.tally import ANSWERED, FAILED, REFUSED, Tally
from balancers.simulation._engines.tries import Request, Try
from balancers.simulation._engines.upkeep import Probing, ScriptRunner, answer
from balancers.simulation._grid import LATEST, tick
from balancers.simulation._streams import stream
from balancers.simulation.retries import Retries

__all__ = ["run"]

_NEVER: Event = (inf, 0, None)
_REQUEST = 1 << 50
"""Added to the number of a request, so that its timeout comes after those of tries."""


def run(setup: Setup[B], tally: Tally[B]) -> None:
    """Run a simulation."""
    _Loop(setup, tally).run()


class _Loop(Generic[B]):
    """One simulation in progress: its clients, and its balancers or pools."""

    def __init__(self, setup: Setup[B], tally: Tally[B]) -> None:
        self._setup = setup
        self._reports = Reports(tally)
        self._agenda = Agenda()
        self._events = self._agenda.events
        self._timeouts: deque[Event] = deque()  # of tries, in order of time
        self._deadlines: deque[Event] = deque()  # of requests, in order of time
        self._open = 0  # requests that have arrived and not ended
        self._sent = 0  # tries
        self._places = setup.places
        self._fronts: list[Any] = [*setup.fronts]
        self._are_pools = [isinstance(front, Pool) for front in setup.fronts]
        retries = setup.retries or Retries(tries=1)
        self._most_tries = retries.tries
        self._deadline = None if retries.deadline is None else tick(retries.deadline)
        self._backoff = tick(retries.backoff)
        self._budget = deepcopy(retries.budget)
        self._timeout, self._there = setup.timeout, setup.there
        self._tokens = tally.tokens
        self._fleet = fleet = Fleet(setup, self._agenda, self._answer, tally.tokens)
        self._script = None
        if setup.script is not None:
            self._script = ScriptRunner(setup.script, self._agenda)
        self._probing = [
            Probing(checks, self._agenda, fleet.answer_to_probe) for checks in setup.probes
        ]
        for probing in self._probing:
            probing.arm(0.0)
        handlers: dict[int, Callable[[Any, float], object]] = {
            agenda.STEP: Batching.step,
            agenda.FIRST: self._progress,
            agenda.COMPLETE: fleet.complete,
            agenda.END: fleet.arrive_back,
            TIMEOUT: self._time_out,
            agenda.FAULT: fleet.change,
            agenda.SCRIPT: self._run_script,
            agenda.ANSWER: answer,
            agenda.PROBE: Probing.send,
            REACH: fleet.reach,
            RETRY: self._retry,
        }
        kinds = sorted(handlers, key=lambda kind: (kind < 0, kind))  # -1 is the last place
        self._handlers = [handlers[kind] for kind in kinds]

    def run(self) -> None:
        """Run until the last request has ended."""
        setup, events = self._setup, self._events
        timeouts, deadlines = self._timeouts, self._deadlines
        several = len(setup.fronts)
        front_draws = stream(setup.seed, "front")
        for chunk in setup.chunks(CHUNK):
            fronts: Any = repeat(0)
            if several > 1:
                fronts = (front_draws.random(len(chunk.times)) * several).astype(int).tolist()
            rows = zip(
                count(chunk.start),
                chunk.times.tolist(),
                chunk.works.tolist(),
                keys_of(chunk),
                fronts,
                strict=False,
            )
            for index, now, work, key, front in rows:
                if (
                    (events and events[0][0] <= now)
                    or (timeouts and timeouts[0][0] <= now)
                    or (deadlines and deadlines[0][0] <= now)
                ):
                    self._run_until(now)
                self._arrive(Request(index, now, work, key, front))
            self._reports.flush()
        while self._open:
            self._step(self._next())
        self._reports.flush()

    def _run_until(self, until: float) -> None:
        """Run all events until a time, and those of this time."""
        events, timeouts, handlers = self._events, self._timeouts, self._handlers
        while True:
            while timeouts and timeouts[0][2].done:
                timeouts.popleft()
            if self._deadlines or (timeouts and timeouts[0][0] <= until):
                event = self._next()
                if event[0] > until:
                    return
                self._step(event)
            elif events and events[0][0] <= until:
                now, order, item = heappop(events)
                handlers[order >> KIND_BITS](item, now)
            else:
                return

    def _next(self) -> Event:
        """Return the next event, without the timeouts of what has ended."""
        event = self._events[0] if self._events else _NEVER
        for queue in (self._timeouts, self._deadlines):
            while queue and queue[0][2].done:
                queue.popleft()
            if queue and queue[0] < event:
                event = queue[0]
        return event

    def _step(self, event: Event) -> None:
        """Run one event, which is the next one."""
        now, order, item = event
        if now > LATEST:
            raise InvalidTime(f"a simulation must end until {LATEST:g} s, not at {now:g} s")
        kind = order >> KIND_BITS
        if kind != TIMEOUT >> KIND_BITS:  # those have queues of their own
            heappop(self._events)
        self._handlers[kind](item, now)

    def _arrive(self, request: Request) -> None:
        """Called when a request arrives."""
        self._open += 1
        if self._deadline is not None:
            order = TIMEOUT + _REQUEST + request.index
            self._deadlines.append((request.arrival + self._deadline, order, request))
        self._send(request, request.arrival)

    def _send(self, request: Request, now: float) -> None:
        """Pick a backend for a try of the request, and send it."""
        request.tries += 1
        front = request.front
        try:
            if request.tried is not None or self._tokens is not None:
                lease, backend = self._pick_another(request, now)
            elif self._are_pools[front]:
                lease = self._fronts[front].acquire(now, request.key)
                backend = lease.backend
            else:
                lease, backend = None, self._fronts[front].pick(request.key, now)
        except NoBackendAvailable:
            self._fail(request, now, REFUSED)
            return
        try:
            place = self._places[backend]
        except (KeyError, TypeError):
            place = self._setup.place_of(backend)
            self._fleet.extend()
        if lease is None:
            self._fronts[front].started(backend, now)
        self._sent += 1
        each = Try(request, self._sent, place, now, lease)
        request.place, request.current = place, each
        if self._timeout is not None:
            self._timeouts.append((now + self._timeout, TIMEOUT + self._sent, each))
        if self._there:
            heappush(self._events, (now + self._there, REACH + self._sent, each))
        else:
            self._fleet.reach(each, now)

    def _pick_another(self, request: Request, now: float) -> tuple[Any, Any]:
        """Return the lease, or None without a pool, and the backend.

        Avoid what was tried before, if possible.  Raises NoBackendAvailable.
        """
        front, tried = self._fronts[request.front], request.tried or ()
        costs = {} if self._tokens is None else {"cost": self._tokens.cost(request.index)}
        if not self._are_pools[request.front]:
            try:
                return None, front.pick(request.key, now, tried)
            except NoBackendAvailable:
                return None, front.pick(request.key, now)
        try:
            lease = front.acquire(now, request.key, avoid=tried, **costs)
        except NoBackendAvailable:
            if not tried:
                raise
            lease = front.acquire(now, request.key, **costs)
        return lease, lease.backend

    def _answer(self, each: Try, now: float, ok: bool) -> None:
        """End a try, and its request unless it is tried again."""
        each.done = True
        request = each.request
        request.current = None
        self._reports.tries.append((request.index, each.place, each.sent, now, each.busy, not ok))
        front = self._fronts[request.front]
        if each.lease is not None:
            front.release(each.lease, now, ok, now - each.sent, first=each.first)
        else:
            backend = self._setup.backends[each.place]
            front.finished(backend, Outcome(ok, now - each.sent), now)
        if ok:
            if self._tokens is not None:
                self._tokens.answered(each, now)
            self._end(request, now, ANSWERED)
            return
        if request.tries < self._most_tries:
            request.tried = {self._setup.backends[each.place], *(request.tried or ())}
        self._fail(request, now, FAILED)

    def _progress(self, each: Try, now: float) -> None:
        """Called when the first token of a try arrives.  From then on, it costs nothing."""
        if not each.done:
            each.first = now - each.sent
            self._fronts[each.request.front].progress(each.lease, now, cost=0)

    def _fail(self, request: Request, now: float, state: int) -> None:
        """Called when a try has failed.  Try again, or end the request."""
        again = request.tries < self._most_tries and not request.expired
        if again and (self._budget is None or self._is_allowed(request, self._budget)):
            self._agenda.add(now + self._backoff, RETRY, request)
        else:
            self._end(request, now, state)

    def _is_allowed(self, request: Request, budget: RetryBudget) -> bool:
        """Return whether a retry is allowed.  If so, it is in flight, and none before it."""
        if request.retrying:
            budget.end()
        request.retrying = budget.begin(self._open)
        return request.retrying

    def _end(self, request: Request, now: float, state: int) -> None:
        """Called when a request has ended."""
        request.done = True
        self._open -= 1
        if request.retrying and self._budget is not None:
            self._budget.end()
        arrival, tries = request.arrival, request.tries
        self._reports.requests.append(
            (request.index, arrival, request.place, now - arrival, state, tries, request.work)
        )

    def _time_out(self, late: Try | Request, now: float) -> None:
        """Called when a try, or a request with all its tries, has taken too long."""
        if isinstance(late, Try):
            each = late
        else:
            late.expired = True
            if late.current is None:  # it waits before a retry
                self._end(late, now, FAILED)
                return
            each = late.current
        self._fleet.cancel(each, now)
        self._answer(each, now, False)

    def _retry(self, request: Request, now: float) -> None:
        """Called when a client tries again."""
        if not request.done:
            self._send(request, now)

    def _run_script(self, function: Any, now: float) -> None:
        """Called when an entry of the script is due."""
        if self._script is not None:
            self._script.run(function, now)
        for probing in self._probing:
            probing.arm(now)
