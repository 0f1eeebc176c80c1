"""Which keys each change may move, over long histories of joining and leaving."""

from collections.abc import Callable
from copy import deepcopy
from random import Random

import numpy as np
from numpy.typing import NDArray

from balancers.hashing._rehashing_balancer import RehashingBalancer
from tests.hashing.evenness import HASHES

__all__ = ["assert_each_change_moves_only_its_keys", "owner_names"]

SOME = HASHES[:1500]


def owner_names(lb: RehashingBalancer[str], hashes: NDArray[np.uint64] = SOME) -> NDArray[np.str_]:
    """Return the backend of each hash."""
    return np.array(list(lb.weights))[lb.pick_many(hashes)]


def assert_each_change_moves_only_its_keys(
    lb: RehashingBalancer[str],
    changes: list[int],
    choose_leaver: Callable[[Random], str],
    most: int,
) -> None:
    """Make each change: a backend joins, leaves, closes or opens.  Undo each removal in a copy."""
    for number, change in enumerate(changes):
        rng = Random(change)
        before = owner_names(lb)
        backend, leaving = rng.choice(list(lb.weights)), choose_leaver(rng)
        kinds = ["flip"]
        if len(lb.weights) < most:
            kinds.append("join")
        if any(weight for other, weight in lb.weights.items() if other != leaving):
            kinds.append("leave")
        kind = rng.choice(kinds)
        if kind == "join":
            lb.put(f"new-{number}")
            assert_moved_only_to(before, lb, f"new-{number}")
        elif kind == "leave":
            lb.put(leaving)
            before = owner_names(lb)
            lb.discard(leaving)
            assert_moved_only_from(before, lb, leaving)
            again = deepcopy(lb)
            again.put(leaving)
            assert (owner_names(again) == before).all()
        elif not lb.weights[backend]:
            lb.put(backend, 2)
            assert_moved_only_to(before, lb, backend)
        elif sum(weight > 0 for weight in lb.weights.values()) > 1:
            lb.put(backend, 0)
            assert_moved_only_from(before, lb, backend)
            again = deepcopy(lb)
            again.put(backend)
            assert (owner_names(again) == before).all()


def assert_moved_only_from(
    before: NDArray[np.str_], lb: RehashingBalancer[str], backend: str
) -> None:
    assert ((before == backend) == (before != owner_names(lb))).all()


def assert_moved_only_to(
    before: NDArray[np.str_], lb: RehashingBalancer[str], backend: str
) -> None:
    after = owner_names(lb)
    assert (after[before != after] == backend).all()
