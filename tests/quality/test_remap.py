"""What a change of members moves: counted as one by one, for every method, in bounded memory."""

import pickle
import tracemalloc
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from balancers import HashRing, Maglev, Rendezvous, RoundRobin
from balancers.errors import InvalidKey, InvalidPick, InvalidSetting, MissingKey, NoBackendAvailable
from balancers.hashing import Anchor, BoundedLoad, HashedBalancer, Jump, Memento
from balancers.interop import caddy, envoy, nginx
from balancers.keys import Murmur3
from balancers.quality import Remap, _moves, _owners, key_load, remap, rollout
from tests.depth import runs
from tests.kinds import HASHED, Kind, by_name

HASHES = np.random.default_rng(13).integers(0, 1 << 64, 40_000, dtype=np.uint64)
NAMES = [f"s{number}" for number in range(20)]
OWNERS = st.lists(st.tuples(*[st.sampled_from(["a", "b", 3, ("h", 80), None])] * 2), max_size=40)


def one_by_one(before: list[Any], after: list[Any]) -> Counter[tuple[Any, Any]]:
    return Counter((was, now) for was, now in zip(before, after, strict=True) if was != now)


def found(change: Remap[Any]) -> dict[tuple[Any, Any], int]:
    return {(source, target): hashes for source, target, hashes in change.moves()}


def owners(lb: Any, hashes: NDArray[np.uint64]) -> list[Any]:
    members = list(lb.weights)
    picked: list[int] = lb.pick_many(hashes).tolist()
    return [members[place] for place in picked]


def consistent(change: Remap[Any]) -> None:
    """What the numbers of one result must satisfy among themselves."""
    assert (
        change.moved
        == int(change.counts.sum())
        == int(change.matrix.sum()) - int(np.trace(change.matrix))
    )
    assert (change.matrix.sum(axis=1) == change.before).all()
    assert (change.matrix.sum(axis=0) == change.after).all()
    assert (change.before - change.lost + change.gained == change.after).all()
    assert change.before.sum() == change.after.sum() == change.hashes
    assert (change.counts > 0).all()
    assert (change.sources != change.targets).all()
    assert 0 <= change.exchanged <= change.fraction <= 1
    assert sum(each.gained for each in change.receivers) == change.moved
    growths = [each.growth for each in change.receivers]
    assert growths == sorted(growths, reverse=True)
    for array in (change.before, change.after, change.counts, change.lost, change.gained):
        assert array.dtype == np.int64
        assert not array.flags.writeable
    assert change.sources.dtype == change.targets.dtype == np.intp


@given(OWNERS)
def test_owners_are_compared_one_by_one(pairs: list[tuple[Any, Any]]) -> None:
    before, after = [was for was, _ in pairs], [now for _, now in pairs]
    change = remap(before, after)
    assert found(change) == one_by_one(before, after)
    assert change.hashes == len(pairs)
    assert list(change.members) == list(dict.fromkeys(before + after))
    lower = Counter(before) - Counter(after)
    assert change.unavoidable == pytest.approx(sum(lower.values()) / max(1, len(pairs)))
    assert change.excess == pytest.approx(change.fraction - change.unavoidable)
    assert change.excess == pytest.approx(change.exchanged)
    consistent(change)


@pytest.mark.parametrize("kind", HASHED, ids=by_name)
@pytest.mark.parametrize("leaves", [1, 4])
def test_every_method_is_compared_as_pick_many_does(kind: Kind, leaves: int) -> None:
    before: Any = kind.make(NAMES)
    after: Any = kind.make(NAMES[:-leaves] + ["new"] * (leaves == 4))
    change = remap(before, after, HASHES)
    was, now = owners(before, HASHES), owners(after, HASHES)
    assert found(change) == one_by_one(was, now)
    consistent(change)
    assert found(remap(was, now)) == found(change) == found(remap(before, now, HASHES))
    assert change.unavoidable == pytest.approx(leaves / 20)


@pytest.mark.parametrize("make", [HashRing, Rendezvous, Memento, Jump, Anchor])
def test_consistent_methods_exchange_nothing(make: Callable[..., HashedBalancer[str]]) -> None:
    options = {"capacity": 64} if make is Anchor else {}
    before = make(NAMES, **options)
    after = deepcopy(before)
    after.discard(NAMES[-1])
    change = remap(before, after, HASHES)
    assert change.exchanged == 0
    assert {change.members[place] for place in change.sources.tolist()} == {NAMES[-1]}
    joined = remap(after, before, HASHES)
    assert joined.exchanged == 0
    assert [(each.backend, each.growth) for each in joined.receivers] == [(NAMES[-1], inf)]


