"""Presents the members of a pool as a set."""

from collections.abc import Iterable, Iterator, KeysView, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from balancers._internal.types import B

__all__ = ["Backends"]


class Backends(AbstractSet[B]):
    """A read-only view of the backends as a set, in the order in which they joined.

    The view always shows the current members.  A set operation returns an ordinary set.
    """

    __slots__ = ("_keys",)

    def __init__(self, members: Mapping[B, object]) -> None:
        self._keys: KeysView[B] = members.keys()

    def __contains__(self, backend: object) -> bool:
        return backend in self._keys

    def __iter__(self) -> Iterator[B]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[B]:
        keys: Any = self._keys  # the keys of a dict can be reversed
        return iter(reversed(keys))

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def _from_iterable(cls, it: Iterable[B]) -> set[B]:  # type: ignore[override]  # set operations
        return set(it)

    def __repr__(self) -> str:
        return f"<Backends: {list(self._keys)!r}>"
