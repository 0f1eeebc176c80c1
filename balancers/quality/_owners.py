"""Finds the owners of many hashes: in a keyed balancer, or in a sequence of owners."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from copy import deepcopy
from typing import Any, Generic, Protocol, TypeVar, cast, get_origin

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers._internal.copying import share
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidKey, InvalidPick, InvalidSetting
from balancers.hashing import CHUNK, Anchor, HashedBalancer, Jump, Memento, MultiProbe

__all__ = [
    "KeyedBalancer",
    "Owned",
    "Owners",
    "block_length",
    "factorised",
    "is_keyed",
]

Balanced = TypeVar("Balanced")

_BLOCK = 1 << 20
"""The hashes per call of ``pick_many`` of a balancer that is no :class:`HashedBalancer`."""
_HASHES_PER_MEMBER = 4
"""With this number of hashes in a block, the cost per member of counting them is small."""
_KINDS = "iuUSO"
"""The kinds of arrays of owners: ints, text, bytes and objects."""
_ALL_OR_NOTHING = (Anchor, Jump, Memento, MultiProbe)
"""Balancers for which all positive weights are equivalent."""


class KeyedBalancer(Protocol[B]):
    """A balancer that picks for arrays of hashes, for example any of ``balancers.hashing``."""

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of each member, in the order of the indices that ``pick_many`` returns."""
        ...

    def hash_many(self, keys: Iterable[Key]) -> NDArray[np.uint64]:
        """Return the hashes of n keys, as an array ``uint64[n]``."""
        ...

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the index of each hash's backend in the order of ``weights``."""
        ...


AnyKeyed = KeyedBalancer[B] | Balancer[B]
"""A balancer that picks by key: for arrays of hashes, or for one key at a time."""
Owners = AnyKeyed[B] | Sequence[B] | NDArray[Any]
"""A keyed balancer, or the owner of each hash."""


def is_keyed(owners: object) -> bool:
    """Return whether an object is a keyed balancer."""
    if isinstance(owners, type) or get_origin(owners) is not None:  # a class
        return False
    return picks_many(owners) or bool(getattr(owners, "keyed", False) and hasattr(owners, "pick"))


def picks_many(balancer: object) -> bool:
    """Return whether a keyed balancer picks for arrays of hashes."""
    return hasattr(balancer, "pick_many")


def copy_of(balancer: Balanced) -> Balanced:
    """Return a deep copy that shares the backends with the original."""
    memo: dict[int, Any] = {}
    share(memo, cast("Any", balancer).weights)
    return deepcopy(balancer, memo)


def picked(balancer: AnyKeyed[B], keys: Iterable[Key]) -> tuple[list[B], NDArray[np.intp]]:
    """Return the members, and the index of each key's backend among them.

    A balancer without ``pick_many`` is copied, because its picks may change it.
    """
    if isinstance(keys, str | bytes) or not isinstance(cast("object", keys), Iterable):
        raise TypeError(f"keys must be an iterable of keys, not {shown(keys)}")
    if picks_many(balancer):
        many = cast("KeyedBalancer[B]", balancer)
        return list(many.weights), _picks(many, many.hash_many(keys))
    places: dict[B, int] = {backend: place for place, backend in enumerate(balancer.weights)}
    one = cast("Balancer[B]", copy_of(balancer))
    indices = [places.setdefault(one.pick(key), len(places)) for key in keys]
    return list(places), np.array(indices, dtype=np.intp)


def _checked_hashes(hashes: NDArray[np.uint64] | None) -> NDArray[np.uint64]:
    """Return the hashes.  Raise TypeError and InvalidKey unless they are an array ``uint64[n]``."""
    if hashes is None or not isinstance(cast("object", hashes), np.ndarray):
        raise TypeError(f"hashes must be an array of uint64, not {shown(hashes)}")
    if hashes.dtype != np.uint64:
        raise TypeError(f"hashes must be an array of uint64, not one of {hashes.dtype}")
    if hashes.ndim != 1:
        raise InvalidKey(f"hashes must have one dimension, not shape {hashes.shape}")
    return hashes


