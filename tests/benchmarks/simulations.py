"""Rows for simulations, which are compared with the same simulation in simpy.

Each simulation has 100 servers at load 0.9, and exponential gaps and service times.
"""

from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib import import_module
from math import isclose
from random import Random
from statistics import median
from time import process_time_ns
from typing import Any

import numpy as np

from balancers import (
    SUCCESS,
    Balancer,
    ConnectionLimit,
    Drain,
    Gate,
    HealthChecks,
    LeastConnections,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
)
from balancers.gates import ActiveChecks
from balancers.overload import RetryBudget
from balancers.simulation import (
    Crash,
    Exponential,
    Freeze,
    Poisson,
    Retries,
    Simulation,
    Slow,
    simulate,
)
from tests.benchmarks.measure import Effort, Measured, Run, measure, without_garbage_collection
from tests.benchmarks.row import Row

__all__ = ["rows"]

N, LOAD = 100, 0.9
REQUESTS = 20_000
"""The number of requests that simpy simulates in one round."""
QUICK = 20
"""In a quick check, all simulations are this many times shorter."""
ROUNDS = 7
_WEIGHTS: dict[int, float] = {0: 1.01} | dict.fromkeys(range(1, N), 1)
IN_FLIGHT = 250
"""About the number of requests in flight, with two choices."""

Choose = Callable[[Random, list[int], int], int]
"""A function of a generator, the requests in flight at each server, and the number of the request.
It returns the index of a server."""
Ours = Callable[[int], Simulation[int]]
"""Simulates this number of requests."""


class _RoundRobin(RoundRobin[int]):
    """A subclass, which is always simulated through its methods."""


class _RandomChoice(RandomChoice[int]):
    """A subclass, which is always simulated through its methods."""


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for name, engine, speedup, factor, ours, policy in (
        ("RoundRobin", "vectorised", 350, 50, _round_robin(RoundRobin), _in_turn),
        ("RandomChoice", "vectorised", 120, 50, _random_choice(RandomChoice), _at_random),
        ("PowerOfTwoChoices", "sampled", 25, 10, _random_choice(PowerOfTwoChoices), _less_busy),
        ("RoundRobin, its methods", "general", 25, 5, _round_robin(_RoundRobin), _in_turn),
        ("RandomChoice, its methods", "general", 25, 5, _random_choice(_RandomChoice), _at_random),
        ("PowerOfTwoChoices, its methods", "general", 9, 2, _one_weight, _less_busy),
        ("LeastConnections, its methods", "general", 7, 2, _least_connections, _least_busy),
        ("Pool, 3 gates", "general", 3, 1, _pool, _less_busy),
        ("Pool, probes, retries, faults", "general", 1.2, 1, _drill, None),
    ):
        yield Row(
            f"simulate {name}", N, "simpy", -speedup,
            partial(_compared, ours, engine, policy, factor), partial(_per_request, factor),
        )  # fmt: skip
    yield Row(
        "simulate, without what it calls", N, "simpy", 1 / 15,
        partial(_compared, _one_weight, "general", _less_busy, 2), _above_bare_calls,
    )  # fmt: skip


def _plain(balancer: Balancer[int] | Pool[int], requests: int, **options: Any) -> Simulation[int]:
    arrivals, service = Poisson(rate=N * LOAD), Exponential(mean=1.0)
    return simulate(balancer, arrivals, service, requests=requests, seed=1, warm_up=0.0, **options)


def _round_robin(kind: Callable[..., Any]) -> Ours:
    return lambda requests: _plain(kind(range(N)), requests)


def _random_choice(kind: Callable[..., Any]) -> Ours:
    return lambda requests: _plain(kind(range(N), rng=Random(1)), requests)


def _one_weight(requests: int) -> Simulation[int]:
    """Simulate two choices through its methods, because one backend has another weight."""
    return _plain(PowerOfTwoChoices(_WEIGHTS, rng=Random(1)), requests)


def _least_connections(requests: int) -> Simulation[int]:
    return _plain(LeastConnections(range(N)), requests)


def _pool(requests: int) -> Simulation[int]:
    balancer = PowerOfTwoChoices(range(N), rng=Random(1))
    gates: list[Gate[int]] = [HealthChecks(), Drain(), ConnectionLimit(1000)]
    return _plain(Pool(balancer, gates), requests)


def _drill(requests: int) -> Simulation[int]:
    """Simulate a pool of 3 gates with probes, retries with a budget, and three faults.

    Requests are ten times shorter than in the other rows, so there is one probe for 45 requests.
    """
    checks = ActiveChecks[int](rng=Random(2))
    gates: list[Gate[int]] = [checks, ConnectionLimit(1000), Drain()]
    balancer = PowerOfTwoChoices(range(N), rng=Random(1))
    end = requests / (N * LOAD * 10)
    return simulate(
        Pool(balancer, gates),
        Poisson(rate=N * LOAD * 10),
        Exponential(mean=0.1),
        requests=requests,
        seed=1,
        probes=checks,
        retries=Retries(tries=3, budget=RetryBudget()),
        faults=[
            Crash(0, start=0.3 * end, end=0.6 * end),
            Freeze(1, start=0.3 * end, end=0.6 * end),
            Slow(2, start=0.0, end=0.3 * end, factor=5),
        ],
    )