def test_maglev_exchanges_a_little() -> None:
    """About the excess of the reference page: N = 100 of 65 537 slots, one leaves: .556 %."""
    names = [f"b{number}" for number in range(100)]
    change = remap(Maglev(names), Maglev(names[:-1]), HASHES)
    assert change.exchanged == pytest.approx(change.excess, abs=0.003)
    assert 0.002 < change.exchanged < 0.012
    assert change.unavoidable == pytest.approx(0.01)


def test_the_hottest_receiver_is_first() -> None:
    """On a ring with one point per backend, one neighbour gets all."""
    before, after = HashRing(NAMES, points=1), HashRing(NAMES[1:], points=1)
    change = remap(before, after, HASHES)
    (hottest,) = change.receivers
    assert hottest.gained == change.moved
    assert hottest.growth == hottest.after / hottest.before
    spread = remap(HashRing(NAMES, points=1000), HashRing(NAMES[1:], points=1000), HASHES)
    assert len(spread.receivers) == 19
    assert spread.receivers[0].growth < 1.2


def test_weights_and_closed_members_count() -> None:
    before, after = Rendezvous({"a": 3, "b": 1, "c": 0}), Rendezvous({"a": 3, "b": 1, "c": 4})
    change = remap(before, after, HASHES)
    assert change.unavoidable == pytest.approx(0.5)
    assert change.fraction == pytest.approx(0.5, abs=0.02)
    quiet = remap(Maglev({"a": 1, "b": 1}), Maglev({"a": 0, "b": 1}), HASHES)
    assert (quiet.unavoidable, quiet.receivers[0].backend) == (0.5, "b")
    heavier = remap(Jump({"a": 1, "b": 1}), Jump({"a": 5, "b": 1}), HASHES)
    assert (heavier.moved, heavier.unavoidable) == (0, 0), "Jump ignores how large a weight is"


def test_keys_are_hashed_by_each_balancer() -> None:
    keys = [f"user:{number}" for number in range(3000)]
    before, after = HashRing(NAMES), HashRing(NAMES, hasher=Murmur3(seed=7))
    change = remap(before, after, keys=keys)
    was, now = [before.pick(key) for key in keys], [after.pick(key) for key in keys]
    assert found(change) == one_by_one(was, now)
    assert change.unavoidable == 0
    assert found(remap(before, after, keys=iter(keys))) == found(change)
    assert found(remap(before, now, keys=keys)) == found(change)


@pytest.mark.parametrize("limit", [0, 3])
def test_moves_without_a_matrix_are_the_same(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = HashRing(NAMES), Maglev(NAMES[1:])
    dense = remap(before, after, HASHES)
    monkeypatch.setattr(_moves, "_DENSE", limit)
    monkeypatch.setattr(_moves, "_WAITING", 1000)
    sparse = remap(before, after, HASHES)
    for name in ("before", "after", "sources", "targets", "counts"):
        assert (getattr(dense, name) == getattr(sparse, name)).all()


def test_very_many_members_have_no_matrix() -> None:
    members = np.arange(6000)
    after = np.where(members % 100 == 0, (members + 1) % 6000, members)
    change = remap(members, after)
    assert change.moved == len(change.counts) == 60
    with pytest.raises(InvalidSetting, match="5000 members or fewer, not 6000"):
        _ = change.matrix
    assert change.moves(1) == [(0, 1, 1)]
    assert str(change).splitlines()[-1] == "… and 100 more"


class Plain:
    """A keyed balancer of an author who inherits from nothing."""

    def __init__(self, members: list[str]) -> None:
        self.weights = dict.fromkeys(members, 1.0)
        self.calls = list[int]()

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        self.calls.append(len(hashes))
        return (hashes % np.uint64(len(self.weights))).astype(np.intp)

    def hash_many(self, keys: Any) -> NDArray[np.uint64]:
        return np.array([hash(key) & 0xFFFF for key in keys], dtype=np.uint64)


def test_any_object_that_picks_many_can_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_owners, "_BLOCK", 7000)
    before, after = Plain(NAMES), Plain(NAMES[:-1])
    change = remap(before, after, HASHES)
    numbers: list[int] = HASHES.tolist()
    was, now = [NAMES[each % 20] for each in numbers], [NAMES[each % 19] for each in numbers]
    assert found(change) == one_by_one(was, now)
    assert change.exchanged > 0.8
    assert max(before.calls) == 7000
    mixed = remap(HashRing(NAMES), after, HASHES)
    assert mixed.hashes == len(HASHES)


class Wrong(Plain):
    """A keyed balancer that returns anything."""

    picks: Any = None

    def pick_many(self, hashes: NDArray[np.uint64]) -> Any:
        return self.picks


