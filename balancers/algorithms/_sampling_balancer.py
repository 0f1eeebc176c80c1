"""Members that are drawn at random, some draws ahead."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Generic, TypeVar

from balancers._internal.types import B
from balancers.algorithms._weighted_sampler import Draws
from balancers.membership import Membership

__all__ = ["DrawingMembership"]

T = TypeVar("T")


class DrawingMembership(Membership[B], Generic[B, T]):
    """Members in :class:`Draws`, and a lap of items drawn ahead in groups of ``group_size``.

    A change of weights that is taken back before the next pick leaves no trace: the lap is only put
    aside.  A subclass defines :meth:`_item` and ``pick``, which walks ``self._lap`` and calls
    :meth:`_next_lap` at its end.
    """

    keyed = False
    fractional = True

    def __init__(
        self, backends: Iterable[B] | Mapping[B, float], rng: Random, group_size: int
    ) -> None:
        if not isinstance(rng, Random):
            raise TypeError(f"rng must be a random.Random, not {rng!r}")
        self._rng = rng
        self._group_size = group_size
        self._draws: Draws[T] = Draws(rng)
        self._places: dict[B, int] = {}
        self._lap: Iterator[T] = iter(())
        self._aside: Iterator[T] = self._lap
        self._changed: dict[B, float] = {}  # since the lap was drawn: the weights it was drawn by
        super().__init__(backends)

    @abstractmethod
    def _item(self, backend: B) -> T:
        """Make what is drawn for a new member."""

    def _next_lap(self) -> Iterator[T]:
        """Draw a block; raises NoBackendAvailable."""
        if not self._open:
            raise self.refusal()
        if self._changed:
            self._changed.clear()
            self._draws.disturb()
        self._lap = iter(self._draws.groups(self._group_size))
        return self._lap

    def _group_but(self, avoid: Iterable[B]) -> list[T]:
        """Draw one group without the avoided; raises NoBackendAvailable."""
        shut = [self._places[backend] for backend in avoid if backend in self._places]
        group = self._draws.group(self._group_size, shut)
        if not group:
            raise self.refusal()
        return group

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if old is None:
            self._places[backend] = self._draws.insert(self._item(backend))
        place, before, after = self._places[backend], old or 0, new or 0
        if before != after:
            self._draws.weigh(place, after)
            self._note(backend, before, after)
        if new is None:
            self._draws.remove(place)
            del self._places[backend]
            if backend in self._changed:
                self._changed[backend] = -1

    def _note(self, backend: B, before: float, after: float) -> None:
        """Put the lap aside at the first change, and back when the last is undone."""
        if not self._changed:
            self._aside, self._lap = self._lap, iter(())
        if self._changed.get(backend) != after:
            self._changed.setdefault(backend, before)
            return
        del self._changed[backend]
        if not self._changed:
            self._lap = self._aside
