"""Measures what a sequence of changes moves, step by step and in all."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import UnknownBackend
from balancers.quality._owners import AnyKeyed, KeyedBalancer, copy_of, is_keyed, picks_many
from balancers.quality._table import table
from balancers.quality.remap import Remap, remap

__all__ = ["Rollout", "RolloutStep", "rollout"]


class RolloutStep(NamedTuple, Generic[B]):
    """One change of a rollout, and what it moves.

    >>> from balancers import HashRing
    >>> from balancers.quality import rollout
    >>> step = rollout(HashRing(["a", "b"]), [{"c": 1}], keys=range(1000)).steps[0]
    >>> step.change, step.remap.members
    ({'c': 1}, ('a', 'b', 'c'))
    """

    change: Mapping[B, float | None]
    """The weights that were set.  None stands for a backend that leaves."""
    remap: Remap[B]
    """What the change moves."""


@dataclass(frozen=True, repr=False, eq=False)
class Rollout(Generic[B]):
    """Describes what a sequence of changes moves.  ``print`` shows a table.

    >>> from balancers import HashRing
    >>> from balancers.quality import rollout
    >>> ring = HashRing(["a", "b", "c"])
    >>> print(rollout(ring, [{"d": 1}, {"a": None}], keys=range(10_000)))
    step       moved  fraction  unavoidable       change
    1           2447     0.245         0.25     {'d': 1}
    2           2641     0.264         0.25  {'a': None}
    all steps   5088     0.509          0.5
    direct      5088     0.509        0.333
    """

    steps: tuple[RolloutStep[B], ...]
    """Each change, and what it moves."""
    direct: Remap[B]
    """What one change from the members before the first step to those after the last moves."""

    @property
    def hashes(self) -> int:
        """The number of hashes."""
        return self.direct.hashes

    @property
    def moved(self) -> int:
        """The number of moves in all steps.  A hash that moves in two steps counts twice."""
        return sum(step.remap.moved for step in self.steps)

    @property
    def fraction(self) -> float:
        """``moved`` divided by the number of hashes.  It may be above 1."""
        return self.moved / self.hashes if self.hashes else 0.0

    @property
    def detour(self) -> float:
        """The moves that one direct change saves: ``fraction`` minus that of ``direct``."""
        return self.fraction - self.direct.fraction

    def __str__(self) -> str:
        rows = [
            (str(number), each.moved, each.fraction, each.unavoidable, shown(dict(change)))
            for number, (change, each) in enumerate(self.steps, 1)
        ]
        least = sum(step.remap.unavoidable for step in self.steps)
        rows.append(("all steps", self.moved, self.fraction, least, ""))
        rows.append(
            ("direct", self.direct.moved, self.direct.fraction, self.direct.unavoidable, "")
        )
        return table(("step", "moved", "fraction", "unavoidable", "change"), rows)

    def __repr__(self) -> str:
        return (
            f"<Rollout: {len(self.steps)} steps, {self.moved} moves of {self.hashes} hashes, "
            f"{self.direct.moved} if direct>"
        )


class _Changeable(KeyedBalancer[B], Protocol[B]):
    """A balancer whose members can be changed."""

    def put(self, backend: B, weight: float = 1) -> None: ...

    def discard(self, backend: B) -> None: ...


def rollout(
    balancer: AnyKeyed[B] | Callable[[], AnyKeyed[B]],
    changes: Iterable[Mapping[B, float | None]],
    hashes: NDArray[np.uint64] | None = None,
    *,
    keys: Iterable[Key] | None = None,
) -> Rollout[B]:
    """Return what a sequence of changes of members and weights moves.

    ``balancer`` is a keyed balancer, or a function without arguments that returns one.  It is
    copied and not changed.  Each change is a mapping of backends to weights, and is applied in its
    order: a new backend joins, a member gets the weight, and a member with None leaves.  Backends
    that a change does not contain stay as they are.  ``hashes`` is an array ``uint64[n]``.  Pass
    ``keys`` instead to have them hashed by the balancer, or if it has no method ``pick_many``.

    >>> from balancers import Maglev
    >>> lb = Maglev(["a", "b", "c", "d"])
    >>> slowly = rollout(lb, [{"d": 0.5}, {"d": 0.1}, {"d": None}], keys=range(10_000))
    >>> len(slowly.steps), slowly.moved > slowly.direct.moved, len(lb.weights)
    (3, True, 4)

    Cost: two look-ups of all hashes per step.
    Raises UnknownBackend for None for a backend that is not a member.  Raises TypeError, InvalidKey
    and NoBackendAvailable as ``pick_many`` does, and what ``put`` and ``discard`` raise.
    """
    made: Any = cast("Callable[[], Any]", balancer)() if _is_factory(balancer) else balancer
    if not is_keyed(made):
        raise TypeError(
            f"balancer must be a keyed balancer or a function that returns one, not {shown(made)}"
        )
    first: _Changeable[B] = copy_of(made)
    if keys is not None and hashes is None and picks_many(first):
        hashes, keys = first.hash_many(keys), None
    elif isinstance(keys, Iterator):
        keys = list(keys)  # they are hashed at each step
    steps: list[RolloutStep[B]] = []
    last = first
    for change in _checked(changes):
        following = copy_of(last)
        for backend, weight in change.items():
            if weight is not None:
                following.put(backend, weight)
            elif backend in following.weights:
                following.discard(backend)
            else:
                raise UnknownBackend(backend)
        steps.append(RolloutStep(change, remap(last, following, hashes, keys=keys)))
        last = following
    return Rollout(tuple(steps), remap(first, last, hashes, keys=keys))


def _is_factory(balancer: object) -> bool:
    return callable(balancer) and not is_keyed(balancer)


def _checked(changes: Iterable[Mapping[B, float | None]]) -> list[dict[B, float | None]]:
    """Return copies of all changes.  Raise TypeError unless they are mappings."""
    given: object = changes
    if isinstance(given, Mapping | str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"changes must be a sequence of mappings, not {shown(changes)}")
    listed = list(changes)
    for change in listed:
        if not isinstance(cast("object", change), Mapping):
            raise TypeError(
                f"a change must be a mapping of backends to weights, not {shown(change)}"
            )
    return [dict(change) for change in listed]
