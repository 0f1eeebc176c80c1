"""Makes deep copies that share the backends with the original."""

from abc import abstractmethod
from collections.abc import Iterable
from copy import copy, deepcopy
from random import Random
from typing import Any, Self, TypeVar, cast

__all__ = ["SharesBackends", "copy_of_slots", "remember", "share"]

S = TypeVar("S")


def remember(memo: dict[int, Any], original: object, copied: object) -> None:
    """Make ``deepcopy`` with this memo return ``copied`` as the copy of ``original``."""
    memo[id(original)] = copied


def share(memo: dict[int, Any], objects: Iterable[object]) -> None:
    """Make ``deepcopy`` with this memo return these objects themselves."""
    for each in objects:
        memo[id(each)] = each


def copy_of_slots(original: S) -> S:
    """Return what ``copy`` returns for an object whose class defines all its attributes as slots.

    This takes a quarter of the time, and a gate has an object for each backend.
    """
    kind: Any = type(original)
    clone: S = object.__new__(kind)
    for name in kind.__slots__:
        setattr(clone, name, getattr(original, name))
    return clone


def _copy_generators(state: Any, memo: dict[int, Any]) -> None:
    """Copy the generators of random numbers among attributes.

    ``deepcopy`` copies the 625 numbers of each one by one, which takes more than ten times as long.
    """
    attributes = cast("dict[str, Any]", state) if isinstance(state, dict) else {}
    for value in attributes.values():
        if type(value) is Random and id(value) not in memo:
            clone = Random(0)
            clone.setstate(value.getstate())
            remember(memo, value, clone)


class SharesBackends:
    """A mixin for deep copies.  A copy shares the backends with the original.

    All other state is copied.  The backends are objects of the caller, so they are not part of the
    state.
    """

    @abstractmethod
    def _known_backends(self) -> Iterable[object]:
        """Return every backend that this object refers to."""

    def _flat_lists(self) -> Iterable[list[Any]]:
        """Return long lists of backends or numbers.  To copy their elements would take long."""
        return ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        share(memo, self._known_backends())
        for flat in self._flat_lists():
            remember(memo, flat, copy(flat))
        clone: Any = type(self).__new__(type(self))
        remember(memo, self, clone)
        state: Any = self.__getstate__()
        _copy_generators(state, memo)
        state = deepcopy(state, memo)
        if hasattr(clone, "__setstate__"):
            clone.__setstate__(state)
        else:
            clone.__dict__.update(state)
        copied: Self = clone
        return copied
