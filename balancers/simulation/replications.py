"""Repeats a simulation with several seeds, and computes confidence intervals."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import fsum, inf, isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from balancers._internal.checks import at_least, number, shown
from balancers.errors import InvalidSetting, NotSteady
from balancers.simulation._execution import Progress, execute
from balancers.simulation._factories import check_factory, check_no_state, made
from balancers.simulation._regression import Estimate, controlled, plain
from balancers.simulation._streams import balancer_random, stream
from balancers.simulation._student import student_quantile
from balancers.simulation.arrivals import Arrivals
from balancers.simulation.service import Service
from balancers.simulation.simulate import simulate
from balancers.simulation.simulation import Simulation
from balancers.simulation.times import Times

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["Interval", "Replications", "replicate"]

_CHUNK = 1 << 16
Measure = Callable[[Simulation[Any]], float]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval: the true mean is in it with the probability ``confidence``.

    >>> interval = Interval(mean=2.0, half_width=0.25, confidence=0.95)
    >>> interval.low, interval.high, 2.2 in interval, print(interval)
    2 ± 0.25
    (1.75, 2.25, True, None)
    """

    mean: float
    half_width: float
    confidence: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half_width

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.half_width:.2g}"


@dataclass(frozen=True, slots=True, repr=False)
class Replications:
    """Independent simulations that differ in their seeds only.

    :func:`replicate` makes them.  If your simulations need a script or probes, run each of them by
    a function of your own, with a seed of its own, and pass the results.

    Intervals use the means of the runs and Student's t distribution.  There is no interval from one
    run: response times follow each other closely, and so intervals from parts of one run (batch
    means) are too narrow.

    >>> from balancers import RandomChoice
    >>> from balancers.simulation import Exponential, Poisson
    >>> runs = replicate(partial(RandomChoice, ["a", "b"]), Poisson(1.0), Exponential(1.0),
    ...                  requests=20_000, seeds=range(4))
    >>> 2.0 in runs.interval(), runs.steady, len(runs.simulations)
    (True, True, 4)

    Raises InvalidSetting for fewer than two simulations, and TypeError for other objects.
    """

    simulations: tuple[Simulation[Any], ...]
    controls: tuple[tuple[float, float], ...] = ()
    """For each simulation, by which share the mean work and the mean gap of its requests exceed
    those of the laws.  A share is NaN if the mean of the law is 0, infinite or unknown."""

    def __post_init__(self) -> None:
        simulations = tuple(self.simulations)
        for one in simulations:
            if not isinstance(one, Simulation):
                raise TypeError(f"simulations must contain simulations, not {shown(one)}")
        if len(simulations) < 2:  # noqa: PLR2004 - no variance is known from one
            raise InvalidSetting(f"simulations must be 2 or more, not {len(simulations)}")
        if len(self.controls) not in {0, len(simulations)}:
            raise InvalidSetting(
                f"controls must be one per simulation, not {len(self.controls)} for "
                f"{len(simulations)}"
            )
        object.__setattr__(self, "simulations", simulations)

    @property
    def response(self) -> Times:
        """The response times of all runs together."""
        return sum((one.response for one in self.simulations), Times())

    @property
    def mean(self) -> float:
        """The mean of the mean response times of the runs, in seconds."""
        return fsum(_mean_response(one) for one in self.simulations) / len(self.simulations)

    @property
    def steady(self) -> bool:
        """Whether no run shows a sign that there is no steady state."""
        return all(one.steady for one in self.simulations)

    @property
    def unsteady(self) -> str:
        """The reason of the first run that has no steady state, or an empty text."""
        return next((one.unsteady for one in self.simulations if not one.steady), "")

    def interval(self, confidence: float = 0.95, *, of: Measure | None = None) -> Interval:
        """Return the interval of the mean response time in seconds, or of another measure.

        ``of`` is a function that returns a number for each simulation, for example
        ``lambda run: run.failed / run.requests``.

        Raises NotSteady if a run has no steady state, or if the measure of a run is not finite
        because no request was answered.  Raises InvalidSetting for a confidence that is not between
        0 and 1.
        """
        return self._interval(plain(self._values(of)), confidence)

    def percentile(self, q: float, confidence: float = 0.95) -> Interval:
        """Return the interval of a percentile of the response times, in seconds.

        ``q`` is from 0 to 100.  The interval is that of the mean of the percentiles of the runs.

        Raises NotSteady and InvalidSetting.
        """
        number("q", q)  # not a sequence
        return self.interval(confidence, of=lambda run: run.response.percentile(q))

    def controlled(self, confidence: float = 0.95, *, of: Measure | None = None) -> Interval:
        """Return the interval of :meth:`interval` with control variates, which is often narrower.

        The mean work and the mean gap of the requests of a run differ from those of the laws by
        chance.  A linear regression removes the part of the measure that they explain (Lavenberg
        and Welch, "A Perspective on the Use of Control Variables to Increase the Efficiency of
        Monte Carlo Simulations", 1981).  Each of them takes one degree of freedom.  So both are
        used from 7 runs on, one of them for 6 runs, and none for fewer.  One that does not vary, or
        whose true mean is infinite, is not used.

        Raises NotSteady and InvalidSetting.
        """
        work, gap = (
            [pair[place] for pair in self.controls] or [nan] * len(self.simulations)
            for place in (0, 1)
        )
        return self._interval(controlled(self._values(of), [work, gap]), confidence)

    def _values(self, of: Measure | None) -> list[float]:
        if not self.steady:
            raise NotSteady(f"there is no interval without a steady state: {self.unsteady}")
        measure = _mean_response if of is None else of
        values = [float(measure(one)) for one in self.simulations]
        for place, value in enumerate(values):
            if not isfinite(value):
                raise NotSteady(f"the measure of run {place} is {value}: it has too few answers")
        return values

    def __repr__(self) -> str:
        steady = "" if self.steady else ", no steady state"
        return f"<Replications: {len(self.simulations)} runs, mean {self.mean:.4g} s{steady}>"

    @staticmethod
    def _interval(estimate: Estimate, confidence: float) -> Interval:
        if not 0 < number("confidence", confidence) < 1:
            raise InvalidSetting(f"confidence must be between 0 and 1, not {shown(confidence)}")
        quantile = student_quantile(float(confidence), estimate.degrees)
        return Interval(estimate.mean, quantile * estimate.error, float(confidence))


