"""How the objects of this package are copied."""

from abc import abstractmethod
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Self

__all__ = ["SharesBackends"]


class SharesBackends:
    """Deep copies share the backends, which are the caller's and no state; all else is copied."""

    @abstractmethod
    def _known_backends(self) -> Iterable[object]:
        """Give every backend this object knows."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        for backend in self._known_backends():
            memo[id(backend)] = backend
        twin: Any = type(self).__new__(type(self))
        memo[id(self)] = twin
        state: Any = deepcopy(self.__getstate__(), memo)
        if hasattr(twin, "__setstate__"):
            twin.__setstate__(state)
        else:
            twin.__dict__.update(state)
        copied: Self = twin
        return copied
