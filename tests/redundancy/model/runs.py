"""Long runs in which everything happens at random times, from a seed."""

from dataclasses import dataclass, field
from math import inf
from random import Random
from time import process_time

from balancers.redundancy.vrrp import OWNER, VirtualRouter
from tests.redundancy.model.monitor import Broken
from tests.redundancy.model.scenarios import Peer, Scenario
from tests.redundancy.model.world import Move, World

__all__ = ["Failed", "Runs", "random_scenario", "runs"]

EVENTS = (4, 16)
"""The least and the most events of a run."""
SCENARIOS = 50
"""A scenario of random settings is used for this many runs."""


class Failed(AssertionError):
    """Raised when a run breaks a promise.  The seed repeats it."""

    def __init__(self, scenario: Scenario, seed: int, moves: list[Move], why: Broken) -> None:
        steps = "\n".join(f"  {kind} {which}" for kind, which in moves)
        super().__init__(f"{scenario}, seed {seed}:\n{steps}\n{why}")


class RandomWorld(World):
    """A world in which delays are random, and time can pass in parts."""

    def __init__(self, scenario: Scenario, rng: Random, make: type[VirtualRouter]) -> None:
        self.rng = rng
        super().__init__(scenario, make)
        self.monitor.counts = True

    def delayed(self) -> float:
        return self.scenario.delay * self.rng.random()

    def pass_part(self) -> None:
        time = self.next_time()
        if time < inf:
            self.pass_until(self.now + (time - self.now) * self.rng.random())


@dataclass
class Runs:
    """What many runs did."""

    count: int = 0
    events: int = 0
    moves: int = 0
    worst: dict[str, float] = field(default_factory=dict[str, float])
    """The longest time that was seen for each promise, as a part of its bound."""
    seconds: float = 0.0

    def add(self, other: "Runs") -> None:
        self.count += other.count
        self.events += other.events
        self.moves += other.moves
        self.seconds += other.seconds
        for promise, part in other.worst.items():
            self.worst[promise] = max(part, self.worst.get(promise, 0.0))

    def __str__(self) -> str:
        worst = ", ".join(f"{promise} {part:.2%}" for promise, part in sorted(self.worst.items()))
        return (
            f"{self.count:,} seeded runs: {self.events:,} events, {self.moves:,} moves, "
            f"{self.seconds:.0f} s of CPU\n"
            f"    longest times seen, as parts of their bounds: {worst}"
        )


def random_scenario(rng: Random) -> Scenario:
    """Two or three routers with random settings."""
    silent, preempt = rng.random() < 0.3, rng.random() < 0.7
    delays = preempt and rng.random() < 0.2
    usual = rng.choice((0.01, 0.1, 0.2, 1.0, 40.95))
    peers = tuple(
        Peer(
            rng.choice((1, 100, 100, 150, 254, OWNER)),
            rng.choice((usual, usual, usual, rng.randint(1, 4095) / 100)),
            preempt,
            usual * rng.choice((0.0, 0.5, 5.0)) if delays else 0.0,
        )
        for _ in range(rng.choice((2, 3)))
    )
    delay = usual * rng.choice((0.001, 0.1, 0.5, 2.0))
    return Scenario(f"random {len(peers)}", peers, delay, answer_lower=not silent)


def runs(first: int, count: int, make: type[VirtualRouter] = VirtualRouter) -> Runs:
    """Do ``count`` runs, of the seeds from ``first`` on.  Raises Failed."""
    began, result = process_time(), Runs()
    world: RandomWorld | None = None
    for seed in range(first, first + count):
        if world is None or seed % SCENARIOS == 0:
            settings = Random(seed // SCENARIOS)
            world = RandomWorld(random_scenario(settings), Random(), make)
        world.rng.seed(seed)
        moves: list[Move] = []
        try:
            result.events += _run(world, moves)
        except Broken as broken:
            raise Failed(world.scenario, seed, moves, broken) from broken
        result.moves += len(moves)
        result.count += 1
        for promise, part in world.monitor.worst.items():
            result.worst[promise] = max(part, result.worst.get(promise, 0.0))
    result.seconds = process_time() - began
    return result


def _run(world: RandomWorld, moves: list[Move]) -> int:
    """Do one run, and return the number of its events."""
    rng = world.rng
    world.begin()
    events = rng.randint(*EVENTS)
    left = events
    calm = 0
    while left or calm:
        natural = world.natural()
        if left and rng.random() < 0.3:
            move = rng.choice(world.events())
            left -= 1
            calm = 10
        else:
            move = rng.choice(natural)
            calm -= not left
        moves.append(move)
        if move[0] == "wait half":
            world.pass_part()
        else:
            world.do(move)
    return events
