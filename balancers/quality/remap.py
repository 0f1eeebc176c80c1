"""Measures which hashes get another owner when the members of a balancer change."""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidSetting
from balancers.quality._moves import Moves, counted
from balancers.quality._owners import Owned, Owners
from balancers.quality._table import table

__all__ = ["Move", "Receiver", "Remap", "remap"]

_MATRIX = 5000
"""The most members of a matrix: it needs 8 bytes for each pair of them."""


class Move(NamedTuple, Generic[B]):
    """The hashes that one backend loses to another.

    >>> from balancers.quality import remap
    >>> remap(["a", "a", "b"], ["a", "b", "b"]).moves()
    [Move(source='a', target='b', hashes=1)]
    """

    source: B
    """The backend that owns the hashes before the change."""
    target: B
    """The backend that owns them after the change."""
    hashes: int
    """The number of hashes."""


class Receiver(NamedTuple, Generic[B]):
    """A backend that gets hashes from others.

    >>> from balancers.quality import remap
    >>> remap(["a", "a", "b"], ["a", "b", "b"]).receivers
    (Receiver(backend='b', gained=1, before=1, after=2, growth=2.0),)
    """

    backend: B
    gained: int
    """The number of hashes that it gets from others."""
    before: int
    """The number of hashes that it owns before the change."""
    after: int
    """The number of hashes that it owns after the change."""
    growth: float
    """``after`` divided by ``before``: 2.0 means that its load doubles.  It is ``inf`` for a
    backend that owned no hash before."""


@dataclass(frozen=True, repr=False, eq=False)
class Remap(Generic[B]):
    """Describes which hashes have another owner after a change.  ``print`` shows a table.

    >>> from balancers import HashRing
    >>> from balancers.quality import remap
    >>> before = HashRing(["a", "b", "c", "d"], points=100)
    >>> after = HashRing(["a", "b", "c"], points=100)
    >>> change = remap(before, after, keys=range(10_000))
    >>> change
    <Remap: 2310 of 10000 hashes move (23.1 %), unavoidable 25 %>
    >>> print(change)
    2310 of 10000 hashes move (23.1 %), unavoidable 25 %
    backend  before  lost  gained  after
    d          2310  2310       0      0
    a          2516     0    1054   3570
    c          2908     0     656   3564
    b          2266     0     600   2866
    """

    members: tuple[B, ...]
    """All backends: those before the change in their order, then those that join."""
    hashes: int
    """The number of hashes."""
    moved: int
    """The number of hashes that have another owner after the change."""
    unavoidable: float
    """The least fraction of all hashes that any method has to move, from 0 to 1: the sum of what
    the fair shares of backends decrease.  Fair shares are those by weight.  For sequences of
    owners, which have no weights, the numbers of hashes are used."""
    before: NDArray[np.int64]
    """The number of hashes of each member before the change, as an array ``int64[members]``."""
    after: NDArray[np.int64]
    """The number of hashes of each member after the change, as an array ``int64[members]``."""
    sources: NDArray[np.intp]
    """For each pair of members between which hashes move, the index of the member that loses them,
    as an array ``intp[pairs]``.  The pairs are in ascending order of source and target."""
    targets: NDArray[np.intp]
    """The index of the member that gets them, as an array ``intp[pairs]``."""
    counts: NDArray[np.int64]
    """The number of hashes that move between them, as an array ``int64[pairs]``."""

    @property
    def fraction(self) -> float:
        """The fraction of the hashes that move, from 0 to 1.  It is 0 if there are no hashes."""
        return self.moved / self.hashes if self.hashes else 0.0

    @property
    def excess(self) -> float:
        """``fraction`` minus ``unavoidable``.

        It is negative if a backend that leaves owned less than its fair share of the hashes.
        """
        return self.fraction - self.unavoidable

    @property
    def exchanged(self) -> float:
        """The fraction of the hashes that move without need: O(members).

        A backend that loses hashes and gets others has exchanged the smaller number of both.  This
        is 0 for methods that only move hashes from backends that leave or to backends that join.
        """
        total = int(np.minimum(self.lost, self.gained).sum())
        return total / self.hashes if self.hashes else 0.0

    @cached_property
    def lost(self) -> NDArray[np.int64]:
        """The number of hashes that each member loses, as an array ``int64[members]``."""
        return _sums(self.sources, self.counts, len(self.members))

    @cached_property
    def gained(self) -> NDArray[np.int64]:
        """The number of hashes that each member gets, as an array ``int64[members]``."""
        return _sums(self.targets, self.counts, len(self.members))

    @property
    def matrix(self) -> NDArray[np.int64]:
        """The number of hashes for each owner before and after, ``int64[members, members]``.

        Row i and column j is for the hashes that member i owns before and member j after.  So the
        diagonal contains the hashes that stay.  Raises InvalidSetting for more than 5000 members:
        then use ``sources``, ``targets`` and ``counts``.
        """
        n = len(self.members)
        if n > _MATRIX:
            raise InvalidSetting(f"a matrix is for {_MATRIX} members or fewer, not {n}")
        full = np.zeros((n, n), dtype=np.int64)
        full[self.sources, self.targets] = self.counts
        np.fill_diagonal(full, self.before - self.lost)
        return full

    @cached_property
    def receivers(self) -> tuple[Receiver[B], ...]:
        """The backends that get hashes, with the hottest first: those whose load grows most."""
        gained, before, after = self.gained.tolist(), self.before.tolist(), self.after.tolist()
        found = [
            Receiver(member, got, old, new, new / old if old else inf)
            for member, got, old, new in zip(self.members, gained, before, after, strict=True)
            if got
        ]
        return tuple(sorted(found, key=lambda each: (-each.growth, -each.gained)))

    def moves(self, count: int | None = None) -> list[Move[B]]:
        """Return the pairs of backends between which hashes move, those of most hashes first.

        ``count`` is the largest number of pairs to return, and all by default.
        O(pairs · log pairs).
        """
        order = np.argsort(-self.counts, kind="stable")[:count]
        return [
            Move(self.members[source], self.members[target], number)
            for source, target, number in zip(
                self.sources[order].tolist(),
                self.targets[order].tolist(),
                self.counts[order].tolist(),
                strict=True,
            )
        ]

    def __str__(self) -> str:
        rows = zip(
            self.members,
            self.before.tolist(),
            self.lost.tolist(),
            self.gained.tolist(),
            self.after.tolist(),
            strict=True,
        )
        changed = sorted(
            (row for row in rows if row[2] or row[3]), key=lambda row: -row[2] - row[3]
        )
        head = ("backend", "before", "lost", "gained", "after")
        return f"{self._summary()}\n{table(head, changed)}" if changed else self._summary()

    def __repr__(self) -> str:
        return f"<Remap: {self._summary()}>"

    def _summary(self) -> str:
        return (
            f"{self.moved} of {self.hashes} hashes move ({100 * self.fraction:.3g} %), "
            f"unavoidable {100 * self.unavoidable:.3g} %"
        )


