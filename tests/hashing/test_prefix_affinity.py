"""What PrefixAffinity guarantees: affinity, agreement, events, plans, copies, bad input."""

import copy
import pickle
from collections import Counter, deque
from random import Random
from typing import Any

import pytest

from balancers import Lease, Pool
from balancers.errors import (
    DuplicateBackend,
    InvalidKey,
    InvalidSetting,
    MissingKey,
    UnknownBackend,
)
from balancers.gates import Drain
from balancers.hashing import PrefixAffinity, chain
from tests.depth import runs
from tests.hashing.test_prefix_model import BLOCK, key_of


def keys_of_sessions(count: int, system: int = 3, words: int = 20) -> list[bytes]:
    """Keys that begin with the same system prompt, and then differ."""
    return [key_of([*range(-system, 0), *range(n * 1000, n * 1000 + words)]) for n in range(count)]


def test_one_request_after_another_a_common_beginning_does_not_attract_all() -> None:
    """All requests share their first blocks, and no two are in flight at the same time."""
    lb: PrefixAffinity[int] = PrefixAffinity(range(16), block=BLOCK)
    pool = Pool(lb)
    picked: Counter[int] = Counter()
    for key in keys_of_sessions(1600):
        lease = pool.acquire(0.0, key, cost=100)
        picked[lease.backend] += 1
        pool.release(lease, 0.0)
    assert max(picked.values()) <= 1.35 * 100
    assert min(picked.values()) >= 0.65 * 100


def test_a_session_stays_and_a_busy_backend_loses_it() -> None:
    lb = PrefixAffinity(["a", "b", "c"], block=BLOCK)
    pool = Pool(lb)
    words = [*range(8)]
    first = pool.acquire(0.0, key_of(words), cost=32)
    pool.progress(first, 1.0, cost=0)
    for turn in range(5):
        words += [100 + turn] * 2
        lease = pool.acquire(2.0, key_of(words), cost=len(words) * BLOCK)
        assert lease.backend == first.backend
        assert lb.load_of(lease.backend) == 2 * BLOCK
        pool.release(lease, 3.0)
    assert lb.load_of(first.backend) == 0
    pool.acquire(4.0, prefer=first.backend, cost=1000)
    assert lb.load_of(first.backend) == 1000
    assert pool.acquire(5.0, key_of(words), cost=100).backend != first.backend


def stays(shared: bool, rng: Random) -> float:
    """Return how often a turn of a session is sent where the turn before it was sent.

    Each turn reaches a random one of two gateways, each of which has eight requests in flight.
    """
    lbs = [PrefixAffinity(range(8), block=BLOCK, shared=shared) for _ in range(2)]
    gateways = [(Pool(lb), deque[Lease[int]]()) for lb in lbs]
    sessions = [[-1, -2, -3] + [rng.randrange(1 << 40) for _ in range(20)] for _ in range(100)]
    stayed, last = 0, dict[int, int]()
    for _ in range(1000):
        number = rng.randrange(100)
        sessions[number] += [rng.randrange(1 << 40) for _ in range(2)]
        pool, leases = rng.choice(gateways)
        tokens = len(sessions[number]) * BLOCK
        leases.append(pool.acquire(0.0, key_of(sessions[number]), cost=tokens))
        stayed += last.get(number) == leases[-1].backend
        last[number] = leases[-1].backend
        if len(leases) > 8:
            pool.release(leases.popleft(), 0.0)
    return stayed / 900  # each session has a first turn


def test_gateways_that_know_of_each_other_keep_sessions_together() -> None:
    assert stays(True, Random(2)) >= 0.7
    assert stays(False, Random(2)) <= 0.6


def test_a_weight_of_two_gets_twice_the_tokens() -> None:
    """Requests that never end, with prompts that have nothing in common."""
    lb = PrefixAffinity({"a": 1, "b": 2, "c": 0.5, "d": 0}, block=BLOCK)
    pool = Pool(lb)
    for number in range(700):
        pool.acquire(0.0, key_of(range(number * 10, number * 10 + 5)), cost=20)
    loads = {each: lb.load_of(each) / 20 for each in "abcd"}
    assert loads == {
        "a": pytest.approx(200, abs=2),
        "b": pytest.approx(400, abs=2),
        "c": pytest.approx(100, abs=2),
        "d": 0,
    }


def test_empty_keys_take_turns_and_go_to_the_least_tokens() -> None:
    lb = PrefixAffinity(["a", "b", "c"])
    pool = Pool(lb)
    picked = Counter(pool.acquire(0.0, b"").backend for _ in range(300))
    assert picked == {"a": 100, "b": 100, "c": 100}
    idle = PrefixAffinity(["a", "b", "c"])
    assert Counter(idle.pick(b"") for _ in range(30)) == {"a": 10, "b": 10, "c": 10}
    pool.acquire(0.0, prefer="b", cost=500)
    assert {pool.acquire(0.0, b"", cost=100).backend for _ in range(4)} == {"a", "c"}


