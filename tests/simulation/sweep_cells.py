"""The cells of the sweeps that the tests run, in a module that other processes can import."""

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random
from typing import Any

from balancers import HashRing, LeastConnections, Pool, PowerOfTwoChoices, RandomChoice, RoundRobin
from balancers.simulation import (
    Exponential,
    HyperExponential,
    Poisson,
    Simulation,
    Sweep,
    ZipfKeys,
    grid,
    replicate,
    simulate,
)

__all__ = ["POLICIES", "broken", "exits", "main", "one_run", "replicated", "sweep"]

NAMES = tuple("abcdefgh")
POLICIES: dict[str, Callable[..., Any]] = {
    "round robin": partial(RoundRobin, NAMES),
    "random": partial(RandomChoice, NAMES),
    "two choices": partial(PowerOfTwoChoices, NAMES),
    "least connections": partial(LeastConnections, NAMES),
    "ring": partial(HashRing, NAMES),
}


def one_run(make: Callable[..., Any], seed: int, requests: int = 1500) -> Simulation[Any]:
    """Return a simulation of a new balancer."""
    takes_rng = "rng" in getattr(make, "keywords", {}) or make in (
        POLICIES["random"],
        POLICIES["two choices"],
    )
    balancer = make(rng=Random(seed)) if takes_rng else make()
    return simulate(
        balancer,
        Poisson(rate=6.0),
        HyperExponential(mean=1.0, variation_squared=3.0),
        requests=requests,
        seed=seed,
        keys=ZipfKeys(1000, 0.5),
        timeline=20.0,
        keep=True,
    )


replicated = partial(
    replicate, service=Exponential(1.0), requests=500, seeds=range(2), keys=ZipfKeys(1000, 0.5)
)


def sweep() -> Sweep[Any]:
    """Return a sweep of single simulations and of replications."""
    return Sweep(
        {
            **grid(partial(replicated, arrivals=Poisson(5.0)), make=POLICIES),
            **grid(partial(one_run, POLICIES["ring"]), seed=range(4)),
            "pool": pooled,
        }
    )


def pooled() -> Simulation[Any]:
    """Return a simulation of a pool."""
    pool = Pool(LeastConnections(NAMES))
    return simulate(pool, Poisson(rate=6.0), Exponential(1.0), requests=500, seed=1)


def broken(seed: int) -> int:
    """Raise an error for one seed."""
    if seed == 2:
        raise ValueError(f"seed {seed} is broken")
    return seed


def exits(seed: int) -> int:
    """End the process without an exception, in a worker."""
    if seed == 2:
        os._exit(3)
    return seed


def main() -> None:
    """Interrupt a sweep and its group of processes, as Ctrl-C does, and go on with new ones."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    cells = sweep()
    before = 0

    def interrupt(done: int) -> None:
        if done == 3:
            os.killpg(0, signal.SIGINT)

    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # as docs/sweeps.md recommends
    try:
        with ProcessPoolExecutor(2, initializer=ignore) as executor:
            cells.run(executor, progress=interrupt)
    except KeyboardInterrupt:
        before = cells.done
    with ProcessPoolExecutor(2) as executor:
        cells.run(executor)
    sys.stdout.write(f"{before} {cells.digest()}\n")


if __name__ == "__main__":
    main()
