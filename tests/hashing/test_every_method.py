"""Properties of every balancer in ``balancers.hashing``: batches, keys, copies and names."""

import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import HashRing, NoBackendAvailable
from balancers.errors import InvalidKey
from balancers.hashing import HashedBalancer
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import BITS, CHUNK, mix, mix_many
from balancers.keys import Hasher, KeyedBlake2, Murmur3
from tests.depth import runs
from tests.hashing.evenness import HASHES, is_even
from tests.kinds import HASHED, METHODS, Kind, by_name

NAMES = [f"10.0.0.{i}:80" for i in range(1, 31)]
KEYS = st.lists(
    st.binary(max_size=20) | st.text(max_size=20) | st.integers(-(1 << 63), (1 << 63) - 1),
    max_size=60,
)
SET_METHODS = [kind for kind in METHODS if not isinstance(kind.make(), RehashingBalancer)]
"""The balancers whose map is a function of the set of open members."""


@pytest.fixture(params=HASHED, ids=by_name)
def method(request: pytest.FixtureRequest) -> HashedBalancer[str]:
    kind: Kind = request.param
    lb: Any = kind.make(NAMES)
    filled: HashedBalancer[str] = lb
    return filled


@pytest.mark.parametrize("closed", [0, 1, 15, 28, 29])
def test_a_batch_picks_as_a_loop_does(method: HashedBalancer[str], closed: int) -> None:
    for name in NAMES[:closed]:
        method.put(name, 0)
    members = list(method.weights)
    picked = method.pick_many(HASHES)
    assert picked.dtype == np.intp
    asked = [*range(0, len(HASHES), 211), CHUNK - 1, CHUNK, len(HASHES) - 1]
    for place in asked:
        assert members[picked[place]] == method.pick_hashed(int(HASHES[place]))
    few = method.pick_many(HASHES[:37])
    assert (few == picked[:37]).all()
    every_other = method.pick_many(HASHES[:7000:2])
    assert (every_other == picked[:7000:2]).all(), "a view with gaps is an array too"
    if closed == 29:
        assert {members[place] for place in few} == {NAMES[-1]}


@settings(deadline=None, max_examples=runs(30))
@given(KEYS)
@pytest.mark.parametrize("kind", HASHED, ids=by_name)
def test_hash_many_returns_the_hash_of_each_key(kind: Kind, keys: list[bytes | str | int]) -> None:
    lb: Any = kind.make(["a", "b", "c"])
    hashes = lb.hash_many(keys)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [lb.hash_key(key) for key in keys]
    members = list(lb.weights)
    assert [members[place] for place in lb.pick_many(hashes)] == [lb.pick(key) for key in keys]


def test_an_array_of_keys_is_hashed_by_its_elements() -> None:
    ring = HashRing(["a", "b"])
    for keys in (
        np.array([b"a", b"user:42"]),
        np.array(["a", "é"]),
        np.array([1, -2, 1 << 62]),
        np.array([1, 2], dtype=np.uint8),
        np.array([b"a", "b", 3], dtype=object),
        np.array([], dtype=np.int64),
    ):
        assert ring.hash_many(keys).tolist() == [ring.hash_key(key) for key in keys.tolist()]
    many = np.arange(CHUNK + 3)
    assert ring.hash_many(many).tolist() == ring.hash_many(range(CHUNK + 3)).tolist()
    assert ring.hash_many(str(i) for i in range(CHUNK + 3)).shape == (CHUNK + 3,)


def test_hash_many_uses_any_hasher() -> None:
    def lengths(data: bytes) -> int:
        return 3 * len(data) - (1 << 64)

    hashers: list[Hasher] = [KeyedBlake2(b"secret"), Murmur3(7), lengths]
    for hasher in hashers:
        ring = HashRing(["a"], hasher=hasher)
        assert ring.hash_many(["", "user"]).tolist() == [hasher(b"") & BITS, hasher(b"user") & BITS]


@pytest.mark.parametrize("kind", METHODS, ids=by_name)
@pytest.mark.parametrize("setting", ["hasher", "identity"])
def test_hasher_and_identity_must_be_functions(kind: Kind, setting: str) -> None:
    for wrong in (5, "md5", b"x"):
        with pytest.raises(TypeError, match=setting):
            kind.make(["a"], **{setting: wrong})


