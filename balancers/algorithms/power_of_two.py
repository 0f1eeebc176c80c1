"""The power of two choices: draw two, take the less busy (Mitzenmacher 2001)."""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from random import Random
from typing import Generic

from balancers._internal.checks import at_least, checked_avoid
from balancers._internal.types import B
from balancers.algorithms._sampling_balancer import DrawingMembership
from balancers.balancer import Key
from balancers.load import Load
from balancers.outcome import SUCCESS, Outcome

__all__ = ["PowerOfTwoChoices"]


class _Candidate(Generic[B]):
    __slots__ = ("backend", "in_flight", "weight")

    def __init__(self, backend: B) -> None:
        self.backend = backend
        self.in_flight = 0
        self.weight: float = 0


class PowerOfTwoChoices(DrawingMembership[B, _Candidate[B]]):
    """Of ``choices`` different backends drawn by weight, the one with the lowest load / weight.

    Each next one is drawn by weight among the rest, so of two backends the busier is never taken.
    A tie goes to the first drawn, which is fair, since the draw is.  The load is the requests in
    flight, counted from ``started`` and ``finished``, unless another ``load`` is given.  Nearly as
    good as knowing them all, and much better where loads are stale, since nobody stampedes.

    >>> from random import Random
    >>> lb = PowerOfTwoChoices(["a", "b"], rng=Random(7))
    >>> lb.started("a")
    >>> {lb.pick() for _ in range(100)}
    {'b'}

    Cost: for two choices ``pick`` O(1) amortised, O(log n) soon after a change; for more of them
    O(choices · log n), as with ``avoid``; ``started`` and ``finished`` O(1); a new weight O(log n).
    Raises InvalidSetting for choices below 1, TypeError unless ``rng`` is a ``random.Random``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        rng: Random,
        choices: int = 2,
        load: Load[B] | None = None,
    ) -> None:
        at_least(1, choices=choices)
        self._load = load
        self._plain = choices == 2 and load is None  # noqa: PLR2004 - the two of the name
        self._candidates: dict[B, _Candidate[B]] = {}
        super().__init__(backends, rng, group_size=choices)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Draw some and give the least busy; O(1) amortised.  Raises NoBackendAvailable."""
        if self._plain and not avoid:
            for first in self._lap:
                for second in self._lap:
                    busy = first.in_flight
                    if busy and second.in_flight * first.weight < busy * second.weight:
                        return second.backend
                    break
                return first.backend
        return self._choose(now, checked_avoid(avoid))

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one more, and tell the load; a stranger is ignored."""
        candidate = self._candidates.get(backend)
        if candidate is not None:
            candidate.in_flight += 1
            if self._load is not None:
                self._load.started(backend, now)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less, and tell the load; a stranger, or one more than began, is ignored."""
        candidate = self._candidates.get(backend)
        if candidate is not None and candidate.in_flight:
            candidate.in_flight -= 1
            if self._load is not None:
                self._load.finished(backend, outcome, now)

    def _choose(self, now: float, avoid: Collection[B]) -> B:
        if avoid:
            group = self._group_but(avoid)
        else:
            size = min(self._group_size, self._open)
            group = list(islice(self._lap, size)) or list(islice(self._next_lap(), size))
        best, least = group[0], self._value(group[0], now)
        for other in group[1:]:
            value = self._value(other, now)
            if value * best.weight < least * other.weight:
                best, least = other, value
        return best.backend

    def _value(self, candidate: _Candidate[B], now: float) -> float:
        if self._load is None:
            return candidate.in_flight
        return self._load.value(candidate.backend, now)

    def _item(self, backend: B) -> _Candidate[B]:
        candidate = self._candidates[backend] = _Candidate(backend)
        return candidate

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if new is not None:
            self._candidates[backend].weight = new
            return
        del self._candidates[backend]
        if self._load is not None:
            self._load.removed(backend)
