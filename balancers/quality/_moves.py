"""Counts the hashes that move between each pair of backends, in bounded memory."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from balancers.quality._owners import Owned, block_length

__all__ = ["Moves", "counted"]

_DENSE = 5000
"""With at most so many members, the moves are counted in a matrix."""
_WAITING = 1 << 22
"""The most moves that wait to be sorted, if there is no matrix."""


class Moves(NamedTuple):
    """The numbers of hashes before and after, and between each pair of different owners."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    sources: NDArray[np.intp]
    targets: NDArray[np.intp]
    counts: NDArray[np.int64]


def counted(
    old: tuple[Owned[Any], NDArray[np.intp]],
    new: tuple[Owned[Any], NDArray[np.intp]],
    members: int,
) -> Moves:
    """Count the moves.  Each side has an array with the place of each of its members in the result.

    Only the hashes that move are looked at twice.  A pair (i, j) is stored as i·members + j.
    """
    length = block_length(members, old[0], new[0])
    before = np.zeros(members, dtype=np.int64)
    pairs = _Matrix(members) if members <= _DENSE else _Sorted()
    blocks = [side.blocks(length, places) for side, places in (old, new)]
    for was, now in zip(*blocks, strict=True):
        before += np.bincount(was, minlength=members)
        moved = np.flatnonzero(was != now)
        if len(moved):
            pairs.add(was[moved] * members + now[moved])
    codes, counts = pairs.result()
    sources, targets = np.divmod(codes, max(1, members))
    after = before.copy()
    np.subtract.at(after, sources, counts)
    np.add.at(after, targets, counts)
    return Moves(before, after, sources, targets, counts)


class _Matrix:
    """Counts pairs in a matrix of all pairs."""

    def __init__(self, members: int) -> None:
        self._counts = np.zeros(members * members, dtype=np.int64)

    def add(self, codes: NDArray[np.intp]) -> None:
        np.add.at(self._counts, codes, 1)

    def result(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        codes = np.flatnonzero(self._counts)
        return codes, self._counts[codes]


class _Sorted:
    """Counts pairs by sorting them, for more members than a matrix can have."""

    def __init__(self) -> None:
        self._waiting: list[NDArray[np.intp]] = []
        self._length = 0
        self._codes = np.empty(0, dtype=np.intp)
        self._counts = np.empty(0, dtype=np.int64)

    def add(self, codes: NDArray[np.intp]) -> None:
        self._waiting.append(codes)
        self._length += len(codes)
        if self._length > _WAITING:
            self._merge()

    def _merge(self) -> None:
        codes = np.concatenate([self._codes, *self._waiting])
        numbers = np.ones(len(codes), dtype=np.int64)
        numbers[: len(self._counts)] = self._counts
        self._codes, places = np.unique(codes, return_inverse=True)
        self._counts = np.zeros(len(self._codes), dtype=np.int64)
        np.add.at(self._counts, places, numbers)
        self._waiting, self._length = [], 0

    def result(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        self._merge()
        return self._codes, self._counts
