"""Right balancers of unusual shape: classes, state and limits that a check could stumble over."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np

from balancers import SUCCESS, NoBackendAvailable
from balancers.errors import InvalidSetting, MissingKey
from balancers.membership import Membership, checked_avoid
from tests.laws.odd import Odd, digest, eligible, key_octets, name_octets, right_weight

__all__ = ["ODD_SHAPES"]


class NothingLeft(NoBackendAvailable):
    """A refusal of another author."""

    def __init__(self, members: int) -> None:
        super().__init__("nothing left", {"nothing left": members})


class Locked:
    """Holds a lock, which no copy can contain, and a generator that goes round."""

    keyed = False
    fractional = False

    def __init__(self) -> None:
        self._lock = Lock()
        self._members: dict[Any, float] = {}
        self._served: list[Any] = []

    def __getstate__(self) -> Any:
        with self._lock:
            return (dict(self._members), list(self._served))

    def __setstate__(self, state: Any) -> None:
        self._lock = Lock()
        self._members, self._served = dict(state[0]), list(state[1])

    @property
    def weights(self) -> Any:
        with self._lock:
            return dict(self._members)

    def put(self, backend: Any, weight: float = 1) -> None:
        with self._lock:
            self._members[backend] = right_weight(weight)

    def discard(self, backend: Any) -> None:
        with self._lock:
            self._members.pop(backend, None)
            self._served = [b for b in self._served if b != backend]

    def _in_turn(self) -> Iterator[Any]:
        yield from (b for b in self._members if b not in self._served)
        yield from self._served

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        with self._lock:
            left = eligible(self._members, avoid)
            picked = next(b for b in self._in_turn() if b in left)
            self._served = [*(b for b in self._served if b != picked), picked]
            return picked

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        with self._lock:
            return

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        with self._lock:
            return


@dataclass
class AsData:
    """A dataclass, which is compared by value and has no hash."""

    weights: dict[Any, float] = field(default_factory=dict[Any, float])
    turns: dict[Any, int] = field(default_factory=dict[Any, int])
    number: int = 0
    keyed: bool = False
    fractional: bool = False

    def put(self, backend: Any, weight: float = 1) -> None:
        self.weights[backend] = right_weight(weight)
        if backend not in self.turns:
            self.number += 1
            self.turns[backend] = self.number

    def discard(self, backend: Any) -> None:
        self.weights.pop(backend, None)
        self.turns.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = min(eligible(self.weights, avoid), key=self.turns.__getitem__)
        self.number += 1
        self.turns[picked] = self.number
        return picked

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None: ...

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None: ...


class IsItsOwnDict(dict[Any, list[float]]):
    """A dict of counts itself, so it is false while it is empty."""

    keyed = False
    fractional = False

    @property
    def weights(self) -> Any:
        return MappingProxyType({backend: entry[0] for backend, entry in self.items()})

    def put(self, backend: Any, weight: float = 1) -> None:
        weight = right_weight(weight)
        last = max((entry[2] for entry in self.values()), default=0)
        self.setdefault(backend, [weight, 0, last + 1])[0] = weight

    def discard(self, backend: Any) -> None:
        self.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        avoid = checked_avoid(avoid)
        left = [b for b, entry in self.items() if entry[0] and b not in avoid]
        if not left:
            raise NothingLeft(len(self))
        picked = min(left, key=lambda b: self[b][1:])
        self[picked][2] = max(entry[2] for entry in self.values()) + 1
        return picked

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self:
            self[backend][1] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if backend in self and self[backend][1]:
            self[backend][1] -= 1


class NumpyDraws(Membership[Any]):
    """Weights and random numbers in numpy, from a generator that ``rng`` has seeded."""

    fractional = True

    def __init__(self, rng: Random) -> None:
        self._generator = np.random.default_rng(rng.getrandbits(64))
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        weights = np.array([self.weights[b] for b in left], dtype=np.float64)
        return left[int(self._generator.choice(len(left), p=weights / weights.sum()))]


class Tombstones:
    """Who leaves stays in the list as a stone until half of it is stones."""

    keyed = False
    fractional = False

    def __init__(self) -> None:
        self.entries: list[list[Any]] = []  # backend, weight or None

    @property
    def weights(self) -> Any:
        return dict(map(tuple, self._alive()))

    def _alive(self) -> list[list[Any]]:
        joined = [entry for entry in self.entries if entry[1] is not None]
        return [entry[:2] for entry in sorted(joined, key=lambda entry: entry[2])]

    def put(self, backend: Any, weight: float = 1) -> None:
        hash(backend)
        weight = right_weight(weight)
        for entry in self.entries:
            if entry[0] == backend and entry[1] is not None:
                entry[1] = weight
                return
        number = max((entry[2] for entry in self.entries), default=0) + 1
        self.entries.append([backend, weight, number])

    def discard(self, backend: Any) -> None:
        for entry in self.entries:
            if entry[0] == backend:
                entry[1] = None
        stones = sum(entry[1] is None for entry in self.entries)
        if 2 * stones > len(self.entries):
            self.entries = [entry for entry in self.entries if entry[1] is not None]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        place = next(p for p, e in enumerate(self.entries) if e[1] is not None and e[0] in left)
        entry = self.entries.pop(place)
        self.entries.append(entry)
        return entry[0]

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        return

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        return


class Stack(Membership[Any]):
    """Turns by place in a stack: not keyed, and only the last may leave."""

    def __init__(self) -> None:
        self._served: list[int] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            if backend != next(reversed(self.weights)):
                raise InvalidSetting("only the last may leave")
            self._served.pop()
        elif old is None:
            self._served.append(max(self._served, default=0))

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        places = {b: place for place, b in enumerate(self.weights)}
        picked = min(left, key=lambda b: self._served[places[b]])
        self._served[places[picked]] = max(self._served) + 1
        return picked


class Pair(Membership[Any]):
    """At most two members, and one bit that says which was last."""

    def __init__(self) -> None:
        self._last: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None and len(self.weights) == 2:
            raise InvalidSetting("a pair has two members")
        if new is None and self._last == [backend]:
            self._last = []

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        picked = next((b for b in left if [b] != self._last), left[0])
        self._last = [picked]
        return picked


class Lonely(Membership[Any]):
    """One member only."""

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None and self.weights:
            raise InvalidSetting("there is room for one")

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return eligible(self.weights, avoid)[0]


class NumberedKeys(Membership[Any]):
    """Keys are numbers of shards, and nothing else; the ranges are cut anew at each change."""

    keyed = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        if key is None:
            raise MissingKey("a shard is needed")
        if not isinstance(key, int):
            raise TypeError(f"a shard is a number, not {key!r}")
        left = sorted(eligible(self.weights, avoid), key=name_octets)
        return left[digest(key.to_bytes(16, "little", signed=True)) * len(left) >> 64]


class FewKeys(Membership[Any]):
    """Three tenants, each with its own order of preference."""

    keyed = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        return min(eligible(self.weights, avoid), key=lambda b: digest(name_octets(b), octets))


class LeastOfTwoWithHint(Membership[Any]):
    """Two random ones by weight, without replacement; the less busy for its weight is picked.

    A key is taken as a hint only, so the balancer is not keyed.
    """

    def __init__(self, rng: Random, hints: int) -> None:
        self._rng, self._hints = rng, hints
        self._busy: dict[Any, int] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            del self._busy[backend]
        elif old is None:
            self._busy[backend] = 0

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        if key is not None and self._hints:
            left.sort(key=lambda b: digest(name_octets(b), key_octets(key)))
            left = left[: self._hints]
        drawn = [b for _, b in sorted((self._rng.random(), n) for n in range(len(left)))]
        first, second = left[drawn[0]], left[drawn[-1]]
        if self._busy[second] < self._busy[first]:
            return second
        return first

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._busy:
            self._busy[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self._busy.get(backend):
            self._busy[backend] -= 1


def hinted(rng: Random) -> Any:
    return partial(LeastOfTwoWithHint, hints=2)(rng)


ODD_SHAPES = [
    Odd(Locked, "clients that are shared by threads", ("rotating",)),
    Odd(AsData, "configuration objects", ("rotating",)),
    Odd(IsItsOwnDict, "collections that are subclassed", ("rotating", "least_loaded")),
    Odd(NumpyDraws, "numpy's Generator", ("weighted", "random")),
    Odd(Tombstones, "log-structured lists", ("rotating",)),
    Odd(Stack, "stacks of replicas, as StatefulSets", ("rotating", "stacked")),
    Odd(Pair, "pairs of routers", ("rotating",), max_members=2),
    Odd(Lonely, "one server", ("rotating", "least_loaded"), max_members=1),
    Odd(NumberedKeys, "shards by number", ("keyed",), keys=range(-50, 5000)),
    Odd(FewKeys, "three tenants", ("keyed", "minimal_disruption"), keys=("a", "b", b"c")),
    Odd(hinted, "Envoy's least request, with a hint", ()),
]
