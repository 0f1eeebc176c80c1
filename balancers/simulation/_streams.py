"""Makes the private generators of random numbers of one run.

Each purpose has its own stream.  So the arrivals of a run do not depend on what its balancer, its
servers or its faults draw.
"""

from random import Random

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from balancers._internal.checks import at_least

__all__ = ["balancer_random", "stream"]

_NUMBERS = {
    name: number
    for number, name in enumerate(
        ("arrivals", "service", "keys", "network", "faults", "retries", "front", "balancer")
    )
}
"""The position of a name is part of its seed, so a new name is added at the end."""


def stream(seed: int, name: str) -> Generator:
    """Return a new generator for one purpose of a run: "arrivals", "service", "keys", "network",
    "faults", "retries" or "front" (which of several balancers gets a request).

    Draw from it by ``random`` only.  Then the numbers do not depend on how many are drawn at once,
    nor on the version of numpy.

    >>> one, two = stream(7, "arrivals"), stream(7, "arrivals")
    >>> one.random(3).tolist() == [two.random(), *two.random(2).tolist()]
    True
    >>> stream(7, "service").random() == stream(7, "arrivals").random()
    False

    Raises InvalidSetting for a seed that is not an int of 0 or more.
    """  # noqa: D205 - the names belong to the first sentence
    return Generator(PCG64(_sequence(seed, name)))


def balancer_random(seed: int) -> Random:
    """Return a new generator for a balancer of a run.  It depends on the seed of the run only.

    Raises InvalidSetting for a seed that is not an int of 0 or more.
    """
    words = _sequence(seed, "balancer").generate_state(4, np.uint64)
    return Random(int.from_bytes(words.astype("<u8").tobytes(), "little"))


def _sequence(seed: int, name: str) -> SeedSequence:
    at_least(0, seed=seed)
    return SeedSequence(seed, spawn_key=(_NUMBERS[name],))
