"""Properties of maps that depend only on the set of members, and their state machine."""

import pickle
from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from random import Random

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from balancers.errors import NoBackendAvailable
from balancers.hashing import HashedBalancer
from tests.hashing.evenness import HASHES
from tests.hashing.plain_maps import PlainMap

__all__ = [
    "WEIGHTS",
    "SetMachine",
    "assert_a_function_of_the_set",
    "assert_each_change_moves_only_its_keys",
    "owner_names",
]

SOME = HASHES[:1000]
NAMES = [*"abcdefg", "1", "11", "é", "10.0.0.1:80"]
WEIGHTS = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([0, 0.01, 0.5, 1, 1, 1.7, 3]), min_size=1
)


def owner_names(lb: HashedBalancer[str], hashes: NDArray[np.uint64] = SOME) -> NDArray[np.str_]:
    """Return the backend of each hash."""
    return np.array(list(lb.weights))[lb.pick_many(hashes)]


class SetMachine(RuleBasedStateMachine):
    """Compares each pick of a balancer with that of a reference implementation."""

    def __init__(self) -> None:
        super().__init__()
        self.lb, self.reference = self.pair()

    @abstractmethod
    def pair(self) -> tuple[HashedBalancer[str], PlainMap]:
        """Create both."""

    @rule(backend=st.sampled_from(NAMES), weight=st.sampled_from([0, 0.5, 1, 1, 7]))
    def put(self, backend: str, weight: float) -> None:
        self.lb.put(backend, weight)
        self.reference.put(backend, weight)

    @rule(backend=st.sampled_from(NAMES))
    def discard(self, backend: str) -> None:
        self.lb.discard(backend)
        self.reference.discard(backend)

    @rule(avoid=st.sets(st.sampled_from(NAMES)), at=st.integers(0, 90_000))
    def avoid(self, avoid: set[str], at: int) -> None:
        for digest in HASHES[at : at + 5].tolist():
            expected = [b for b in self.reference.succession(digest) if b not in avoid]
            if expected:
                assert self.lb.pick_hashed(digest, avoid) == expected[0]
            else:
                with pytest.raises(NoBackendAvailable):
                    self.lb.pick_hashed(digest, avoid)

    @rule(pickled=st.booleans())
    def copy(self, pickled: bool) -> None:
        self.lb = pickle.loads(pickle.dumps(self.lb)) if pickled else deepcopy(self.lb)  # noqa: S301 - own

    @invariant()
    def they_agree(self) -> None:
        assert dict(self.lb.weights) == self.reference.weights
        hashes = HASHES[:8]
        succession = [self.reference.succession(digest) for digest in hashes.tolist()]
        assert [list(self.lb.succession(digest)) for digest in hashes.tolist()] == succession
        if any(self.reference.weights.values()):
            firsts = [order[0] for order in succession]
            assert owner_names(self.lb, hashes).tolist() == firsts
            assert [self.lb.pick_hashed(digest) for digest in hashes.tolist()] == firsts


def assert_a_function_of_the_set(
    make: Callable[[dict[str, float]], HashedBalancer[str]],
    weights: dict[str, float],
    rng: Random,
) -> None:
    """Check that the order and earlier members and weights do not matter."""
    direct, indirect = make(weights), make({})
    rows = list(weights.items())
    rng.shuffle(rows)
    for backend, weight in rows:
        indirect.put(f"not {backend}", rng.choice([0, 1, 2]))
        indirect.put(backend, rng.choice([0.5, 1, 9]))
        if rng.random() < 0.5:
            indirect.pick(b"a pick in between")
        if rng.random() < 0.3:
            indirect.discard(backend)
        indirect.put(backend, weight)
        indirect.discard(f"not {backend}")
    if any(weights.values()):
        assert (owner_names(direct) == owner_names(indirect)).all()


def assert_each_change_moves_only_its_keys(
    lb: HashedBalancer[str], changes: list[int], weights: tuple[float, ...] = (1,)
) -> None:
    """Make each change: a backend joins, leaves, closes, opens or changes its weight."""
    for number, change in enumerate(changes):
        rng = Random(change)
        before = owner_names(lb)
        backend = rng.choice([*lb.weights, f"new-{number}", f"new-{number}"])
        old, new = lb.weights.get(backend, 0), rng.choice([0, *weights])
        if not new and not any(w for other, w in lb.weights.items() if other != backend):
            continue
        if not new and rng.random() < 0.5:
            lb.discard(backend)
        else:
            lb.put(backend, new)
        after = owner_names(lb)
        moved = before != after
        if new > old:
            assert (after[moved] == backend).all()
        else:
            assert (before[moved] == backend).all()
        if not new:
            assert (moved == (before == backend)).all()