def test_a_str_or_an_int_is_a_prompt_of_one_block() -> None:
    lb = PrefixAffinity([f"b{n}" for n in range(9)])
    pool = Pool(lb)
    for key in ("user:42", 42, -1, "", "ключ"):
        lease = pool.acquire(0.0, key)
        assert lb.cached_blocks(lease.backend, key) == 1
        pool.release(lease, 0.0)
        assert pool.acquire(0.0, key).backend == lease.backend


def test_only_a_pick_that_starts_is_recorded() -> None:
    lb = PrefixAffinity(["a", "b"], block=BLOCK)
    key = key_of(range(5))
    before = pickle.dumps(lb._caches)
    picked = [lb.pick(key) for _ in range(50)]
    assert len({*picked}) == 1
    assert pickle.dumps(lb._caches) == before
    other = "ab".replace(picked[0], "")
    lb.started(other)
    assert lb.cached_blocks(other, key) == 0, "another backend was picked"
    lb.pick(key)
    lb.started(picked[0], bound=True)
    assert lb.cached_blocks(picked[0], key) == 0, "a bound request was not picked"
    lb.started(picked[0])
    assert lb.cached_blocks(picked[0], key) == 0, "the pick was used up"
    lb.pick(key)
    started = lb.pick(key)
    lb.started(started)
    assert lb.cached_blocks(started, key) == 5
    lb.started("not a member")
    lb.charged("not a member", 5)
    lb.finished("not a member")


def test_plans_are_ranked_by_cost_and_any_of_them_is_recorded() -> None:
    lb = PrefixAffinity(["a", "b", "c", "d"], block=BLOCK)
    pool = Pool(lb)
    key = key_of(range(6))
    lb.observe("c", stored=key)
    lb.observe("b", stored=key[:24])
    pool.acquire(0.0, prefer="d", cost=7)
    plan = pool.plan(0.0, key, n=9)
    assert plan == ["c", "b", "a", "d"]
    assert pool.plan(0.0, key, n=9, avoid=["c"]) == ["b", "a", "d"]
    assert plan[0] == lb.pick(key)
    lease = pool.acquire(0.0, key, among=pool.plan(0.0, key, n=4)[2:])
    assert (lease.backend, lb.cached_blocks("a", key)) == ("a", 6)
    with pytest.raises(InvalidSetting):
        lb.plan(0, key)


def test_events_of_caches() -> None:
    lb = PrefixAffinity(["a", "b"], block=BLOCK, capacity=20)
    key = key_of(range(8))
    lb.observe("a", stored=key[:24])
    lb.observe("a", stored=key[24:40], after=key[16:24])
    assert lb.cached_blocks("a", key) == 5
    lb.observe("b", stored=key[24:40], after=key[16:24])
    assert lb.cached_blocks("b", key) == 0, "the block before them is not there"
    lb.observe("a", removed=key[16:24])
    assert lb.cached_blocks("a", key) == 2, "those that come after it are useless"
    lb.observe("a", removed=key[16:24] + b"12345678")
    lb.observe("a", cleared=True, stored=key[:8])
    assert lb.cached_blocks("a", key) == 1
    lb.observe("a", stored=key_of(range(100, 125)))
    assert lb.cached_blocks("a", key_of(range(100, 125))) == 20
    lb.observe("gone", stored=key)
    lb.observe("a")


def test_a_lease_of_a_former_member_changes_nothing() -> None:
    lb = PrefixAffinity(["a", "b"], block=BLOCK)
    pool = Pool(lb)
    lease = pool.acquire(0.0, key_of(range(9)), prefer="a", cost=50)
    pool.remove("a", 1.0)
    pool.add("a", now=2.0)
    assert lb.load_of("a") == 0
    pool.progress(lease, 3.0, cost=0)
    pool.release(lease, 3.0)
    assert lb.load_of("a") == 0


def test_a_closed_backend_keeps_its_cache() -> None:
    lb = PrefixAffinity(["a", "b"], block=BLOCK)
    drain: Drain[str] = Drain()
    pool = Pool(lb, [drain])
    key = key_of(range(9))
    first = pool.acquire(0.0, key, cost=36).backend
    pool.update({"a": 1, "b": 1}, 1.0)
    drain.begin(first, 1.0)
    assert pool.acquire(1.0, key, cost=36).backend != first
    drain.cancel(first, 2.0)
    assert lb.cached_blocks(first, key) == 9


