"""Defines the result of a simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.event import Event
from balancers.simulation.times import Times
from balancers.simulation.token_times import TokenTimes

__all__ = ["Incident", "ServerUse", "Simulation", "Timeline"]


class Incident(NamedTuple):
    """A fault of a simulation, for the label of a picture.

    ``time`` and ``end`` are its first and its last instant in seconds; ``end`` may be ``inf``.

    >>> Incident(time=60.0, end=120.0, text="Crash of a")
    Incident(time=60.0, end=120.0, text='Crash of a')
    """

    time: float
    end: float
    text: str


class ServerUse(NamedTuple):
    """What one server did for the counted requests.

    ``requests`` is the number of tries that were sent to it, and ``failed`` how many of them
    failed.  ``utilisation`` is the share of the measured time for which its slots were busy, 0 to
    1.  ``in_flight`` is the mean number of requests in flight on it.

    The measured time begins when the first counted request arrives, and ends when the last request
    arrives.

    >>> ServerUse(requests=100, failed=0, utilisation=0.5, in_flight=0.75).failed
    0
    """

    requests: int
    failed: int
    utilisation: float
    in_flight: float


@dataclass(frozen=True, eq=False)
class Timeline(Generic[B]):  # noqa: PLW1641 - arrays cannot be hashed
    """What happened in each bucket of time.  Requests of the warm-up are included.

    All arrays have one element per bucket.  ``times`` is when the buckets begin, in seconds, as
    float64.  ``arrivals`` are the requests that arrived in the bucket; ``answered``, ``failed`` and
    ``refused`` are those that ended in it, as int64.  ``mean`` is the mean response time of those
    answered in it, in seconds, as float64; NaN if there are none.  For each backend, ``requests``
    has the number of tries that were sent to it in the bucket, as int64, and ``in_flight`` the mean
    number in flight on it, as float64.

    >>> from random import Random
    >>> from balancers import RandomChoice
    >>> from balancers.simulation import Constant, Every, simulate
    >>> run = simulate(RandomChoice(["a"], rng=Random(1)), Every(1.0), Constant(0.5), requests=4,
    ...                seed=1, timeline=2.0)
    >>> run.timeline.times.tolist(), run.timeline.arrivals.tolist()
    ([0.0, 2.0, 4.0], [1, 2, 1])
    >>> run.timeline.in_flight["a"].tolist()
    [0.25, 0.5, 0.25]
    """

    times: NDArray[np.float64]
    arrivals: NDArray[np.int64]
    answered: NDArray[np.int64]
    failed: NDArray[np.int64]
    refused: NDArray[np.int64]
    mean: NDArray[np.float64]
    in_flight: Mapping[B, NDArray[np.float64]]
    requests: Mapping[B, NDArray[np.int64]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timeline):
            return NotImplemented
        return all(_same(ours, theirs) for ours, theirs in _pairs(self, other))


@dataclass(frozen=True, eq=False)
class Simulation(Generic[B]):  # noqa: PLW1641 - arrays cannot be hashed
    """The result of :func:`simulate`.

    Only requests after the warm-up are counted.  ``requests`` is their number.  Each of them is in
    one of ``answered``, ``failed`` and ``refused`` (its last try found no backend), and ``tries``
    is the number of all their tries.  ``response`` summarises the response times of those answered:
    the time from the arrival of a request to its answer, network, retries and backoff included.

    ``duration`` is the time at which the last request ended, in seconds.  ``servers`` has the
    :class:`ServerUse` of each backend.  ``timeline`` is None, unless buckets were asked for.
    ``events`` are the events of the pools, in order of time, as far as their deques keep them.
    ``incidents`` are the faults.

    ``records`` is None, unless ``keep`` was set.  Otherwise it is a structured array with one
    element per request, warm-up included, in order of arrival.  Its fields are ``arrival``
    (seconds), ``backend`` (the index in ``servers`` of the last try that found a backend, or -1),
    ``response`` (seconds, also of failures), ``ok``, ``tries`` and ``work`` (seconds).

    ``tokens`` are the :class:`TokenTimes` of engines of a language model, and None for other
    servers.

    ``engine`` tells which of the three loops has run: "vectorised", "sampled" or "general".  Two
    results are equal if everything else is equal.

    ``steady`` is False if the requests in flight grew until the end, if the load is 1 or more, or
    if a run that is too short to tell shows signs of these.  ``unsteady`` then says why.  Without a
    steady state, all figures depend on the length of the run.

    >>> from random import Random
    >>> from balancers import PowerOfTwoChoices
    >>> from balancers.simulation import Exponential, Poisson, simulate
    >>> lb = PowerOfTwoChoices(["a", "b"], rng=Random(7))
    >>> run = simulate(lb, Poisson(rate=3.0), Exponential(mean=1.0), requests=1000, seed=7)
    >>> run.steady, run.unsteady
    (False, 'the load is 1.5 in total')
    """

    response: Times
    requests: int
    answered: int
    failed: int
    refused: int
    tries: int
    duration: float
    servers: Mapping[B, ServerUse]
    timeline: Timeline[B] | None
    events: tuple[Event, ...]
    incidents: tuple[Incident, ...]
    records: NDArray[np.void] | None
    engine: str
    unsteady: str
    tokens: TokenTimes[B] | None = None

    @property
    def steady(self) -> bool:
        """Whether there is no sign that the run had no steady state."""
        return not self.unsteady

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Simulation):
            return NotImplemented
        return all(_same(ours, theirs) for ours, theirs in _pairs(self, other, but="engine"))

    def __repr__(self) -> str:
        state = "" if self.steady else f", not steady: {self.unsteady}"
        return (
            f"<Simulation: {self.requests} requests, {self.failed} failed, {self.refused} refused, "
            f"response {self.response!r}, {self.engine}{state}>"
        )


def _pairs(one: Any, other: Any, but: str = "") -> list[tuple[Any, Any]]:
    names = [field.name for field in fields(one) if field.name != but]
    return [(getattr(one, name), getattr(other, name)) for name in names]


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are equal; arrays, and mappings of arrays, element by element."""
    if one.__class__ is not other.__class__:
        return False
    if one.__class__ is np.ndarray:
        floats = other.dtype.kind == "f"
        return bool(one.dtype == other.dtype and np.array_equal(one, other, equal_nan=floats))
    if one.__class__ is dict:
        return [*one] == [*other] and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)