@pytest.mark.parametrize(
    "picks", [[0, 9], [-1, 0], [0], [[0, 0]], [0.0, 0.0], ["a", "b"], None, [2**63, 0]]
)
def test_a_balancer_that_picks_no_member(picks: Any) -> None:
    wrong = Wrong(["a", "b"])
    wrong.picks = picks
    with pytest.raises(InvalidPick, match=r"must return 2 indices of \d members, not "):
        remap(wrong, HashRing(NAMES), keys=[1, 2])
    with pytest.raises(InvalidPick, match=r"must return 2 indices of \d members, not "):
        key_load([1, 2], wrong, 0.5)


def test_an_overridden_pick_many_is_called() -> None:
    class Last(HashRing[str]):
        def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
            return np.full(len(hashes), len(self.weights) - 1, dtype=np.intp)

    assert remap(Last(NAMES), HashRing(NAMES), HASHES).before[-1] == len(HASHES)


def test_bounded_loads_are_compared_at_their_loads() -> None:
    before, after = (BoundedLoad(HashRing(NAMES), c=1.25) for _ in range(2))
    for _ in range(9):
        after.started("s3")
    change = remap(before, after, HASHES)
    assert {each.source for each in change.moves()} == {"s3"}
    assert change.moved == change.before[3]


def test_nothing_is_changed_and_results_can_be_pickled() -> None:
    before, after = HashRing(NAMES), HashRing(NAMES[2:])
    state = pickle.dumps(before)
    hashes = HASHES.copy()
    change = remap(before, after, hashes)
    assert (hashes == HASHES).all()
    assert pickle.loads(state).weights == before.weights  # noqa: S301 - it was made above
    again: Remap[str] = pickle.loads(pickle.dumps(change))  # noqa: S301 - it was made here
    assert found(again) == found(change)
    assert repr(again) == repr(change)


def test_edges() -> None:
    nothing = remap(HashRing(["a"]), HashRing(["b"]), HASHES[:0])
    assert (nothing.moved, nothing.fraction, nothing.exchanged, nothing.receivers) == (0, 0, 0, ())
    assert nothing.unavoidable == 1
    assert remap([], []).members == ()
    assert remap([], []).matrix.shape == (0, 0)
    one = remap(HashRing(["a"]), HashRing(["a"]), HASHES)
    assert (one.moved, str(one)) == (0, "0 of 40000 hashes move (0 %), unavoidable 0 %")
    text = remap(np.array(["a", "b"]), ["a", "c"])
    assert text.moves() == [("b", "c", 1)]
    boxed = remap(np.array(["a", None, 3], dtype=object), ("a", None, 4))
    assert boxed.moves() == [(3, 4, 1)]
    assert remap(HASHES[::2], HASHES[::2]).moved == 0
    every_other = remap(HashRing(NAMES), Maglev(NAMES), HASHES[::2])
    assert every_other.moved == remap(HashRing(NAMES), Maglev(NAMES), HASHES[::2].copy()).moved


WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "lengths": (lambda: remap(["a"], ["a", "b"]), InvalidSetting, "before has 1 .* after has 2"),
    "hashes": (lambda: remap(["a"], HashRing(["a"]), HASHES), InvalidSetting, "1 .* 40000"),
    "unused": (lambda: remap(["a"], ["b"], HASHES), InvalidSetting, "1 owners for 40000"),
    "keys": (lambda: remap(["a"], ["b"], keys=[1, 2]), InvalidSetting, "1 owners for 2"),
    "none": (lambda: remap(HashRing(["a"]), ["a"]), TypeError, "before .* hashes or keys"),
    "both": (
        lambda: remap(HashRing(["a"]), ["a"], HASHES[:1], keys=[1]), TypeError, "not both",
    ),
    "list": (lambda: remap(HashRing(["a"]), ["a"], [1]), TypeError, r"\[1\]"),  # type: ignore[arg-type]  # invalid
    "dtype": (
        lambda: remap(HashRing(["a"]), HashRing(["a"]), np.arange(3)), TypeError, "int64",  # type: ignore[arg-type]  # invalid
    ),
    "shape": (
        lambda: remap(HashRing(["a"]), HashRing(["a"]), HASHES.reshape(2, -1)),
        InvalidKey,
        r"\(2, 20000\)",
    ),
    "one key": (lambda: remap(HashRing(["a"]), HashRing(["a"]), keys="user"), TypeError, "'user'"),
    "key": (lambda: remap(HashRing(["a"]), ["a"], keys=[None]), MissingKey, "key"),  # type: ignore[list-item]  # invalid
    "str": (lambda: remap("ab", "ba"), TypeError, "'ab'"),
    "no keys": (lambda: remap(RoundRobin(["a"]), ["a"]), TypeError, "keyed balancer"),
    "a class": (lambda: remap(HashRing, ["a"]), TypeError, "keyed balancer"),  # type: ignore[arg-type]  # invalid
    "floats": (lambda: remap(np.ones(2), ["a", "b"]), TypeError, "float64"),
    "matrix": (lambda: remap(np.ones((2, 2), dtype=int), ["a"]), InvalidSetting, r"\(2, 2\)"),
    "unhashable": (lambda: remap([["a"]], [["b"]]), TypeError, "unhashable"),
    "closed": (
        lambda: remap(HashRing({"a": 0}), HashRing(["a"]), HASHES), NoBackendAvailable, "quiesced",
    ),
    "empty": (lambda: remap(HashRing(["a"]), HashRing[str](), HASHES), NoBackendAvailable, "empty"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_arguments(wrong: str) -> None:
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        call()


def test_memory_does_not_depend_on_the_number_of_hashes() -> None:
    before, after = Maglev(NAMES, size=251), Maglev(NAMES[1:], size=251)
    peaks: list[int] = []
    for count in (200_000, 2_000_000):
        hashes = np.arange(count, dtype=np.uint64)
        tracemalloc.start()
        remap(before, after, hashes)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 4_000_000


@settings(max_examples=runs(100), deadline=None)
@given(
    st.dictionaries(st.integers(0, 9), st.sampled_from([0, 1, 2, 5]), min_size=1),
    st.dictionaries(st.integers(0, 9), st.sampled_from([0, 1, 2, 5]), min_size=1),
)
@pytest.mark.parametrize("make", [HashRing, Maglev, Rendezvous, Memento])
def test_any_two_memberships(
    make: Callable[..., HashedBalancer[int]], old: dict[int, int], new: dict[int, int]
) -> None:
    options: dict[str, int] = {"size": 251} if make is Maglev else {}
    before, after = make(old, **options), make(new, **options)
    if not any(old.values()) or not any(new.values()):
        with pytest.raises(NoBackendAvailable):
            remap(before, after, HASHES[:100])
        return
    change = remap(before, after, HASHES[:500])
    consistent(change)
    was, now = owners(before, HASHES[:500]), owners(after, HASHES[:500])
    assert found(change) == one_by_one(was, now)
    assert 0 <= change.unavoidable <= 1 + 1e-12


def test_balancers_that_pick_one_key_at_a_time() -> None:
    """Those of nginx and caddy have no pick_many; a migration between programs is compared too."""
    keys = [f"/item/{number}" for number in range(800)]
    names = [f"10.0.0.{number}:80" for number in range(1, 9)]
    before, after = nginx.ConsistentHash(names), caddy.Rendezvous(names)
    state = pickle.dumps((before, after))
    change = remap(before, after, keys=keys)
    assert pickle.dumps((before, after)) == state
    assert found(change) == one_by_one(
        [before.pick(k) for k in keys], [after.pick(k) for k in keys]
    )
    assert change.unavoidable == 0
    envoy_change = remap(before, envoy.Maglev(names), keys=iter(keys))
    assert envoy_change.hashes == 800
    with pytest.raises(TypeError, match="no method pick_many, so keys are required"):
        remap(before, after, HASHES)
    with pytest.raises(TypeError, match="keys must be an iterable"):
        remap(before, after, keys="/item")


class OneKey:
    """A keyed balancer of an author, without a base: its picks change it.  Backends are objects."""

    keyed = True
    fractional = False

    def __init__(self, backends: list[Any]) -> None:
        self.weights: dict[Any, float] = dict.fromkeys(backends, 1)
        self.picks = 0

    def put(self, backend: Any, weight: float = 1) -> None:
        self.weights[backend] = weight

    def discard(self, backend: Any) -> None:
        del self.weights[backend]

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None: ...

    def finished(self, backend: Any, outcome: Any = None, now: float = 0.0) -> None: ...

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.picks += 1
        return list(self.weights)[key % len(self.weights)]


def test_picks_are_made_by_a_copy_that_shares_the_backends() -> None:
    backends = [object() for _ in range(4)]
    before, after = OneKey(backends), OneKey(backends[:-1])
    change = remap(before, after, keys=range(100))
    assert before.picks == after.picks == 0
    assert all(member is backend for member, backend in zip(change.members, backends, strict=True))
    assert change.moved == sum(key % 4 != key % 3 for key in range(100))
    gone = rollout(before, [{backends[3]: None}], keys=range(100))
    assert (gone.moved, before.picks, len(before.weights)) == (change.moved, 0, 4)
    assert gone.direct.members[3] is backends[3]