@pytest.mark.parametrize("kind", SET_METHODS, ids=by_name)
def test_a_closed_backend_that_leaves_moves_no_key(kind: Kind) -> None:
    """With the other balancers the keys it had move once more, as their pages state."""
    lb: Any = kind.make(NAMES)
    lb.put(NAMES[-1], 0)
    before = lb.pick_many(HASHES)
    lb.discard(NAMES[-1])
    assert (lb.pick_many(HASHES) == before).all()
    lb.put("new", 0)
    assert (lb.pick_many(HASHES) == before).all()


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("user", TypeError),
        (b"user", TypeError),
        ([None], TypeError),
        ([True], TypeError),
        ([1.0], TypeError),
        (np.array([1.5]), TypeError),
        (np.array([[1]]), InvalidKey),
        (["\ud800"], InvalidKey),
        ([1 << 63], InvalidKey),
        (np.array([1 << 63], dtype=np.uint64), InvalidKey),
        (7, TypeError),
    ],
)
def test_invalid_keys_are_refused(keys: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        HashRing(["a"]).hash_many(keys)


@pytest.mark.parametrize(
    ("hashes", "error"),
    [
        ([1, 2], TypeError),
        (np.array([1, 2]), TypeError),
        (np.array([1, 2], dtype=np.uint32), TypeError),
        (np.array([1.0]), TypeError),
        (np.array([1], dtype=">u8"), TypeError),
        (np.array([[1]], dtype=np.uint64), InvalidKey),
        (np.array(1, dtype=np.uint64), InvalidKey),
        (None, TypeError),
    ],
)
def test_hashes_must_be_an_array_of_uint64(
    method: HashedBalancer[str], hashes: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        method.pick_many(hashes)


def test_without_open_backends_only_an_empty_batch_is_accepted(
    method: HashedBalancer[str],
) -> None:
    none = np.empty(0, dtype=np.uint64)
    assert method.pick_many(none).tolist() == []
    for name in NAMES:
        method.put(name, 0)
    assert method.pick_many(none).tolist() == []
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        method.pick_many(HASHES[:1])
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        method.pick("key")
    assert method.replicas("key", 3) == []
    for name in reversed(NAMES):
        method.discard(name)
    with pytest.raises(NoBackendAvailable, match="empty"):
        method.pick_many(HASHES[:1])


def test_an_only_backend_has_every_key(method: HashedBalancer[str]) -> None:
    for name in reversed(NAMES[1:]):
        method.discard(name)
    assert {method.pick(f"user:{i}") for i in range(50)} == {NAMES[0]}
    assert method.pick(b"") == method.pick("") == NAMES[0]
    assert set(method.pick_many(HASHES[:99]).tolist()) == {0}


def test_copies_pick_the_same_batches(method: HashedBalancer[str]) -> None:
    method.put(NAMES[3], 0)
    picked = method.pick_many(HASHES)
    for clone in (deepcopy(method), pickle.loads(pickle.dumps(method))):  # noqa: S301 - own
        assert (clone.pick_many(HASHES) == picked).all()


def test_mix_many_returns_mix_of_each_hash() -> None:
    assert mix_many(HASHES[:100]).tolist() == [mix(digest) for digest in HASHES[:100].tolist()]
    assert mix(0) == 0
    assert len({mix(i) for i in range(10_000)}) == 10_000


@pytest.mark.parametrize("kind", [kind for kind in HASHED if kind.even], ids=by_name)
@pytest.mark.parametrize(
    "names",
    [
        [f"srv{i}" for i in range(10)],
        [f"10.0.0.1:{port}" for port in range(8080, 8090)],
        [f"10.0.0.{i}:80" for i in range(10)],
    ],
    ids=lambda names: names[0],
)
def test_structured_names_do_not_correlate(kind: Kind, names: list[str]) -> None:
    """Traefik mapped half of the keys to one of five such names.  Chi-square, p = 1e-6."""
    lb: Any = kind.make(names)
    clients = [f"10.{i >> 8}.{i & 255}.7" for i in range(20_000)]
    counts = np.bincount(lb.pick_many(lb.hash_many(clients)), minlength=10)
    assert is_even(counts)