def replicate(
    make: Callable[..., Any],
    arrivals: Arrivals,
    service: Service,
    *,
    requests: int,
    seeds: Iterable[int] = range(8),
    executor: "Executor | None" = None,
    progress: Progress | None = None,
    **options: Any,
) -> Replications:
    """Simulate once for each seed, each time with a new balancer or pool.

    ``make`` is a class, a :func:`functools.partial` or a function.  It returns a balancer, a pool
    or a sequence of them.  If it has an argument ``rng``, it gets a :class:`random.Random` that is
    derived from the seed.  ``options`` are those of :func:`simulate`, except ``seed``, ``script``
    and ``probes``: the last two belong to one pool.  With equal seeds, the requests are the same
    for every ``make`` (common random numbers), which makes comparisons more precise.

    The runs use an ``executor`` of :mod:`concurrent.futures` if there is one.  The result is the
    same.  ``progress`` is as in :meth:`Sweep.run`.

    >>> from balancers import PowerOfTwoChoices, RandomChoice
    >>> from balancers.simulation import Exponential, Poisson
    >>> for policy in (RandomChoice, PowerOfTwoChoices):
    ...     runs = replicate(partial(policy, range(10)), Poisson(rate=8.0), Exponential(mean=1.0),
    ...                      requests=20_000, seeds=range(4))
    ...     print(policy.__name__, round(runs.mean))
    RandomChoice 5
    PowerOfTwoChoices 2

    Raises InvalidSetting for fewer than two seeds, for equal seeds, and for a ``make`` or options
    that contain an object with a state: a balancer, a pool, a generator.  Raises TypeError for a
    ``make`` that cannot be called, and what :func:`simulate` raises.
    """
    check_factory("make", make)
    for name in ("script", "probes"):
        if options.get(name):
            raise TypeError(
                f"replicate has no argument {name}, because it belongs to one pool: simulate with "
                "each seed yourself, and pass the results to Replications"
            )
    if "seed" in options:
        raise TypeError("replicate has the argument seeds instead of seed")
    check_no_state("options", options)
    given: object = seeds
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"seeds must be an iterable of ints, not {shown(given)}")
    wanted = list(seeds)
    for seed in wanted:
        at_least(0, seed=seed)
    if len(wanted) < 2 or len(set(wanted)) < len(wanted):  # noqa: PLR2004 - as in Replications
        raise InvalidSetting(f"seeds must be 2 or more different ints, not {shown(wanted)}")
    run = partial(_run, make, arrivals, service, requests=requests, **options)
    tasks = {seed: partial(run, seed) for seed in wanted}
    results: dict[int, tuple[Simulation[Any], tuple[float, float]]] = {}
    errors = execute(
        tasks, results.__setitem__, kind="the run of seed", executor=executor, progress=progress
    )
    for error in errors.values():
        raise error
    simulations, controls = zip(*(results[seed] for seed in wanted), strict=True)
    return Replications(simulations, controls)


def _run(
    make: Callable[..., Any],
    arrivals: Arrivals,
    service: Service,
    seed: int,
    *,
    requests: int,
    **options: Any,
) -> tuple[Simulation[Any], tuple[float, float]]:
    """Return one simulation and its controls."""
    balancer = made(make, balancer_random(seed))
    run = simulate(balancer, arrivals, service, requests=requests, seed=seed, **options)
    warm = requests - run.requests
    work = _excess(service, seed, "service", warm, requests)
    return run, (work, _excess(arrivals, seed, "arrivals", warm, requests))


def _excess(law: Arrivals | Service, seed: int, name: str, first: int, last: int) -> float:
    """Return by which share the mean of the values that a run has counted exceeds that of the law.

    The law is drawn once more, which takes less time than the simulation.
    """
    mean = getattr(law, "mean", nan)  # a law of a user may have none
    if not 0 < mean < inf:
        return nan
    draws, sums = stream(seed, name), list[float]()
    for start in range(0, last, _CHUNK):
        drawn = np.asarray(law.draw(draws, start, min(_CHUNK, last - start)))
        sums.append(float(drawn[max(0, first - start) :].sum()))
    return fsum(sums) / ((last - first) * mean) - 1


def _mean_response(run: Simulation[Any]) -> float:
    return run.response.mean
