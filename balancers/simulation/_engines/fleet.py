"""Runs the servers of a simulation, their faults, and the way to them and back."""

from collections.abc import Callable
from heapq import heappush
from math import inf
from typing import Any

from balancers.simulation._engines.agenda import END, FAULT, Agenda
from balancers.simulation._engines.batching import Batching
from balancers.simulation._engines.line import Line
from balancers.simulation._engines.processor_sharing import Shared
from balancers.simulation._engines.setup import Setup
from balancers.simulation._engines.token_counter import TokenCounter
from balancers.simulation._engines.tries import Try
from balancers.simulation._grid import tick
from balancers.simulation._streams import stream
from balancers.simulation.faults import Crash, Errors, FastFailures, Freeze

__all__ = ["Fleet"]


class Fleet:
    """The servers of one simulation.

    ``answer(each, now, ok)`` is called when the answer of a try arrives at the balancer.
    ``counter`` counts the tokens of engines; it is None without them.
    """

    def __init__(
        self,
        setup: Setup[Any],
        agenda: Agenda,
        answer: Callable[[Try, float, bool], None],
        counter: TokenCounter | None,
    ) -> None:
        self._setup = setup
        self._events = agenda.events
        self._answer = answer
        self._back = setup.back
        self._counter = counter
        self._models: list[Line | Shared | Batching] = []
        self._random = stream(setup.seed, "faults").random
        self.extend()
        for fault in setup.faults:
            agenda.add(tick(fault.start), FAULT, (fault, True))
            if fault.end < inf:
                agenda.add(tick(fault.end), FAULT, (fault, False))

    def extend(self) -> None:
        """Make the models of servers of backends that have joined."""
        setup, events = self._setup, self._events
        for place in range(len(self._models), len(setup.servers)):
            server = setup.servers[place]
            if self._counter is not None:
                engine = setup.engines[place]
                model = Batching(engine, events, place, self._counter, self._back)
                self._models.append(model)
            else:
                kind = Line if server.discipline == "fifo" else Shared
                self._models.append(kind(server, events))

    def reach(self, each: Try, now: float) -> None:
        """Called when a try arrives at its server."""
        if each.done:  # it has timed out on its way
            return
        model = self._models[each.place]
        if model.active and self._hit(each, model, now):
            return
        if model.refuses(each):
            self._fail_later(each, now, 0.0)
        else:
            model.arrive(each, now)

    def complete(self, each: Try, now: float) -> None:
        """Called when a server may have completed a try.  Ignore what is not valid any more."""
        if each.end != now:
            return
        self._models[each.place].complete(each, now)
        if self._back:
            heappush(self._events, (now + self._back, END + each.serial, each))
        else:
            self._answer(each, now, not each.failing)

    def arrive_back(self, each: Try, now: float) -> None:
        """Called when an answer arrives at the balancer."""
        if not each.done:
            self._answer(each, now, not each.failing)

    def cancel(self, each: Try, now: float) -> None:
        """Called when the client of a try gives up.  Its server stops working on it."""
        if each.present:
            self._models[each.place].cancel(each, now)

    def change(self, change: tuple[Any, bool], now: float) -> None:
        """Called when a fault begins or ends."""
        fault, begins = change
        model = self._model_of(fault.backend)
        if not begins:
            model.finish(fault, now)
            return
        for each in model.begin(fault, now):
            self._fail_later(each, now, 0.0)

    def answer_to_probe(self, backend: Any, now: float) -> tuple[float, bool]:
        """Return after how many seconds a probe that is sent now is answered, and whether well.

        All faults are known, also those that begin before the probe is answered.
        """
        self._model_of(backend)  # it must have a server
        reach = at = now + self._setup.there
        faults = [fault for fault in self._setup.faults if fault.backend == backend]
        crashes = [fault for fault in faults if isinstance(fault, Crash)]
        active = [crash for crash in crashes if tick(crash.start) <= reach < tick(crash.end)]
        if active:
            latest = max(active, key=lambda crash: tick(crash.start))
            return self._setup.network + tick(latest.refuse_after), False
        for freeze in sorted(
            (fault for fault in faults if isinstance(fault, Freeze)), key=lambda fault: fault.start
        ):
            if tick(freeze.start) <= reach or tick(freeze.start) < at:
                at = max(at, tick(freeze.end))
        failed = [tick(crash.start) for crash in crashes if reach < tick(crash.start) < at]
        return min([at, *failed]) - now + self._back, not failed

    def _hit(self, each: Try, model: Line | Shared | Batching, now: float) -> bool:
        """Let a try fail by the faults of its server, and return whether it does so at once."""
        if model.crashes:
            self._fail_later(each, now, tick(model.crashes[-1].refuse_after))
            return True
        fault = model.failing(FastFailures, self._random)
        if fault is not None:
            self._fail_later(each, now, tick(fault.after))
            return True
        each.failing = model.failing(Errors, self._random) is not None
        return False

    def _fail_later(self, each: Try, now: float, after: float) -> None:
        """Let a try fail that is not on its server (any more)."""
        each.failing = True
        when = now + after + self._back
        if when > now:
            heappush(self._events, (when, END + each.serial, each))
        else:
            self._answer(each, now, False)

    def _model_of(self, backend: Any) -> Line | Shared | Batching:
        place = self._setup.place_of(backend)
        self.extend()
        return self._models[place]
