"""Describes what least connections needs of a hashed balancer."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from balancers._internal.types import B
from balancers.balancer import Key

__all__ = ["KeyOrder"]


class KeyOrder(Protocol[B]):
    """Lists the open backends in the order of preference of a key.

    Every :class:`balancers.hashing.HashedBalancer` does this.
    """

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member."""
        ...

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight."""
        ...

    def discard(self, backend: B) -> None:
        """Remove the backend."""
        ...

    def hash_key(self, key: Key | None) -> int:
        """Return the 64-bit hash of a key."""
        ...

    def succession(self, digest: int) -> Iterator[B]:
        """Yield the open backends in the order of preference of a 64-bit hash."""
        ...
