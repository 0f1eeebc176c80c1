"""Balancers for the tests of the kit: right ones, and ones with a planted fault."""

from collections.abc import Collection
from random import Random, random

from balancers import SUCCESS, Key, LeastConnections, Outcome, RandomChoice, RoundRobin

__all__ = ["Endless", "GlobalRandom", "Leaking", "Stuck", "Unseeded", "seeded"]


class Stuck(RoundRobin[str]):
    """Always picks the first member."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        return next(iter(self.weights), "none")


class Endless(RoundRobin[str]):
    """Searches for ever if nothing can be picked."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        while not any(weight and b not in avoid for b, weight in self.weights.items()):
            pass
        return super().pick(key, now, avoid)


class Leaking(LeastConnections[str]):
    """Does not count down a request with an unknown outcome."""

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        if outcome.ok is not None:
            super().finished(backend, outcome, now)


class GlobalRandom(RoundRobin[str]):
    """Draws from the generator that the whole process shares."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        if random() < 0.5:
            super().pick(key, now, avoid)
        return super().pick(key, now, avoid)


class Unseeded(RandomChoice[str]):
    """Makes a generator of its own."""

    def __init__(self) -> None:
        super().__init__(rng=Random())


def seeded(rng: Random) -> RandomChoice[str]:
    return RandomChoice(rng=rng)