def remap(
    before: Owners[B],
    after: Owners[B],
    hashes: NDArray[np.uint64] | None = None,
    *,
    keys: Iterable[Key] | None = None,
) -> Remap[B]:
    """Return which hashes get another owner when ``before`` is replaced by ``after``.

    Each of the two is a keyed balancer, or a sequence of owners: the backend of each hash.  Neither
    is changed.  ``hashes`` is an array ``uint64[n]``.  Pass ``keys`` instead if the two balancers
    hash keys differently: then each uses its own hash function.  Keys are required for a balancer
    without the method ``pick_many``: a copy of it picks for one key after the other.  For two
    sequences of owners, neither hashes nor keys are needed.

    >>> from balancers.hashing import Jump
    >>> hashes = np.arange(0, 1 << 64, 1 << 52, dtype=np.uint64)
    >>> change = remap(Jump(range(4)), Jump(range(5)), hashes)
    >>> change.moved, round(change.fraction, 3), round(change.unavoidable, 3), change.exchanged
    (814, 0.199, 0.2, 0.0)
    >>> [each.backend for each in change.receivers]
    [4]

    Cost: the two look-ups, and the counting, which takes less time than they do if few hashes move.
    Memory does not depend on n, except for sequences of owners and for ``keys``.  It is 8 bytes per
    pair of members up to 5000 members, and beyond that O(pairs between which hashes move).

    Raises InvalidSetting if the two sequences, or a sequence and the hashes, differ in length.
    Raises TypeError, InvalidKey and NoBackendAvailable as ``pick_many`` does, and InvalidPick if a
    balancer of another author does not return indices of its members.
    """
    if keys is not None and not isinstance(keys, str | bytes | Sized):
        keys = list(keys)  # both balancers hash them
    old = Owned("before", before, hashes, keys)
    new = Owned("after", after, hashes, keys)
    if old.count != new.count:
        raise InvalidSetting(f"before has {old.count} owners and after has {new.count}")
    places: dict[Any, int] = {}
    old_places, new_places = (
        np.array([places.setdefault(member, len(places)) for member in side.members], dtype=np.intp)
        for side in (old, new)
    )
    moves = counted((old, old_places), (new, new_places), len(places))
    return Remap(
        members=tuple(places),
        hashes=old.count,
        moved=int(moves.counts.sum()),
        unavoidable=_unavoidable(old, new, moves, places),
        before=_read_only(moves.before),
        after=_read_only(moves.after),
        sources=_read_only(moves.sources),
        targets=_read_only(moves.targets),
        counts=_read_only(moves.counts),
    )


def _unavoidable(
    old: Owned[Any], new: Owned[Any], moves: Moves, places: Mapping[Any, int]
) -> float:
    """Return the sum of what fair shares decrease; without weights, of what shares decrease."""
    shares = [
        _fair(side.weights, places) if side.weights is not None else counts / max(1, old.count)
        for side, counts in ((old, moves.before), (new, moves.after))
    ]
    return float(np.maximum(shares[0] - shares[1], 0.0).sum())


def _fair(weights: Mapping[Any, float], places: Mapping[Any, int]) -> NDArray[np.float64]:
    """Return the fair share of each member; 0 for all if no weight is positive."""
    fair = np.zeros(len(places), dtype=np.float64)
    for backend, weight in weights.items():
        fair[places[backend]] = float(weight)
    total = fair.sum()
    return fair / total if total else fair


def _sums(places: NDArray[np.intp], counts: NDArray[np.int64], members: int) -> NDArray[np.int64]:
    sums = np.zeros(members, dtype=np.int64)
    np.add.at(sums, places, counts)
    return _read_only(sums)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
