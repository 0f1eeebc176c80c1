"""The power of two choices: sample two, pick the less busy one (Mitzenmacher 2001)."""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from random import Random
from typing import Generic

from balancers._internal.checks import at_least, checked_avoid
from balancers._internal.types import B
from balancers.algorithms._sampling_balancer import SamplingBalancer
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


class PowerOfTwoChoices(SamplingBalancer[B, _Candidate[B]]):
    """Picks the backend with the lowest load / weight of ``choices`` that are sampled by weight.

    The sampled backends are different: each is sampled by weight among those that are left.  So of
    two backends the busier one is never picked.  A tie goes to the backend sampled first; this is
    fair because the sampling is.  The load is the number of requests in flight, counted by
    ``started`` and ``finished``, unless another ``load`` is passed.

    The result is nearly as good as comparing all backends.  It is much better when loads are
    stale, because requests do not all go to the one backend that looks least busy.

    >>> from random import Random
    >>> lb = PowerOfTwoChoices(["a", "b"], rng=Random(7))
    >>> lb.started("a")
    >>> {lb.pick() for _ in range(100)}
    {'b'}

    Cost: ``pick`` with two choices O(1) amortised, O(log n) soon after a change of weights; with
    more choices O(choices · log n); with ``avoid`` O((choices + avoided) · log n).  ``started`` and
    ``finished`` O(1); a change of weight O(log n).
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
        self._two_by_count = choices == 2 and load is None  # noqa: PLR2004 - the two in the name
        self._candidates: dict[B, _Candidate[B]] = {}
        super().__init__(backends, rng, group_size=choices)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Sample and return the least busy; O(1) amortised.  Raises NoBackendAvailable."""
        if self._two_by_count and not avoid:
            for first in self._block:
                for second in self._block:
                    busy = first.in_flight
                    if busy and second.in_flight * first.weight < busy * second.weight:
                        return second.backend
                    break
                return first.backend
        return self._choose(now, checked_avoid(avoid))

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one request more, and inform the load.  Ignored if the backend is not a member."""
        candidate = self._candidates.get(backend)
        if candidate is not None:
            candidate.in_flight += 1
            if self._load is not None:
                self._load.started(backend, now)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one request less, and inform the load.

        Ignored if the backend is not a member or has no request in flight.
        """
        candidate = self._candidates.get(backend)
        if candidate is not None and candidate.in_flight:
            candidate.in_flight -= 1
            if self._load is not None:
                self._load.finished(backend, outcome, now)

    def _choose(self, now: float, avoid: Collection[B]) -> B:
        if avoid:
            group = self._sample_avoiding(avoid)
        else:
            size = min(self._group_size, self._open)
            group = list(islice(self._block, size)) or list(islice(self._next_block(), size))
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

    def _make_item(self, backend: B) -> _Candidate[B]:
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
