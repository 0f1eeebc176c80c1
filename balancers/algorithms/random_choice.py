"""Implements random choice: picks backends at random, by weight."""

from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.types import B
from balancers.algorithms._ahead import new_row
from balancers.algorithms._sampling_balancer import SamplingBalancer
from balancers.balancer import Key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RandomChoice"]


class RandomChoice(SamplingBalancer[B, B]):
    """Picks backends at random.  The probability of each backend is proportional to its weight.

    Each pick is independent of the others.  Blocks of picks are sampled in advance, with random
    numbers from ``rng``.  The same seed and the same sequence of calls give the same picks.  With
    ``avoid``, the other backends are sampled by weight.  There are no ties.

    >>> from random import Random
    >>> lb = RandomChoice({"a": 3, "b": 1}, rng=Random(7))
    >>> 700 < sum(lb.pick() == "a" for _ in range(1000)) < 800
    True

    Cost: ``pick`` is O(1) amortised, and O(log n) soon after a change of weights.  With ``avoid``
    it is O(avoided · log n).  A change of weight is O(log n).
    Raises TypeError unless ``rng`` is a ``random.Random``.
    """

    def __init__(
        self, backends: Iterable[B] | Mapping[B, float] | None = None, *, rng: Random
    ) -> None:
        super().__init__(backends, rng, group_size=1)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a random backend; O(1) amortised.  Raises NoBackendAvailable."""
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
            if avoid:
                return self._sample_avoiding(avoid)[0]
        backend: B
        for backend in self._block:
            return backend
        backend = next(self._next_block())
        return backend

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return ``n`` different backends, each one sampled by weight from those that are left.

        This takes one turn: the first backend is that of :meth:`pick`, and the further ones change
        nothing.  If fewer backends can be picked, all of them are returned.  The cost is
        O(n) expected if n is much less than the number of members, and O(n · log members) soon
        after a change of weights.
        Raises InvalidSetting unless ``n`` is an int of 1 or more, NoBackendAvailable.

        >>> from random import Random
        >>> lb = RandomChoice({"a": 3, "b": 1, "c": 0}, rng=Random(7))
        >>> sorted(lb.plan(3))
        ['a', 'b']
        """
        if type(n) is not int or n < 1:
            at_least(1, n=n)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        first = self.pick(key, now, avoid)
        return [first, *self._further(n - 1, first, avoid, itemgetter(0))]

    def picks_ahead(self, count: int) -> "NDArray[np.intp]":
        """Return the positions of the next ``count`` picks; O(n + count), vectorised.

        The result is an array ``intp[count]`` of positions in the order of ``weights``: those of
        the next ``count`` calls of :meth:`pick`.  The state afterwards is as after these calls.
        Raises NoBackendAvailable if ``count`` is positive.  Raises InvalidSetting unless ``count``
        is an int from 0 to 2³².

        >>> from random import Random
        >>> lb = RandomChoice({"a": 1, "b": 0, "c": 1}, rng=Random(1))
        >>> sorted(set(lb.picks_ahead(100).tolist()))
        [0, 2]
        """
        row = new_row(count)
        self._fill_ahead(row, {backend: place for place, backend in enumerate(self._weights)})
        return row

    def _make_item(self, backend: B) -> B:
        return backend
