"""The table of Maglev: in turns, each backend takes its next free slot (Eisenbud, NSDI 2016)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill"]

_LAST_TURNS = 256
"""The last so many slots are assigned by comparing distances (measured)."""


def fill(
    offsets: Sequence[int], skips: Sequence[int], weights: Sequence[float], size: int
) -> NDArray[np.intp]:
    """Return the owner of each slot: ``intp[size]``, indices in ``offsets``, which is not empty.

    Backend i asks for slots offset, offset + skip, offset + 2·skip, … modulo the size, which is
    prime; 0 ≤ offset < size, 0 < skip < size.  In iteration k = 1, 2, … each backend in order takes
    the next free slot it asks for, unless k·weight is below its target.  The target begins at 0 and
    grows by the largest weight with each slot taken (Envoy's rule, in doubles).  So every positive
    weight has a slot if there are as many slots, and equal weights take turns as in the paper.

    >>> fill([3, 0, 3], [4, 2, 1], [1, 1, 1], 7).tolist()
    [1, 0, 1, 0, 2, 2, 0]

    The free slots halve from phase to phase.  In each phase numpy finds the free slots ahead of
    every backend, and a loop assigns them in order.  Cost: O(M log M) for M slots; only numpy's
    part has the logarithm.
    """
    turns = _turns(np.array(weights, dtype=np.float64), size)
    at = np.array(offsets, dtype=np.int64)
    steps = np.array(skips, dtype=np.int64)
    table = np.full(size, -1, dtype=np.intp)
    taken = bytearray(size + 1)  # the last is not a slot: it ends the slots ahead of each backend
    left = size
    while left > _LAST_TURNS:
        half = turns[size - left : size - left // 2]
        _assign(half, at, steps, table, taken)
        left -= len(half)
    _assign_last(turns[size - left :], at, steps, table)
    return table


def _turns(weights: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """Return which backend takes a slot in each turn: in order of iteration, then of backend."""
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
    """Take these turns, which are half of the remaining ones."""
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
    """Take the last turns: in each, the free slot that is the fewest steps ahead."""
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
    """Return the ranges from 0 up to each of these counts, one after the other."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
