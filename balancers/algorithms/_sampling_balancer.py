"""A base class for balancers that sample members at random, in blocks."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Generic, TypeVar

from balancers._internal.checks import checked_rng
from balancers._internal.types import B
from balancers.algorithms._weighted_sampler import WeightedSampler
from balancers.membership import Membership

__all__ = ["SamplingBalancer"]

T = TypeVar("T")

_GONE = -1
"""A weight that no member has: a block sampled with a member that left is never resumed."""


class SamplingBalancer(Membership[B], Generic[B, T]):
    """Members in a :class:`WeightedSampler`, and a block of items that were sampled in advance.

    Items are sampled in groups of ``group_size``.  When weights change, the block is suspended; it
    is resumed if the weights are restored before the next pick.  So a change that is undone has no
    effect.

    A subclass defines :meth:`_make_item` and ``pick``.  ``pick`` takes items from ``self._block``
    and calls :meth:`_next_block` at its end.
    """

    keyed = False
    fractional = True

    def __init__(
        self, backends: Iterable[B] | Mapping[B, float], rng: Random, group_size: int
    ) -> None:
        self._rng = checked_rng(rng)
        self._group_size = group_size
        self._sampler: WeightedSampler[T] = WeightedSampler(rng)
        self._indices: dict[B, int] = {}
        self._block: Iterator[T] = iter(())
        self._suspended_block: Iterator[T] = self._block
        self._changed: dict[B, float] = {}  # for each change: the weight at the time of sampling
        super().__init__(backends)

    @abstractmethod
    def _make_item(self, backend: B) -> T:
        """Return the item that is sampled for a new member."""

    def _next_block(self) -> Iterator[T]:
        """Sample a new block and return it.  Raises NoBackendAvailable."""
        if not self._open:
            raise self.refusal()
        if self._changed:
            self._changed.clear()
            self._sampler.weights_changed()
        self._block = iter(self._sampler.sample_block(self._group_size))
        return self._block

    def _sample_avoiding(self, avoid: Iterable[B]) -> list[T]:
        """Return one group without the avoided backends.  Raises NoBackendAvailable."""
        excluded = [self._indices[backend] for backend in avoid if backend in self._indices]
        group = self._sampler.sample(self._group_size, excluded)
        if not group:
            raise self.refusal()
        return group

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if old is None:
            self._indices[backend] = self._sampler.insert(self._make_item(backend))
        index, before, after = self._indices[backend], old or 0, new or 0
        if before != after:
            self._sampler.set_weight(index, after)
            self._record_change(backend, before, after)
        if new is None:
            self._sampler.remove(index)
            del self._indices[backend]
            if backend in self._changed:
                self._changed[backend] = _GONE

    def _record_change(self, backend: B, before: float, after: float) -> None:
        """Suspend the block at the first change, and resume it when the last one is undone."""
        if not self._changed:
            self._suspended_block, self._block = self._block, iter(())
        if self._changed.get(backend) != after:
            self._changed.setdefault(backend, before)
            return
        del self._changed[backend]
        if not self._changed:
            self._block = self._suspended_block