def test_copies_and_pickles_go_on_alike_and_share_nothing() -> None:
    lb = PrefixAffinity(["a", "b", "c"], block=BLOCK, capacity=40)
    rng = Random(1)
    keys = [key_of([rng.randrange(3) for _ in range(9)]) for _ in range(60)]
    for key in keys[:30]:
        lb.started(lb.pick(key))
        lb.charged("a", 30)
    clones = [copy.deepcopy(lb), pickle.loads(pickle.dumps(lb))]  # noqa: S301 - a test
    untouched = copy.deepcopy(lb)
    picks: list[list[str]] = []
    for each in (lb, *clones, untouched):
        found: list[str] = []
        for key in keys:
            found.append(each.pick(key))
            each.started(found[-1])
            each.finished("b")
        picks.append(found)
    assert picks[0] == picks[1] == picks[2] == picks[3]


def test_members_come_and_go_without_a_trace() -> None:
    lb: PrefixAffinity[str] = PrefixAffinity(block=BLOCK)
    rng = Random(7)
    names = [f"b{n}" for n in range(40)]
    for _ in range(runs(3000)):
        backend = rng.choice(names)
        if backend in lb.weights:
            lb.discard(backend)
        else:
            lb.put(backend, rng.choice((0, 1, 2)))
        if any(lb.weights.values()):
            lb.started(lb.pick(key_of([rng.randrange(2) for _ in range(4)])))
    for backend in names:
        lb.discard(backend)
    fresh: PrefixAffinity[str] = PrefixAffinity(block=BLOCK)
    assert lb._caches._nodes() == []
    for each in (lb, fresh):
        for backend in names:
            each.put(backend)
    for number in range(200):
        key = key_of([number, 1, 2])
        assert lb.pick(key) == fresh.pick(key)


BAD_KEYS: list[tuple[Any, type[Exception]]] = [
    (None, MissingKey), (b"1234567", InvalidKey), (b"123456789", InvalidKey), (1 << 64, InvalidKey),
    ("\ud800", InvalidKey), (1.5, TypeError), ([1, 2], TypeError), (True, TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("key", "error"), BAD_KEYS, ids=str)
def test_bad_keys_change_nothing(key: Any, error: type[Exception]) -> None:
    lb = PrefixAffinity(["a", "b"], block=BLOCK)
    good = key_of(range(3))
    picked = lb.pick(good)
    for call in (lambda: lb.pick(key), lambda: lb.plan(2, key), lambda: lb.cached_blocks("a", key)):
        with pytest.raises(error):
            call()
    lb.started(picked)
    assert lb.cached_blocks(picked, good) == 3


def same_name(_: object) -> str:
    return "same"


BAD_SETTINGS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"block": 0}, InvalidSetting), ({"block": 1.0}, InvalidSetting),
    ({"block": (1 << 32) + 1}, InvalidSetting), ({"capacity": 0}, InvalidSetting),
    ({"capacity": True}, InvalidSetting), ({"capacity": None}, InvalidSetting),
    ({"shared": 1}, InvalidSetting), ({"identity": 5}, TypeError), ({"hasher": 5}, TypeError),
    ({"identity": same_name}, DuplicateBackend),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "error"), BAD_SETTINGS)
def test_bad_settings_are_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        PrefixAffinity(["a", "b"], **settings)


def test_bad_events_change_nothing() -> None:
    lb = PrefixAffinity(["a", "b"], block=BLOCK)
    key = key_of(range(3))
    lb.observe("a", stored=key)
    bad: list[dict[str, Any]] = [
        {"stored": b"1"}, {"removed": "text"}, {"after": key}, {"after": None}, {"cleared": 1},
    ]  # fmt: skip
    for arguments in bad:
        given: dict[str, Any] = {"cleared": True, **arguments}
        with pytest.raises((InvalidKey, InvalidSetting)):
            lb.observe("a", **given)
        assert lb.cached_blocks("a", key) == 3
    with pytest.raises(UnknownBackend):
        lb.cached_blocks("c", key)
    with pytest.raises(UnknownBackend):
        lb.load_of("c")


def test_huge_costs_and_keys() -> None:
    lb = PrefixAffinity({"a": 1, "b": 1e-300}, block=1 << 32)
    pool = Pool(lb)
    lease = pool.acquire(0.0, chain(range(40_000), block=1, max_blocks=40_000), cost=10**4000)
    assert lb.load_of(lease.backend) >= 10**3999
    other = pool.acquire(0.0, b"", cost=1)
    assert other.backend != lease.backend
    pool.release(lease, 0.0)
    pool.release(other, 0.0)
    assert lb.load_of("a") == lb.load_of("b") == 0
