"""Searches every ordering of events.  Equal states are merged.

The search goes by the number of events: first everything that happens without events, then
everything that can happen after one event at any moment, then after two.  Between events, whatever
happens by itself happens in every possible order, until the states repeat.
"""

import marshal
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from time import process_time

from balancers.redundancy.vrrp import VirtualRouter
from tests.redundancy.model.monitor import Broken
from tests.redundancy.model.scenarios import Scenario
from tests.redundancy.model.states import read, written
from tests.redundancy.model.world import Move, World

__all__ = ["Counterexample", "Result", "search"]


class Counterexample(AssertionError):
    """Raised for an ordering of as few events as possible that breaks a promise."""

    def __init__(self, scenario: Scenario, moves: list[Move], why: Broken) -> None:
        steps = "\n".join(f"  {kind} {which}" for kind, which in moves)
        super().__init__(f"{scenario.name}:\n{steps}\n{why}")
        self.moves = moves


@dataclass
class Result:
    """What a search did."""

    scenario: Scenario
    depth: int
    states: list[int]
    """The number of different states that are first reached by each number of events."""
    moves: int = 0
    """The number of things that were done, of which most lead to a state that is known."""
    longest: dict[tuple[str, int], float] = field(default_factory=dict[tuple[str, int], float])
    seconds: float = 0.0

    def __str__(self) -> str:
        levels = ", ".join(f"{count:,}" for count in self.states)
        return (
            f"{self.scenario.name}: {len(self.scenario.peers)} routers, {self.depth} events, "
            f"{sum(self.states):,} states ({levels}), {self.moves:,} moves, "
            f"{self.seconds:.0f} s of CPU"
        )


class _Search:
    """``known`` has the digests of all states.  ``parents`` has, for each numbered state, the one
    that it follows and the move that leads to it.
    """

    def __init__(self, scenario: Scenario, depth: int, make: type[VirtualRouter]) -> None:
        self.world = World(scenario, make)
        self.result = Result(scenario, depth, [0] * (depth + 1))
        self.parents: list[tuple[int, Move]] = [(-1, ("begin", 0))]
        self.known: set[bytes] = set()

    def run(self) -> Result:
        began, depth = process_time(), self.result.depth
        first = marshal.dumps(written(self.world), 2)
        self._is_new(first, 0)
        level = [(0, first)]
        for events in range(depth):
            following: list[tuple[int, bytes]] = []
            for number, state in level:  # the list grows: natural moves cost no event
                for move, after in self._after(number, state, events=False):
                    if self._is_new(after, events):
                        level.append((self._numbered(number, move), after))
            for number, state in level:  # all states of fewer events are known now
                for move, after in self._after(number, state, events=True):
                    if not self._is_new(after, events + 1):
                        continue
                    if events + 1 < depth:
                        following.append((self._numbered(number, move), after))
                    else:
                        self._finish(number, move, after)
            level = following
        if not depth:
            self._finish(0, ("begin", 0), first)
        self.result.longest = self.world.monitor.longest
        self.result.seconds = process_time() - began
        return self.result

    def _finish(self, number: int, move: Move, state: bytes) -> None:
        """Let happen by itself what can, after the last event.  These states are not stored."""
        mark = len(self.parents)
        waiting = [(self._numbered(number, move), state)]
        while waiting:
            before, state = waiting.pop()
            for then, after in self._after(before, state, events=False):
                if self._is_new(after, self.result.depth):
                    waiting.append((self._numbered(before, then), after))
        del self.parents[mark:]

    def _after(self, number: int, packed: bytes, *, events: bool) -> Iterator[tuple[Move, bytes]]:
        """Yield each move and the state after it."""
        world, state = self.world, marshal.loads(packed)  # noqa: S302 - written by this process
        read(world, state)
        moves = world.events() if events else world.natural()
        fresh = True
        for move in moves:
            if not fresh:
                read(world, state)
            fresh = False
            self.result.moves += 1
            try:
                world.do(move)
            except Broken as broken:
                raise Counterexample(
                    world.scenario, [*self._trace(number), move], broken
                ) from broken
            yield move, marshal.dumps(written(world), 2)

    def _is_new(self, packed: bytes, events: int) -> bool:
        digest = blake2b(packed, digest_size=16).digest()
        if digest in self.known:
            return False
        self.known.add(digest)
        self.result.states[events] += 1
        return True

    def _numbered(self, number: int, move: Move) -> int:
        self.parents.append((number, move))
        return len(self.parents) - 1

    def _trace(self, number: int) -> list[Move]:
        moves: list[Move] = []
        while number > 0:
            number, move = self.parents[number]
            moves.append(move)
        return moves[::-1]


def search(scenario: Scenario, depth: int, make: type[VirtualRouter] = VirtualRouter) -> Result:
    """Search every ordering of up to ``depth`` events.  Raises Counterexample."""
    return _Search(scenario, depth, make).run()
