"""Runs every sequence of operations up to a length on a pool and on its model.

The search goes by length: first all sequences of one operation, then of two, and so on.  A state
that was reached before is not continued again.  Pools cannot be copied together with their leases,
so each operation is tried on a new pool, after the shortest sequence that leads to its state.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from time import process_time

from tests.model.canonical import canonical
from tests.model.scenarios import Op, Scenario
from tests.model.world import Model, World, initial_model

__all__ = ["Counterexample", "Result", "check_every_sequence"]


class Counterexample(AssertionError):
    """Raised for the shortest sequence after which a pool and its model differ."""

    def __init__(self, scenario: Scenario, ops: tuple[Op, ...], why: Exception) -> None:
        steps = "\n".join(f"  {op}" for op in ops)
        super().__init__(f"{scenario.name}:\n{steps}\n{type(why).__name__}: {why}")
        self.ops = ops


@dataclass
class Result:
    """What a search did."""

    scenario: str
    depth: int
    sequences: int = 0
    """The number of sequences that were covered, of every length from 1 to ``depth``."""
    states: int = 0
    """The number of different states that were reached by fewer than ``depth`` operations."""
    tried: int = 0
    """The number of operations that were done and compared."""
    seconds: float = 0.0
    """The processor time that this took."""
    reached: set[Hashable] = field(default_factory=set[Hashable])
    """The states, if they were asked for."""

    def __str__(self) -> str:
        return (
            f"{self.scenario}: {self.sequences:,} sequences of up to {self.depth} operations, "
            f"{self.states:,} states, {self.tried:,} operations compared, "
            f"{self.seconds:.1f} s of CPU"
        )


@dataclass
class _State:
    ops: tuple[Op, ...]
    """The shortest sequence that leads here."""
    model: Model | None
    """None after all operations were tried."""
    following: list[int] = field(default_factory=list[int])
    """The numbers of the states after each operation."""


def check_every_sequence(
    scenario: Scenario,
    depth: int,
    start: tuple[Op, ...] = (),
    merge: bool = True,
    keep: bool = False,
) -> Result:
    """Compare a pool with its model after every sequence of up to ``depth`` operations.

    Each sequence begins after the operations of ``start``.  Raises Counterexample.  With ``keep``,
    the states that were reached stay in the result.
    """
    began, result = process_time(), Result(scenario.name, depth)
    world, model = World(scenario), initial_model(scenario)
    for op in start:
        world.compare(op, model)
    states = [_State(start, model)]
    numbers: dict[Hashable, int] = {canonical(world, model) if merge else start: 0}
    for state in states:  # the list grows: shorter sequences come before longer ones
        length = len(state.ops) - len(start) + 1
        for op, world, model in steps(scenario, state):
            result.tried += 1
            ops = (*state.ops, op)
            number = -1
            if length < depth or keep:
                key = canonical(world, model)
                if keep:
                    result.reached.add(key)
                if length < depth:
                    number = numbers.setdefault(key if merge else ops, len(states))
                    if number == len(states):
                        states.append(_State(ops, model.copy()))
            state.following.append(number)
            compare_state(scenario, ops, world, model)
        state.model = None  # a longer search would fill the memory
    result.states = len(states)
    result.sequences = count_sequences(states, depth)
    result.seconds = process_time() - began
    return result


def count_sequences(states: list[_State], depth: int) -> int:
    """Return the number of sequences of 1 to ``depth`` operations."""
    ways, total = {0: 1}, 0
    for _ in range(depth):
        after: dict[int, int] = {}
        for number, count in ways.items():
            for following in states[number].following:
                total += count
                after[following] = after.get(following, 0) + count
        ways = {number: count for number, count in after.items() if number >= 0}
    return total


def steps(scenario: Scenario, state: _State) -> Iterator[tuple[Op, World, Model]]:
    """Do each operation on a new pool in this state.  Raise Counterexample."""
    assert state.model is not None
    for op in scenario.ops:
        if op[0] == "release" and not state.model.held:
            continue
        world, model = World(scenario), state.model.copy()
        for earlier in state.ops:
            world.do(earlier)
        try:
            world.compare(op, model)
        except Exception as error:
            raise Counterexample(scenario, (*state.ops, op), error) from error
        yield op, world, model


def compare_state(scenario: Scenario, ops: tuple[Op, ...], world: World, model: Model) -> None:
    try:
        world.check_state(model.pool)
    except Exception as error:
        raise Counterexample(scenario, ops, error) from error
