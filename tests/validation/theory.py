"""Closed forms and exact chains of queueing theory, to compare simulations with.

Times are in mean service times: every server completes one request per unit of time on average.
Load is the arrival rate per server, so it is below 1.  Nothing here uses the simulator.
"""

from collections.abc import Callable, Iterator
from itertools import takewhile
from math import erfc, exp, log, pi, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "bisected", "erlang_b", "erlang_c", "exponential_percentile", "halfin_whitt", "many_slots",
    "many_slots_percentile", "processor_sharing", "retry_load", "round_robin", "single_queue",
    "supermarket", "supermarket_limit", "supermarket_percentile", "supermarket_tails",
    "two_servers",
]  # fmt: skip

Matrix: TypeAlias = NDArray[np.floating[Any]]
_SMALLEST = 1e-18
"""Shares of servers below this do not change any figure."""


def bisected(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where an increasing function is zero, between two arguments."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


# choices among many servers (Vvedenskaya, Dobrushin and Karpelevich 1996; Mitzenmacher 2001)


def supermarket_tails(load: float, choices: int) -> Iterator[float]:
    """Yield the share of servers with at least 0, 1, 2 ... requests, for many servers."""
    exponent = 0
    while True:
        yield load**exponent
        exponent = exponent * choices + 1


def _occupied(load: float, choices: int) -> list[float]:
    """Return the tails from 1 on, until they no longer count."""
    tails = takewhile(lambda tail: tail > _SMALLEST, supermarket_tails(load, choices))
    return list(tails)[1:]


def supermarket_limit(load: float, choices: int) -> float:
    """Return the mean response time of the best of some random servers, for many servers."""
    return sum(_occupied(load, choices)) / load


def supermarket(load: float, choices: int, servers: int, *, distinct: bool = True) -> float:
    """Return the mean response time for a number of servers, but for terms of 1 / servers².

    It is the limit and a term of 1 / servers for the fluctuations, which solves a Lyapunov
    equation (Gast and Van Houdt, A refined mean field approximation, 2017).  Servers that are
    sampled without replacement change the rates by another term of 1 / servers.
    """
    tails = np.array([1.0, *_occupied(load, choices), 0.0])
    own, before, after = tails[1:-1], tails[:-2], tails[2:]
    slope, bend = choices, choices * (choices - 1)

    def curve(power: int, factor: float) -> tuple[Matrix, Matrix]:
        return load * factor * before**power, load * factor * own**power

    arriving, staying = curve(choices - 1, slope)
    jacobian = np.diag(-staying - 1) + np.diag(arriving[1:], -1) + np.diag(np.ones(len(own) - 1), 1)
    noise = np.diag(2 * (own - after))
    variance = _lyapunov(jacobian, noise)
    spread = np.diag(variance)
    second_in, second_out = curve(choices - 2, bend)
    drift = 0.5 * (second_in * np.concatenate([[0.0], spread[:-1]]) - second_out * spread)
    if distinct:
        drift -= 0.5 * (second_in * before * (1 - before) - second_out * own * (1 - own))
    return float(own.sum() - np.linalg.solve(jacobian, drift).sum() / servers) / load


def _lyapunov(matrix: Matrix, noise: Matrix) -> Matrix:
    """Return X of ``matrix X + X matrixᵀ + noise = 0``."""
    size = len(matrix)
    identity = np.eye(size)
    both = np.kron(matrix, identity) + np.kron(identity, matrix)
    return np.linalg.solve(both, -noise.ravel()).reshape(size, size)


def supermarket_percentile(percent: float, load: float, choices: int) -> float:
    """Return a percentile of the response time of FIFO servers, for many servers.

    With probability tailᵢ to the power of ``choices`` a request finds at least i requests.  It
    waits for them, and so its response time is a sum of exponential times.
    """
    tails = [1.0, *(tail**choices for tail in _occupied(load, choices))]
    above = 1 - percent / 100

    def slower(time: float) -> float:
        """Return the probability of a longer response time: Σ P(finds i) P(Poisson(time) ≤ i)."""
        term, share = exp(-time), 0.0
        for found, tail in enumerate(tails):
            share += tail * term
            term *= time / (found + 1)
        return share

    return bisected(lambda time: above - slower(time), 0, 700)


# one queue for several slots, and one queue per server


def erlang_b(slots: int, work: float) -> float:
    """Return the share of requests that is refused, without a queue; ``work`` is slots · load."""
    blocked = 1.0
    for count in range(1, slots + 1):
        blocked = work * blocked / (count + work * blocked)
    return blocked


def erlang_c(slots: int, load: float) -> float:
    """Return the share of requests that waits in M/M/slots."""
    blocked = erlang_b(slots, slots * load)
    return blocked / (1 - load * (1 - blocked))


def many_slots(slots: int, load: float) -> float:
    """Return the mean response time of M/M/slots."""
    return 1 + erlang_c(slots, load) / (slots * (1 - load))


def many_slots_percentile(percent: float, slots: int, load: float) -> float:
    """Return a percentile of the response time of M/M/slots: a wait, exponential or 0, and work."""
    waits, rate = erlang_c(slots, load), slots * (1 - load)

    def slower(time: float) -> float:
        if abs(rate - 1) < 1e-9:  # both times have one rate
            return exp(-time) * (1 + waits * time)
        sum_of_both = (rate * exp(-time) - exp(-rate * time)) / (rate - 1)
        return (1 - waits) * exp(-time) + waits * sum_of_both

    return bisected(lambda time: 1 - percent / 100 - slower(time), 0, 1e4)


def halfin_whitt(beta: float) -> float:
    """Return the limit of Erlang C for many slots with load 1 − beta / √slots."""
    density = exp(-(beta**2) / 2) / sqrt(2 * pi)
    return 1 / (1 + beta * (erfc(-beta / sqrt(2)) / 2) / density)


def round_robin(load: float, servers: int) -> float:
    """Return the mean response time of round robin: each server is E_servers/M/1.

    Every server gets each ``servers``-th request of a Poisson stream.  The response time is
    exponential, so ``exponential_percentile`` of this mean is its percentile.
    """
    rate = servers * load
    busy = bisected(lambda share: share - (rate / (rate + 1 - share)) ** servers, 0, 1 - 1e-9)
    return 1 / (1 - busy)


def exponential_percentile(percent: float, mean: float) -> float:
    """Return a percentile of an exponential time: of M/M/1, with mean 1 / (1 − load)."""
    return -log(1 - percent / 100) * mean


def single_queue(load: float, variation_squared: float) -> float:
    """Return the mean response time of M/G/1, FIFO (Pollaczek and Khinchine)."""
    return 1 + load * (1 + variation_squared) / (2 * (1 - load))


def processor_sharing(load: float) -> float:
    """Return the mean response time of M/G/1 with processor sharing, for any law of service."""
    return 1 / (1 - load)


# two servers, exactly


def two_servers(load: float, shorter: float = 1.0, width: int = 80) -> float:
    """Return the mean response time of two servers if the shorter queue gets a share of requests.

    With share 1 this is join the shortest queue, with 3/4 the best of two random servers sampled
    with replacement, with 1/2 a random server.  The chain is a quasi-birth-death process (Neuts
    1981): its level is the shorter queue, without a bound, and its phase the difference, which is
    below ``width``.
    """
    rate = 2 * load
    up, down, here = (np.zeros((width, width)) for _ in range(3))
    for gap in range(width):
        if gap:
            up[gap, gap - 1] += rate * shorter
            here[gap, gap - 1] += 1
        if gap + 1 < width:
            here[gap, gap + 1] += rate * (1 - shorter if gap else 1)
            down[gap, gap + 1] += 1 if gap else 2
    first = here - np.diag((up + here).sum(axis=1))
    local = here - np.diag((up + here + down).sum(axis=1))
    ratio = _rate_matrix(up, local, down)
    equations = (first + ratio @ down).T
    geometric = np.linalg.inv(np.eye(width) - ratio)
    equations[0] = geometric.sum(axis=1)
    right: Matrix = np.eye(1, width).ravel()
    lowest = np.linalg.solve(equations, right)
    phases = lowest @ geometric
    levels = phases @ ratio @ geometric
    requests = 2 * levels.sum() + (phases * np.arange(width)).sum()
    return float(requests / rate)


def _rate_matrix(up: Matrix, local: Matrix, down: Matrix) -> Matrix:
    """Return R of ``up + R local + R² down = 0`` by logarithmic reduction (Latouche, Ramaswami)."""
    identity = np.eye(len(up))
    inverse = np.linalg.inv(-local)
    rise, fall = inverse @ up, inverse @ down
    first, product = fall, rise
    while product.max() > 1e-17:  # it is squared in each round
        inverse = np.linalg.inv(identity - rise @ fall - fall @ rise)
        rise, fall = inverse @ rise @ rise, inverse @ fall @ fall
        first = first + product @ fall
        product = product @ rise
    return up @ np.linalg.inv(-(local + up @ first))


# retries


def retry_load(failing: float, retries: int) -> float:
    """Return the mean number of tries if each fails with a probability, with some retries."""
    return (1 - failing ** (retries + 1)) / (1 - failing)
