"""Fills the look-up table of Maglev hashing.

In each turn, one backend takes the next free slot of its own sequence of slots.
Source: D. Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill"]

_LAST_TURNS = 256
"""The number of last turns that are assigned by :func:`_assign_last` (measured)."""


def fill(
    offsets: Sequence[int], skips: Sequence[int], weights: Sequence[float], size: int
) -> NDArray[np.intp]:
    """Return the index of the backend that owns each slot, as an array ``intp[size]``.

    Backend i is described by ``offsets[i]``, ``skips[i]`` and ``weights[i]``.  There is at least
    one backend.  ``size`` is a prime.  The sequence of a backend is offset, offset + skip,
    offset + 2·skip, … modulo ``size``, where 0 ≤ offset < size and 0 < skip < size.

    In iterations k = 1, 2, … all backends have a turn, in order of index.  In its turn, a backend
    takes the next free slot of its sequence if k·weight is not less than its target.  Otherwise it
    skips the turn.  The target of a backend is 0 at first.  Each time that it takes a slot, its
    target grows by the largest of all weights.  This is the rule of Envoy, computed in doubles.

    So every backend gets at least one slot, if there are at least as many slots as backends.
    If all weights are equal, every backend takes a slot in every iteration, as in the paper.

    >>> fill([3, 0, 3], [4, 2, 1], [1, 1, 1], 7).tolist()
    [1, 0, 1, 0, 2, 2, 0]

    The slots are assigned in phases.  Each phase assigns half of the slots that are still free:
    numpy finds the next free slots of every backend, and a Python loop assigns them in order.
    Cost for M slots: O(M log M) in numpy, and O(M) in the Python loops.
    """
    turns = _turns(np.array(weights, dtype=np.float64), size)
    at = np.array(offsets, dtype=np.int64)
    steps = np.array(skips, dtype=np.int64)
    table = np.full(size, -1, dtype=np.intp)
    taken = bytearray(size + 1)  # the last element marks the end of a list of slots
    left = size
    while left > _LAST_TURNS:
        half = turns[size - left : size - left // 2]
        _assign(half, at, steps, table, taken)
        left -= len(half)
    _assign_last(turns[size - left :], at, steps, table)
    return table


def _turns(weights: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """Return the index of the backend that takes each of the ``size`` slots, in order of time.

    Turns are ordered by iteration, and within an iteration by the index of the backend.
    """
    heaviest = weights.max()
    if heaviest == weights.min():
        return np.arange(size) % len(weights)
    shares = weights / heaviest
    iterations = int(size / shares.sum()) + 2
    counts = (shares * iterations).astype(np.int64) + 2
    whose = np.repeat(np.arange(len(weights)), counts)
    nth = _ranges(counts)
    target = np.append(0, np.cumsum(np.full(counts.max(), heaviest)))[nth]
    with np.errstate(over="ignore"):
        due = np.minimum(np.ceil(target / weights[whose]), iterations + 1)
    due -= (due - 1) * weights[whose] >= target
    due += due * weights[whose] < target
    due = np.maximum(due, nth + 1)  # one slot per iteration
    return whose[np.argsort(due, kind="stable")[:size]]


def _assign(
    turns: NDArray[np.intp],
    at: NDArray[np.int64],
    steps: NDArray[np.int64],
    table: NDArray[np.intp],
    taken: bytearray,
) -> None:
    """Assign a slot to the backend of each of these turns, which are half of those that remain.

    ``at`` contains, for each backend, the slot from which its sequence is searched.  ``steps``
    contains the skip of each backend.  ``table`` contains the owner of each slot.  ``taken`` is 1
    for each slot that has an owner.  ``at``, ``table`` and ``taken`` are updated in place.
    """
    size = len(table)
    counts = np.bincount(turns, minlength=len(at))
    backends = np.flatnonzero(counts)
    row_of = np.empty_like(counts)
    row_of[backends] = np.arange(len(backends))
    wanted = 1.4 * counts[backends] + 2 * np.sqrt(counts[backends])
    wanted *= size / (2 * len(turns))
    lengths = np.minimum(wanted.astype(np.int64), size) + 1
    ends = np.cumsum(lengths) - 1
    slots = np.repeat(at[backends] - steps[backends] * (ends - lengths + 1), lengths)
    slots += np.repeat(steps[backends], lengths) * np.arange(len(slots))
    slots -= slots // size * size
    slots[ends] = size
    ahead = np.flatnonzero(np.frombuffer(taken, dtype=np.uint8)[slots] == 0)
    slots = slots[ahead]
    free: list[int] = slots.tolist()
    nexts: list[int] = np.searchsorted(ahead, ends - lengths + 1).tolist()
    beyond: list[int] = ((at[backends] + (lengths - 1) * steps[backends]) % size).tolist()
    assigned: list[int] = []
    rows: list[int] = row_of[turns].tolist()
    for row in rows:
        place = nexts[row]
        slot = free[place]
        while taken[slot]:
            place += 1
            slot = free[place]
        nexts[row] = place + 1
        if slot == size:
            nexts[row] = place
            slot = beyond[row]
            step = int(steps[backends[row]])
            while taken[slot]:
                slot = (slot + step) % size
            beyond[row] = slot
        taken[slot] = 1
        assigned.append(slot)
    table[assigned] = turns
    slots = slots[nexts]
    at[backends] = np.where(slots == size, beyond, slots)


def _assign_last(
    turns: NDArray[np.intp],
    at: NDArray[np.int64],
    steps: NDArray[np.int64],
    table: NDArray[np.intp],
) -> None:
    """Assign a slot to the backend of each of these turns, which are the last.

    Each backend takes the free slot that is the fewest steps ahead in its sequence.  For each
    backend, the number of steps to every free slot is computed once.
    """
    size = len(table)
    free = np.flatnonzero(table < 0)
    backends, rows = np.unique(turns, return_inverse=True)
    inverses = np.array([pow(step, -1, size) for step in steps[backends].tolist()], dtype=np.int64)
    ahead = (free - at[backends, np.newaxis]) % size * inverses[:, np.newaxis] % size
    for backend, row in zip(turns.tolist(), rows.tolist(), strict=True):
        place = ahead[row].argmin()
        table[free[place]] = backend
        ahead[:, place] = size


def _ranges(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, …, count - 1 for each of these counts, joined in one array."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
