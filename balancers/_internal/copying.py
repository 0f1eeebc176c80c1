"""Makes deep copies that share the backends with the original."""

from abc import abstractmethod
from collections.abc import Iterable
from copy import copy, deepcopy
from typing import Any, Self

__all__ = ["SharesBackends"]


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
        for backend in self._known_backends():
            memo[id(backend)] = backend
        for flat in self._flat_lists():
            memo[id(flat)] = copy(flat)
        clone: Any = type(self).__new__(type(self))
        memo[id(self)] = clone
        state: Any = deepcopy(self.__getstate__(), memo)
        if hasattr(clone, "__setstate__"):
            clone.__setstate__(state)
        else:
            clone.__dict__.update(state)
        copied: Self = clone
        return copied