class Owned(Generic[B]):
    """The owners of hashes, as indices into ``members``, in blocks.

    ``weights`` is None for a sequence of owners.
    """

    def __init__(
        self,
        name: str,
        owners: Owners[B],
        hashes: NDArray[np.uint64] | None,
        keys: Iterable[Key] | None,
    ) -> None:
        self.weights: dict[B, float] | None = None
        self._balancer: KeyedBalancer[B] | None = None
        self.members: list[B]
        if is_keyed(owners):
            balancer = cast("AnyKeyed[B]", owners)
            self.weights = _weights_of(balancer)
            if (hashes is None) == (keys is None):
                raise TypeError(f"{name} is a balancer, so hashes or keys are required, not both")
            if not picks_many(balancer):
                if keys is None:
                    raise TypeError(f"{name} has no method pick_many, so keys are required")
                self.members, self._indices = picked(balancer, keys)
                self.count = len(self._indices)
                return
            self._balancer = many = cast("KeyedBalancer[B]", balancer)
            self._hashes = _checked_hashes(many.hash_many(keys) if keys is not None else hashes)
            self.members = list(many.weights)
            self.count = len(self._hashes)
            return
        self.members, self._indices = factorised(name, cast("Sequence[B]", owners))
        self.count = len(self._indices)
        for others in (hashes, keys):
            if isinstance(others, Sized) and len(others) != self.count:
                raise InvalidSetting(f"{name} has {self.count} owners for {len(others)} hashes")

    def blocks(self, length: int, places: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """Yield the owners of all hashes in blocks of this length.  The next block overwrites.

        ``places`` contains the index that stands for each member in the result.
        """
        same = bool((places == np.arange(len(places))).all())
        for block in self._own_blocks(length):
            yield block if same else places.take(block)

    def _own_blocks(self, length: int) -> Iterator[NDArray[np.intp]]:
        starts = range(0, self.count, length)
        balancer = self._balancer
        if balancer is None:
            for start in starts:
                yield self._indices[start : start + length]
        elif not self.has_chooser:
            for start in starts:
                yield _picks(balancer, self._hashes[start : start + length])
        elif self.count:
            hashed = cast("HashedBalancer[B]", balancer)
            if not hashed.eligible():
                raise hashed.refusal()
            choose, buffer = hashed.chooser(self.count), np.empty(length, dtype=np.intp)
            for start in starts:
                hashes = self._hashes[start : start + length]
                picked = buffer[: len(hashes)]
                for at in range(0, len(hashes), CHUNK):
                    choose(hashes[at : at + CHUNK], picked[at : at + CHUNK])
                yield picked

    @property
    def listed(self) -> bool:
        """Whether the owners are known already."""
        return self._balancer is None

    @property
    def has_chooser(self) -> bool:
        """Whether a table can be prepared once and used for all blocks."""
        balancer = self._balancer
        return (
            isinstance(balancer, HashedBalancer)
            and type(balancer).pick_many is HashedBalancer.pick_many
        )


def _picks(balancer: KeyedBalancer[Any], hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return what ``pick_many`` returns.  Raises InvalidPick unless these are indices of members.

    It may be a method of a user.
    """
    picks: NDArray[Any] = np.asarray(balancer.pick_many(hashes))
    members = len(balancer.weights)
    valid = picks.shape == hashes.shape and picks.dtype.kind in "iu"
    if not valid or (picks.size and not 0 <= picks.min() <= picks.max() < members):
        raise InvalidPick(
            f"pick_many of {shown(balancer)} must return {len(hashes)} indices of {members} "
            f"members, not {shown(picks)}"
        )
    return picks.astype(np.intp, copy=False)


def _weights_of(balancer: AnyKeyed[B]) -> dict[B, float]:
    """Return the weight of each member, as far as the balancer uses it."""
    weights = dict(balancer.weights)
    if isinstance(balancer, _ALL_OR_NOTHING):
        return {backend: float(weight > 0) for backend, weight in weights.items()}
    return weights


def factorised(
    name: str, owners: Sequence[Any] | NDArray[Any]
) -> tuple[list[Any], NDArray[np.intp]]:
    """Return the different owners, and the index of each owner among them."""
    if isinstance(owners, np.ndarray):
        if owners.ndim != 1:
            raise InvalidSetting(f"{name} must have one dimension, not shape {owners.shape}")
        if owners.dtype.kind not in _KINDS:
            raise TypeError(f"{name} must be an array of backends, not one of {owners.dtype}")
        if owners.dtype.kind != "O":
            members, inverse = np.unique(owners, return_inverse=True)
            return members.tolist(), inverse.astype(np.intp)
        owners = cast("Sequence[Any]", owners.tolist())
    if isinstance(owners, str | bytes | bytearray) or not isinstance(owners, Sequence):
        raise TypeError(
            f"{name} must be a keyed balancer or a sequence of owners, not {shown(owners)}"
        )
    places: dict[Any, int] = {}
    indices = [places.setdefault(owner, len(places)) for owner in owners]
    return list(places), np.array(indices, dtype=np.intp)


def block_length(members: int, *sides: Owned[Any]) -> int:
    """Return how many hashes to look up at a time."""
    if all(side.listed or side.has_chooser for side in sides):
        return CHUNK * (1 + _HASHES_PER_MEMBER * members // CHUNK)
    return _BLOCK
