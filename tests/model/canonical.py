"""The state of a pool and of its model as one value that is equal for equal behaviour.

Two sequences of operations that lead to equal values need not both be continued:

* The value holds everything that the pool, its balancer, its gates and the leases store, so that
  the code can not behave differently afterwards, except for what is left out below.
* Times are given relative to the clock of the caller.  The code only compares times, and only adds
  durations to them and subtracts them.  The times here are small whole numbers, so that the sums
  are exact, and the same operations at another time of day give the same answers.
* Generations are left out.  The code only sorts by them, and the members are stored in this order.
* The numbers of requests, of failures and of refusals are left out.  The code only adds to them.
  The pool and the model are compared after each operation, so that a wrong sum is seen where it
  arises.  Caches are left out too.
* The model is part of the value, so that a pool is never continued with the model of another.

``test_merging`` checks all this by a run without merging.
"""

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from tests.model.world import Model, World

__all__ = ["canonical"]

_TIMES_ABOVE, _FOREVER = 500.0, 1e15
_LEFT_OUT = {
    "requests", "failures", "former_requests", "former_failures", "refusals",  # only added to
    "generation", "_generation",  # only sorted by
    "_reasons", "_counts", "_reason", "_full", "higher", "lower",  # caches, and links of ties
}  # fmt: skip
_PLAIN = {int, str, bool, type(None)}
_WHOLE = (FunctionType, BuiltinFunctionType, type)


def canonical(world: World, model: Model) -> bytes:
    """Return a digest of the state.  States with the same digest behave alike."""
    text = repr(_contents(world, model))
    return blake2b(text.encode(), digest_size=16).digest()


def _contents(world: World, model: Model) -> Any:
    walk = _Walk(world.clock)
    pool = walk.value(world.pool.__dict__)
    held = tuple(
        (walk.value(lease._member), walk.value(lease.acquired_at), lease.bound)
        for lease in world.held
    )
    ours = model.pool
    members = tuple(
        (name, m.weight, m.factors, m.unproven, m.in_flight, walk.value(m.until))
        for name, m in ours.members.items()
    )
    current = {name: member.serial for name, member in ours.members.items()}
    leases = tuple((n, current.get(n) == s, walk.value(at)) for n, s, at in model.held)
    gates = tuple(walk.value(gate.__dict__) for gate in ours.gates)
    return (pool, held, members, leases, gates, sorted(ours.ignored), walk.value(ours.now))


class _Walk:
    """Turns objects into tuples.  An object that was seen before becomes its number."""

    def __init__(self, clock: float) -> None:
        self.clock = clock
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []

    def value(self, value: Any) -> Any:
        kind: Any = value.__class__
        if kind is float:
            return ("time", value - self.clock) if _TIMES_ABOVE < value < _FOREVER else value
        if kind in _PLAIN:
            return value
        if issubclass(kind, _WHOLE):
            return value.__qualname__
        number = self.seen.get(id(value))
        if number is not None:
            return ("seen", number)
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)
        return self.contents(value, kind)

    def contents(self, value: Any, kind: Any) -> Any:
        each: Callable[[Any], Any] = self.value
        names: list[str] = [*getattr(value, "__dict__", ()), *slots_of(kind)]
        attributes = [each(getattr(value, n, None)) for n in names if n not in _LEFT_OUT]
        if issubclass(kind, dict):
            items = [(each(key), each(item)) for key, item in value.items() if key not in _LEFT_OUT]
            return (*items, *attributes)
        if issubclass(kind, list | tuple | deque):
            return (kind.__name__, *map(each, value))
        if issubclass(kind, set | frozenset):
            return sorted(map(each, value))
        if kind is MethodType:
            return ("method", value.__func__.__qualname__, each(value.__self__))
        return (kind.__name__, *attributes)


def slots_of(kind: type) -> list[str]:
    return [name for base in kind.__mro__ for name in base.__dict__.get("__slots__", ())]
