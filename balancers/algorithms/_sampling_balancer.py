"""Defines a base class for balancers that sample members at random, in blocks."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from random import Random
from typing import TYPE_CHECKING, Any, Generic, cast

from balancers._internal.checks import checked_rng
from balancers._internal.plans import undrawn, uniforms
from balancers._internal.types import B, S
from balancers.algorithms._ahead import places_by_index
from balancers.algorithms._list_cursor import cursor_at, unread
from balancers.algorithms._weighted_sampler import WeightedSampler
from balancers.membership import Membership

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SamplingBalancer"]

_GONE = -1
"""A weight that no member has.  It marks a member that left, so that a block sampled with this
member is never resumed."""
_TRIES = 6
"""The number of samples that a plan tries, for each backend and each choice, before it leaves out
the backends that it has already."""
_SEEDS = 1 << 53


class SamplingBalancer(Membership[B], Generic[B, S]):
    """Samples members at random by weight.  A block of items is sampled in advance.

    The items are sampled in groups of ``group_size``.  When a weight changes, the block is
    suspended.  If all weights are restored before the next pick, the block is resumed.  So a change
    that is undone has no effect on the picks.

    A subclass defines :meth:`_make_item` and ``pick``.  ``pick`` takes items
    from ``self._block``.  When the block has no more items, ``pick`` calls :meth:`_next_block`.  If
    ``_in_tuples`` is True, the block consists of tuples, each with the items of one group.
    """

    keyed = False
    fractional = True
    _in_tuples = False  # a subclass may set it before it calls the constructor of this class

    def __init__(
        self, backends: Iterable[B] | Mapping[B, float] | None, rng: Random, group_size: int
    ) -> None:
        self._rng = checked_rng(rng)
        self._group_size = group_size
        self._sampler: WeightedSampler[S] = WeightedSampler(rng)
        self._indices: dict[B, int] = {}
        self._block: Iterator[Any] = iter(())
        self._suspended_block = self._block
        self._seed: tuple[list[Any], int] = [], 0  # of the plans in a block
        self._changed: dict[B, float] = {}  # the weights that the block was sampled with
        super().__init__(backends)

    @abstractmethod
    def _make_item(self, backend: B) -> S:
        """Return the item for a new member.  The samples consist of such items."""

    def _prepare_block(self) -> None:
        """Discard what was prepared for other weights.  Raises NoBackendAvailable."""
        if not self._open:
            raise self.refusal()
        if self._changed:
            self._changed.clear()
            self._sampler.weights_changed()

    def _next_block(self) -> Iterator[Any]:
        """Sample a new block and return it.  Raises NoBackendAvailable."""
        self._prepare_block()
        items = self._sampler.sample_block(self._group_size)
        self._block = iter(self._tuples(items) if self._in_tuples else items)
        return self._block

    def _tuples(self, items: list[S]) -> list[tuple[S, ...]]:
        """Return the items of each group as a tuple."""
        size = min(self._group_size, self._open)
        return list(zip(*[iter(items)] * size, strict=True))

    def _fill_ahead(self, row: "NDArray[np.intp]", places: Mapping[S, int]) -> None:
        """Fill an array with the positions of the next items of this block and of later ones.

        ``places`` are the positions of all items.  The state afterwards is as if ``pick`` had taken
        these items one by one.  If there are tuples, the length of the array must be a multiple of
        their size.  Raises NoBackendAvailable.
        """
        count, size = len(row), 1
        if self._in_tuples:
            size = max(1, min(self._group_size, self._open))
        entries: Iterable[Any] = islice(self._block, count // size)
        if self._in_tuples:
            entries = chain.from_iterable(entries)
        listed = [places[item] for item in entries]
        done = len(listed)
        row[:done] = listed
        by_index = places_by_index(self._indices.values())
        while done < count:
            self._prepare_block()
            block = self._sampler.sample_indices(self._group_size)
            used = min(len(block), count - done)
            row[done : done + used] = by_index[block[:used]]
            done += used
            if done == count:
                items = self._sampler.items_at(block)
                new = cast("list[Any]", self._tuples(items) if self._in_tuples else items)
                self._block = cursor_at(new, used // size)

    def _sample_avoiding(self, avoid: Iterable[B]) -> list[S]:
        """Return one group without the avoided backends.  Raises NoBackendAvailable."""
        excluded = [self._indices[backend] for backend in avoid if backend in self._indices]
        group = self._sampler.sample(self._group_size, excluded)
        if not group:
            raise self.refusal()
        return group

    def _further(
        self, n: int, first: B, avoid: Collection[B], choose: Callable[[Sequence[S]], B]
    ) -> list[B]:
        """Return up to ``n`` backends after the first one, each chosen without those before it.

        The groups to choose from are sampled as those of ``pick``, by numbers that depend on the
        random generator and on the next pick.  Nothing changes.
        """
        sampler, indices, found = self._sampler, self._indices, list[B]()
        taken, left = {indices[first]}, self._open - 1
        for backend in avoid and {*avoid, first}:
            if backend in indices and backend != first:
                taken.add(indices[backend])
                left -= self._weights[backend] > 0
        wanted = min(n, left)
        if wanted <= 0:
            return found
        numbers = uniforms(self._seed_of_plan(bool(avoid)))
        group, size, find = list[int](), min(self._group_size, left), sampler.find
        for share in islice(numbers, _TRIES * (1 + wanted) * self._group_size):
            index = find(share)
            if index in taken or index in group:
                continue
            group.append(index)
            if len(group) == size:
                found.append(choose(sampler.items_of(group)))
                if len(found) == wanted:
                    return found
                taken.add(indices[found[-1]])
                group.clear()
                size = min(self._group_size, left - len(found))
        with sampler.without(taken) as leave_out:
            while len(found) < wanted:
                size = min(self._group_size, left - len(found))
                group += sampler.sample_indices_with(numbers.__next__, size - len(group), group)
                found.append(choose(sampler.items_of(group)))
                leave_out(indices[found[-1]])
                group.clear()
        return found

    def _seed_of_plan(self, avoided: bool) -> int:
        """Return a number that depends on the random generator, and is different for each pick."""
        if avoided:
            with undrawn(self._rng):
                return int(self._rng.random() * _SEEDS)
        items, place = unread(self._block)
        if self._seed[0] is not items:
            with undrawn(self._rng):
                self._seed = items, int(self._rng.random() * _SEEDS)
        return self._seed[1] + place

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
        """Suspend the block at the first change.  Resume it when the last change is undone."""
        if not self._changed:
            self._suspended_block, self._block = self._block, iter(())
        if self._changed.get(backend) != after:
            self._changed.setdefault(backend, before)
            return
        del self._changed[backend]
        if not self._changed:
            self._block = self._suspended_block
