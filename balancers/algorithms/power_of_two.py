"""Implements the power of two choices (Mitzenmacher 2001).

Two backends are sampled at random, and the less busy of them is picked.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.loads import checked_load
from balancers._internal.taken import take
from balancers._internal.types import B
from balancers.algorithms._ahead import new_row
from balancers.algorithms._candidate import BELOW, Candidate
from balancers.algorithms._load_user import LoadUser
from balancers.algorithms._sampling_balancer import SamplingBalancer
from balancers.balancer import Key
from balancers.load import Load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PowerOfTwoChoices"]


class PowerOfTwoChoices(LoadUser[B], SamplingBalancer[B, Candidate[B]]):
    """Samples a few backends at random, and picks the one with the lowest load / weight.

    ``choices`` is the number of sampled backends.  They are all different.  Each is sampled by
    weight from the backends that are not sampled yet.  In a tie, the backend that was sampled first
    is picked.  This is fair, because the samples are random.  If there are only two backends, and
    ``choices`` is 2 or more, the one with the higher load / weight is never picked.

    By default, the load of a backend is its number of requests in flight, as counted by ``started``
    and ``finished``.  To use another measure, pass it as ``load``.

    A float weight has the value of its decimal text, and requests in flight per weight are compared
    exactly: 30 requests for weight 1 and 21 for weight 0.7 are a tie.  The same is true for the
    values of ``load`` if they are ints, also those of NumPy, or Fractions.  If they are floats, two
    values per weight that differ by less than one part in 10 ** 12 are a tie, because such a
    difference can be a rounding error.  ``pick`` raises TypeError for any other value, for example
    a Decimal.

    The result is nearly as good as a comparison of all backends.  If the loads are out of date, the
    result is much better than such a comparison, because not all requests go to the backend that
    seems to be the least busy.

    >>> from random import Random
    >>> lb = PowerOfTwoChoices(["a", "b"], rng=Random(7))
    >>> lb.started("a")
    >>> {lb.pick() for _ in range(100)}
    {'b'}

    Cost: ``pick`` with two choices is O(1) amortised, and O(log n) soon after a change of weights.
    With more choices it is O(choices · (choices + log n)), of which all but O(choices) is
    vectorised.  With ``avoid`` it is O((choices + avoided) · log n).  ``started`` and ``finished``
    are O(1).  A change of weight is O(log n).
    Raises InvalidSetting for ``choices`` below 1.  Raises TypeError unless ``rng`` is a
    ``random.Random``, and for a ``load`` that is not a load.  Raises AlreadyInUse for a ``load`` of
    another balancer.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        rng: Random,
        choices: int = 2,
        load: Load[B] | None = None,
    ) -> None:
        at_least(1, choices=choices)
        self._load = None if load is None else checked_load(load)
        self._two = choices == 2  # noqa: PLR2004 - the two in the name
        self._in_tuples = not self._two
        self._two_by_count = self._two and load is None
        self._candidates: dict[B, Candidate[B]] = {}
        super().__init__(backends, rng, group_size=choices)
        if load is not None:
            take(load)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Sample some backends, and return the least busy of them; O(1) amortised.

        Raises NoBackendAvailable.  Raises TypeError if a value of ``load`` is not an int, a float
        or a Fraction.
        """
        first: Candidate[B]
        second: Candidate[B]
        if avoid is not NO_BACKENDS:
            return self._choose(now, checked_avoid(avoid))
        if self._two_by_count:
            for first in self._block:
                for second in self._block:
                    busy = first.busy_steps
                    if busy and second.busy_steps * first.units < busy * second.units:
                        return second.backend
                    break
                return first.backend
        elif self._two and self._open > 1:
            for first in self._block:
                return self._less_loaded(self._load, first, next(self._block), now)
        return self._choose(now, avoid)

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return ``n`` different backends, in the order in which retries would find them.

        This takes one turn: the first backend is that of :meth:`pick`.  Each further one is the
        least loaded of ``choices`` backends that are sampled from those that are left, and changes
        nothing.  If fewer backends can be picked, all of them are returned.  The cost is
        O(n · choices) expected if n is much less than the number of members, and
        O(n · choices · log members) soon after a change of weights.
        Raises InvalidSetting unless ``n`` is an int of 1 or more, NoBackendAvailable.

        >>> from random import Random
        >>> lb = PowerOfTwoChoices(["a", "b"], rng=Random(7))
        >>> lb.started("a")
        >>> lb.plan(3)
        ['b', 'a']
        """
        if type(n) is not int or n < 1:
            at_least(1, n=n)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        first = self.pick(key, now, avoid)
        return [first, *self._further(n - 1, first, avoid, partial(self._least, now=now))]

    @property
    def choices(self) -> int:
        """The number of backends that are sampled for a pick."""
        return self._group_size

    @property
    def by_count(self) -> bool:
        """Whether the requests in flight are compared, because no ``load`` was passed."""
        return self._load is None

    def samples_ahead(self, count: int) -> "NDArray[np.intp]":
        """Return the samples of the next ``count`` picks; O(n + count · choices), vectorised.

        The result is an array ``intp[count, k]`` of positions in the order of ``weights``.  k is
        ``choices``, or the number of open backends if this is less.  The next ``count`` calls of
        :meth:`pick` would compare these backends, in this order.  The samples do not depend on
        loads, so a simulation can compare the loads itself.  The state afterwards is as after these
        calls.
        Raises NoBackendAvailable if ``count`` is positive.  Raises InvalidSetting unless ``count``
        is an int from 0 to 2³².

        >>> from random import Random
        >>> lb = PowerOfTwoChoices(["a", "b"], rng=Random(1))
        >>> pairs = lb.samples_ahead(100)
        >>> pairs.shape, sorted(set(map(tuple, pairs.tolist())))
        ((100, 2), [(0, 1), (1, 0)])
        """
        row = new_row(count)
        places = {self._candidates[backend]: place for place, backend in enumerate(self._weights)}
        size = min(self._group_size, self._open)
        if size > 1 or (size and not self._two) or not count:
            row = row.repeat(size)
            self._fill_ahead(row, places)
        else:
            for number in range(count):
                row[number] = places[self._candidates[self.pick()]]
        return row.reshape(count, size)

    def _choose(self, now: float, avoid: Collection[B]) -> B:
        group: Sequence[Candidate[B]]
        if avoid:
            return self._least(self._sample_avoiding(avoid), now)
        if self._two:
            size = min(2, self._open)
            group = list(islice(self._block, size)) or list(islice(self._next_block(), size))
            return self._least(group, now)
        for group in self._block:
            return self._least(group, now)
        return self._least(next(self._next_block()), now)

    def _least(self, group: Sequence[Candidate[B]], now: float) -> B:
        """Return the backend with the lowest load per weight; O(group)."""
        best = group[0]
        if self._load is None:
            for other in group:
                if other.busy_steps * best.units < best.busy_steps * other.units:
                    best = other
            return best.backend
        least = self._checked(self._load.value(best.backend, now))
        for other in group[1:]:
            load = self._checked(self._load.value(other.backend, now))
            if other.is_less_loaded(load, best, least):
                best, least = other, load
        return best.backend

    def _less_loaded(self, load: Any, first: Candidate[B], second: Candidate[B], now: float) -> B:
        """Return the same as :meth:`_least` for a pair and a ``load``, but faster."""
        value, other = load.value(first.backend, now), load.value(second.backend, now)
        if type(value) is float and type(other) is float:
            is_less = other * first.weight < value * second.weight * BELOW
        elif type(value) is int and type(other) is int:
            is_less = other * second.step * first.units < value * first.step * second.units
        else:
            value, other = self._checked(value), self._checked(other)
            is_less = second.is_less_loaded(other, first, value)
        return second.backend if is_less else first.backend

    def _make_item(self, backend: B) -> Candidate[B]:
        candidate = self._candidates[backend] = Candidate(backend)
        return candidate

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if new is not None:
            self._candidates[backend].set_weight(new)
            return
        del self._candidates[backend]
        if self._load is not None:
            self._load.removed(backend)
