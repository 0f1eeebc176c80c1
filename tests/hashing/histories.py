"""What every change may move, over long histories of joining and leaving."""

from collections.abc import Callable
from copy import deepcopy
from random import Random

import numpy as np
from numpy.typing import NDArray

from balancers.hashing._rehashing_balancer import RehashingBalancer
from tests.hashing.evenness import HASHES

__all__ = ["assert_each_change_moves_only_its_keys", "everyones_keys"]

SOME = HASHES[:1500]


def everyones_keys(
    lb: RehashingBalancer[str], hashes: NDArray[np.uint64] = SOME
) -> NDArray[np.str_]:
    """Name the backend of each hash."""
    return np.array(list(lb.weights))[lb.pick_many(hashes)]


def assert_each_change_moves_only_its_keys(
    lb: RehashingBalancer[str], changes: list[int], leaver: Callable[[Random], str], most: int
) -> None:
    """Let one join, leave, quiesce or come back at each change; and undo the leaving once more."""
    for number, change in enumerate(changes):
        rng = Random(change)
        before = everyones_keys(lb)
        backend, leaving = rng.choice(list(lb.weights)), leaver(rng)
        kinds = ["flip"]
        if len(lb.weights) < most:
            kinds.append("join")
        if any(weight for other, weight in lb.weights.items() if other != leaving):
            kinds.append("leave")
        kind = rng.choice(kinds)
        if kind == "join":
            lb.put(f"new-{number}")
            moved_to(before, lb, f"new-{number}")
        elif kind == "leave":
            lb.put(leaving)
            before = everyones_keys(lb)
            lb.discard(leaving)
            moved_from(before, lb, leaving)
            again = deepcopy(lb)
            again.put(leaving)
            assert (everyones_keys(again) == before).all()
        elif not lb.weights[backend]:
            lb.put(backend, 2)
            moved_to(before, lb, backend)
        elif sum(weight > 0 for weight in lb.weights.values()) > 1:
            lb.put(backend, 0)
            moved_from(before, lb, backend)
            again = deepcopy(lb)
            again.put(backend)
            assert (everyones_keys(again) == before).all()


def moved_from(before: NDArray[np.str_], lb: RehashingBalancer[str], backend: str) -> None:
    assert ((before == backend) == (before != everyones_keys(lb))).all()


def moved_to(before: NDArray[np.str_], lb: RehashingBalancer[str], backend: str) -> None:
    after = everyones_keys(lb)
    assert (after[before != after] == backend).all()