def _in_turn(rng: Random, busy: list[int], number: int) -> int:
    del rng
    return number % len(busy)


def _at_random(rng: Random, busy: list[int], number: int) -> int:
    del number
    return rng.randrange(len(busy))


def _less_busy(rng: Random, busy: list[int], number: int) -> int:
    del number
    first, second = rng.randrange(len(busy)), rng.randrange(len(busy) - 1)
    second += second >= first
    return second if busy[second] < busy[first] else first


def _least_busy(rng: Random, busy: list[int], number: int) -> int:
    del rng, number
    return min(range(len(busy)), key=busy.__getitem__)


def _theirs(choose: Choose, requests: int) -> float:
    """Simulate the same in simpy, as its documentation does, and return the mean response time.

    Like ours, the result has percentiles, and the use of each server.
    """
    simpy: Any = import_module("simpy")
    rng, environment = Random(1), simpy.Environment()
    servers = [simpy.Resource(environment, 1) for _ in range(N)]
    busy, served, worked, spent = [0] * N, [0] * N, [0.0] * N, [0.0] * N
    responses: list[float] = []

    def request(place: int, work: float) -> Generator[Any]:
        arrival = environment.now
        busy[place] += 1
        with servers[place].request() as turn:
            yield turn
            yield environment.timeout(work)
        busy[place] -= 1
        response = environment.now - arrival
        responses.append(response)
        served[place] += 1
        worked[place] += work
        spent[place] += response

    def traffic() -> Generator[Any]:
        for number in range(requests):
            yield environment.timeout(rng.expovariate(N * LOAD))
            environment.process(request(choose(rng, busy, number), rng.expovariate(1.0)))

    environment.process(traffic())
    environment.run()
    median, last = np.percentile(responses, [50, 99])
    assert 0 < median < last
    assert 0 < max(worked) < environment.now * 1.001
    assert sum(served) == requests
    return sum(spent) / requests


def _compared(ours: Ours, engine: str, policy: Choose | None, factor: int) -> tuple[Run, Run]:
    """Check the engine and the mean response time, and return both simulations.

    Without a ``policy``, nothing in simpy has the same mean.  The time is that of two choices, if
    simpy has no faults, or if the plain code of the policy is slow.
    """
    found = ours(REQUESTS)
    assert found.engine == engine, found.engine
    timed: Choose = _less_busy
    if policy is not None:
        assert isclose(found.response.mean, _theirs(policy, REQUESTS), rel_tol=0.25)
        timed = _less_busy if policy is _least_busy else policy
    return (lambda times: ours(factor * times)), partial(_theirs, timed)


def _per_request(factor: int, ours: Run, other: Run, effort: Effort) -> Measured:
    """Time complete simulations, and return the times of one request."""
    rounds, requests = _rounds(effort)
    found = measure(lambda _: ours(requests), lambda _: other(requests), Effort(rounds, 1))
    return Measured(found.ours / requests / factor, found.other / requests, found.ratio / factor)


def _above_bare_calls(ours: Run, other: Run, effort: Effort) -> Measured:
    """Time complete simulations, less the calls of the balancer that a simulation needs."""
    rounds, requests = _rounds(effort)
    runs: list[Run] = [lambda times: ours(times // 2), _bare_calls, other]
    took: list[list[float]] = []
    with without_garbage_collection():
        for _ in range(rounds):
            took.append([])
            for run in runs:
                started = process_time_ns()
                run(requests)
                took[-1].append((process_time_ns() - started) / requests)
    return Measured(
        median(engine - bare for engine, bare, _ in took),
        median(theirs for _, _, theirs in took),
        median((engine - bare) / theirs for engine, bare, theirs in took),
    )


def _bare_calls(requests: int) -> None:
    """Pick, start and finish requests, with about as many in flight as in a simulation."""
    balancer = PowerOfTwoChoices(_WEIGHTS, rng=Random(1))
    pick, started, finished = balancer.pick, balancer.started, balancer.finished
    held = [pick() for _ in range(IN_FLIGHT)]
    for backend in held:
        started(backend)
    for _ in range(requests // IN_FLIGHT):
        for place, backend in enumerate(held):
            finished(backend, SUCCESS, 1.0)
            held[place] = picked = pick(None, 1.0)
            started(picked, 1.0)


def _rounds(effort: Effort) -> tuple[int, int]:
    """Return the number of rounds, and of the requests that simpy simulates in each."""
    if effort.rounds < ROUNDS:
        return effort.rounds, REQUESTS // QUICK
    return ROUNDS, REQUESTS
