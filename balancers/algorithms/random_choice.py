"""Random choice: no state to share, no order to fall into."""

from collections.abc import Collection, Iterable, Mapping
from random import Random

from balancers._internal.checks import checked_avoid
from balancers._internal.types import B
from balancers.algorithms._sampling_balancer import DrawingMembership
from balancers.balancer import Key

__all__ = ["RandomChoice"]


class RandomChoice(DrawingMembership[B, B]):
    """Each with a probability proportional to its weight, whatever came before.

    Draws come from ``rng``, some ahead of use, in blocks: the same seed and the same history of
    calls give the same picks.  ``avoid`` draws among the rest, by weight.  There are no ties.

    >>> from random import Random
    >>> lb = RandomChoice({"a": 3, "b": 1}, rng=Random(7))
    >>> 700 < sum(lb.pick() == "a" for _ in range(1000)) < 800
    True

    Cost: ``pick`` O(1) amortised, O(log n) soon after a change or with ``avoid`` (times the
    avoided); a new weight O(log n).
    Raises TypeError unless ``rng`` is a ``random.Random``.
    """

    def __init__(self, backends: Iterable[B] | Mapping[B, float] = (), *, rng: Random) -> None:
        super().__init__(backends, rng, group_size=1)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Draw one; O(1) amortised.  Raises NoBackendAvailable."""
        if avoid:
            return self._group_but(checked_avoid(avoid))[0]
        for backend in self._lap:
            return backend
        return next(self._next_lap())

    def _item(self, backend: B) -> B:
        return backend
