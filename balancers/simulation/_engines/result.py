"""Makes the result of a simulation from its tally."""

from math import nan
from typing import Any

import numpy as np

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.event import Event
from balancers.pool import Pool
from balancers.simulation._engines.setup import Setup
from balancers.simulation._engines.steady import unsteady
from balancers.simulation._engines.tally import ANSWERED, FAILED, REFUSED, Tally
from balancers.simulation._engines.timeline import TimelineCounter
from balancers.simulation._grid import TICK
from balancers.simulation.simulation import Incident, ServerUse, Simulation, Timeline
from balancers.simulation.token_times import TokenTimes

__all__ = ["result"]


def result(setup: Setup[B], tally: Tally[B], engine: str) -> Simulation[B]:
    """Return the result of a simulation that has ended."""
    tally.complete()
    states = tally.states.tolist()
    return Simulation(
        response=tally.response.times(),
        requests=setup.requests - setup.warm,
        answered=states[ANSWERED],
        failed=states[FAILED],
        refused=states[REFUSED],
        tries=tally.tries,
        duration=tally.end,
        servers=_uses(setup, tally),
        timeline=None if tally.timeline is None else _timeline(setup, tally.timeline),
        events=_events(setup),
        incidents=_incidents(setup, tally.end),
        records=tally.records,
        engine=engine,
        unsteady=unsteady(setup, tally),
        tokens=_tokens(setup, tally),
    )


def _uses(setup: Setup[B], tally: Tally[B]) -> dict[B, ServerUse]:
    window = tally.window or tally.end - setup.marks[setup.warm]
    tries, failed, busy, spans = map(tally.totals, ("tries", "failed", "busy", "spans"))
    uses: dict[B, ServerUse] = {}
    for place, backend in enumerate(setup.backends):
        load = busy[place] * TICK / window / setup.servers[place].slots if window else 0.0
        uses[backend] = ServerUse(
            requests=tries[place],
            failed=failed[place],
            utilisation=min(1.0, load),
            in_flight=spans[place] * TICK / window if window else 0.0,
        )
    return uses


def _tokens(setup: Setup[B], tally: Tally[B]) -> TokenTimes[B] | None:
    if tally.tokens is None:
        return None
    return tally.tokens.times(setup.backends, tally.totals("tries"))


def _timeline(setup: Setup[B], counter: TimelineCounter) -> Timeline[B]:
    part = slice(0, counter.buckets)
    answered, failed, refused = counter.ends[:, part].copy()
    seconds = counter.responses[part] * TICK
    mean = np.divide(seconds, answered, out=np.full(counter.buckets, nan), where=answered > 0)
    in_flight = counter.in_flight()
    places = dict(enumerate(setup.backends))
    return Timeline(
        times=np.arange(counter.buckets, dtype=np.float64) * counter.width,
        arrivals=counter.arrivals[part].copy(),
        answered=answered,
        failed=failed,
        refused=refused,
        mean=mean,
        in_flight={b: in_flight[:, place].copy() for place, b in places.items()},
        requests={b: counter.starts_at[part, place].copy() for place, b in places.items()},
    )


def _events(setup: Setup[Any]) -> tuple[Event, ...]:
    events: list[Event] = []
    for front in setup.fronts:
        if isinstance(front, Pool):
            events += front.events
    return tuple(sorted(events, key=lambda event: event.at))


def _incidents(setup: Setup[Any], end: float) -> tuple[Incident, ...]:
    """Return the faults that began before the simulation ended."""
    begun = sorted((fault for fault in setup.faults if fault.start <= end), key=lambda f: f.start)
    return tuple(
        Incident(fault.start, fault.end, f"{type(fault).__name__} of {shown(fault.backend)}")
        for fault in begun
    )
