"""Implements the power of two choices (Mitzenmacher 2001).

Two backends are sampled at random, and the less busy of them is picked.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from random import Random
from typing import Generic

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
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
    """Samples a few backends at random, and picks the one with the lowest load / weight.

    ``choices`` is the number of sampled backends.  They are all different.  Each is sampled by
    weight from the backends that are not sampled yet.  In a tie, the backend that was sampled first
    is picked.  This is fair, because the samples are random.  If there are only two backends, and
    ``choices`` is 2 or more, the one with the higher load / weight is never picked.

    By default, the load of a backend is its number of requests in flight, as counted by ``started``
    and ``finished``.  To use another measure, pass it as ``load``.

    The result is nearly as good as a comparison of all backends.  If the loads are out of date, the
    result is much better than such a comparison, because not all requests go to the backend that
    seems to be the least busy.

    >>> from random import Random
    >>> lb = PowerOfTwoChoices(["a", "b"], rng=Random(7))
    >>> lb.started("a")
    >>> {lb.pick() for _ in range(100)}
    {'b'}

    Cost: ``pick`` with two choices is O(1) amortised, and O(log n) soon after a change of weights.
    With more choices it is O(choices · log n).  With ``avoid`` it is
    O((choices + avoided) · log n).  ``started`` and ``finished`` are O(1).  A change of weight is
    O(log n).
    Raises InvalidSetting for ``choices`` below 1.  Raises TypeError unless ``rng`` is a
    ``random.Random``.
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
        if load is not None and not callable(getattr(load, "value", None)):
            raise TypeError(f"load must be a load, not {load!r}")
        self._load = load
        self._two_by_count = choices == 2 and load is None  # noqa: PLR2004 - the two in the name
        self._candidates: dict[B, _Candidate[B]] = {}
        super().__init__(backends, rng, group_size=choices)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Sample some backends, and return the least busy of them; O(1) amortised.

        Raises NoBackendAvailable.
        """
        if self._two_by_count and avoid is NO_BACKENDS:
            for first in self._block:
                for second in self._block:
                    busy = first.in_flight
                    if busy and second.in_flight * first.weight < busy * second.weight:
                        return second.backend
                    break
                return first.backend
        return self._choose(now, checked_avoid(avoid))

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Add one to the backend's number of requests in flight.

        If a ``load`` object was passed, its ``started`` is called too.  Nothing happens if the
        backend is not a member.
        """
        candidate = self._candidates.get(backend)
        if candidate is not None:
            candidate.in_flight += 1
            if self._load is not None:
                self._load.started(backend, now)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Subtract one from the backend's number of requests in flight.

        If a ``load`` object was passed, its ``finished`` is called too.  Nothing happens if the
        backend is not a member or has no request in flight.
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
