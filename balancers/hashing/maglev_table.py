"""The table of Maglev: in turns, each its next free slot (Eisenbud et al., NSDI 2016)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill"]

_TAIL = 256
"""So many last slots are settled by distance (measured)."""


def fill(
    offsets: Sequence[int], skips: Sequence[int], weights: Sequence[float], size: int
) -> NDArray[np.intp]:
    """Give whose each slot is: ``intp[size]``, places in ``offsets``, of which there are some.

    Backend i asks for slots offset, offset + skip, offset + 2·skip, … modulo the size, which is
    prime; 0 ≤ offset < size, 0 < skip < size.  In iteration k = 1, 2, … each backend in order takes
    the next free slot it asks for, unless k·weight is below its target, which begins at 0 and grows
    by the largest weight with each slot taken (Envoy's rule, in doubles).  So every positive weight
    has a slot while there are as many, and equal weights take turns as in the paper.

    >>> fill([3, 0, 3], [4, 2, 1], [1, 1, 1], 7).tolist()
    [1, 0, 1, 0, 2, 2, 0]

    The free slots halve from phase to phase: numpy finds those ahead of every backend, and a loop
    settles who comes first.  Cost: O(M log M) for M slots, the logarithm in numpy only.
    """
    turns = _turns(np.array(weights, dtype=np.float64), size)
    at = np.array(offsets, dtype=np.int64)
    steps = np.array(skips, dtype=np.int64)
    table = np.full(size, -1, dtype=np.intp)
    taken = bytearray(size + 1)  # the last is no slot: it ends what is ahead of each backend
    left = size
    while left > _TAIL:
        half = turns[size - left : size - left // 2]
        _settle(half, at, steps, table, taken)
        left -= len(half)
    _settle_last(turns[size - left :], at, steps, table)
    return table


def _turns(weights: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """Give who takes a slot, one after the other: in order of iteration, then of backend."""
    heaviest = weights.max()
    if heaviest == weights.min():
        return np.arange(size) % len(weights)
    shares = weights / heaviest
    iterations = int(size / shares.sum()) + 2
    counts = (shares * iterations).astype(np.int64) + 2
    whose = np.repeat(np.arange(len(weights)), counts)
    nth = _within(counts)
    target = np.append(0, np.cumsum(np.full(counts.max(), heaviest)))[nth]
    with np.errstate(over="ignore"):
        due = np.minimum(np.ceil(target / weights[whose]), iterations + 1)
    due -= (due - 1) * weights[whose] >= target
    due += due * weights[whose] < target
    due = np.maximum(due, nth + 1)  # once an iteration
    return whose[np.argsort(due, kind="stable")[:size]]


def _settle(
    turns: NDArray[np.intp],
    at: NDArray[np.int64],
    steps: NDArray[np.int64],
    table: NDArray[np.intp],
    taken: bytearray,
) -> None:
    """Take these turns, which are half of those left."""
    size = len(table)
    counts = np.bincount(turns, minlength=len(at))
    who = np.flatnonzero(counts)
    mine = np.empty_like(counts)
    mine[who] = np.arange(len(who))
    asked = (1.4 * counts[who] + 2 * np.sqrt(counts[who])) * (size / (2 * len(turns)))
    lengths = np.minimum(asked.astype(np.int64), size) + 1
    ends = np.cumsum(lengths) - 1
    slots = np.repeat(at[who] - steps[who] * (ends - lengths + 1), lengths)
    slots += np.repeat(steps[who], lengths) * np.arange(len(slots))
    slots -= slots // size * size
    slots[ends] = size
    ahead = np.flatnonzero(np.frombuffer(taken, dtype=np.uint8)[slots] == 0)
    slots = slots[ahead]
    known: list[int] = slots.tolist()
    nexts: list[int] = np.searchsorted(ahead, ends - lengths + 1).tolist()
    beyond: list[int] = ((at[who] + (lengths - 1) * steps[who]) % size).tolist()
    got: list[int] = []
    asking: list[int] = mine[turns].tolist()
    for row in asking:
        place = nexts[row]
        slot = known[place]
        while taken[slot]:
            place += 1
            slot = known[place]
        nexts[row] = place + 1
        if slot == size:
            nexts[row] = place
            slot = beyond[row]
            step = int(steps[who[row]])
            while taken[slot]:
                slot = (slot + step) % size
            beyond[row] = slot
        taken[slot] = 1
        got.append(slot)
    table[got] = turns
    slots = slots[nexts]
    at[who] = np.where(slots == size, beyond, slots)


def _settle_last(
    turns: NDArray[np.intp],
    at: NDArray[np.int64],
    steps: NDArray[np.int64],
    table: NDArray[np.intp],
) -> None:
    """Take the last turns: each the free slot that is the fewest steps ahead."""
    size = len(table)
    left = np.flatnonzero(table < 0)
    who, rows = np.unique(turns, return_inverse=True)
    inverses = np.array([pow(step, -1, size) for step in steps[who].tolist()], dtype=np.int64)
    ahead = (left - at[who, np.newaxis]) % size * inverses[:, np.newaxis] % size
    for backend, row in zip(turns.tolist(), rows.tolist(), strict=True):
        place = ahead[row].argmin()
        table[left[place]] = backend
        ahead[:, place] = size


def _within(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count from 0 up to each of these, one after the other."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
