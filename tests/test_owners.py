"""A balancer, gate or load belongs to one owner: a pool, or the balancer that wraps it."""

import copy
import pickle
from collections.abc import Callable, Collection
from random import Random
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    HashRing,
    IPHash,
    LeastConnections,
    Load,
    Pool,
    PowerOfTwoChoices,
    RoundRobin,
)
from balancers.errors import AlreadyInUse, InvalidPick, InvalidSetting, NoBackendAvailable
from balancers.hashing import Anchor, BoundedLoad, HashedBalancer, OwnerOnly
from balancers.interop import caddy
from balancers.loads import InFlight
from tests.kinds import METHODS, Kind, by_name

Wrap = Callable[[Any], Balancer[Any]]
WRAPPERS: dict[str, tuple[Wrap, Callable[[], Balancer[Any]]]] = {
    "BoundedLoad": (BoundedLoad, lambda: HashRing(["a", "b"])),
    "IPHash": (lambda inner: IPHash(over=inner), lambda: HashRing(["a", "b"])),
    "IPHash over BoundedLoad": (
        lambda inner: IPHash(over=inner),
        lambda: BoundedLoad(HashRing(["a", "b"])),
    ),
    "LeastConnections": (
        lambda inner: LeastConnections(ties=inner),
        lambda: HashRing(["a", "b"]),
    ),
    "OwnerOnly": (OwnerOnly, lambda: HashRing(["a", "b"])),
    "Cookie": (lambda inner: caddy.Cookie(fallback=inner), lambda: LeastConnections(["a", "b"])),
    "Rendezvous": (
        lambda inner: caddy.Rendezvous(fallback=inner),
        lambda: LeastConnections(["a", "b"]),
    ),
}
"""Makes a wrapper around an inner balancer, and makes such an inner balancer."""
WRAPPED = pytest.mark.parametrize(("wrap", "make"), WRAPPERS.values(), ids=WRAPPERS)


def pickled(part: Any) -> Any:
    return pickle.loads(pickle.dumps(part))  # noqa: S301 - own


COPIED = pytest.mark.parametrize("copied", [copy.deepcopy, pickled])


def inner_of(wrapper: Any) -> Any:
    inner = getattr(wrapper, "_over", None) or getattr(wrapper, "_by_key", None)
    return inner or wrapper._fallback


@WRAPPED
def test_a_wrapped_balancer_is_refused_by_pools_and_wrappers(
    wrap: Wrap, make: Callable[[], Any]
) -> None:
    inner = make()
    wrapper = wrap(inner)
    for reuse in (wrap, Pool):
        with pytest.raises(AlreadyInUse, match=type(inner).__name__):
            reuse(inner)
    pool = Pool(wrapper)
    assert set(pool.backends) == {"a", "b"}
    with pytest.raises(AlreadyInUse, match=type(inner).__name__):
        Pool(inner)


@WRAPPED
def test_a_wrapper_refuses_the_balancer_of_a_pool(wrap: Wrap, make: Callable[[], Any]) -> None:
    inner = make()
    pool = Pool(inner)
    with pytest.raises(AlreadyInUse, match=type(inner).__name__):
        wrap(inner)
    assert dict(inner.weights) == {"a": 1, "b": 1}
    assert pool.acquire(0.0, "192.0.2.1").backend in {"a", "b"}
    pool.add("c")


def test_a_balancer_of_a_refused_wrapper_is_free_and_unchanged() -> None:
    ring: Any = HashRing({"a": 2, "b": 1})
    first = LeastConnections({"a": 2, "b": 1})
    refusals: list[tuple[Any, Callable[[], object]]] = [
        (ring, lambda: BoundedLoad(ring, c=0.5)),
        (ring, lambda: BoundedLoad(ring, slack=-1)),
        (ring, lambda: IPHash(over=ring, ipv4_prefix=99)),
        (ring, lambda: IPHash({"a": 3, "c": 1, b"b": 1}, over=ring)),
        (ring, lambda: IPHash({"a": 3, "c": -1}, over=ring)),
        (ring, lambda: IPHash({"a": 3, "c": 10**9}, over=ring)),
        (ring, lambda: LeastConnections({"a": 3, "c": 1, b"b": 1}, ties=ring)),
        (ring, lambda: LeastConnections({"a": 3, "c": 10**9}, ties=ring)),
        (first, lambda: caddy.Cookie({"a": 3, "c": 1, "\ud800": 1}, fallback=first)),
        (first, lambda: caddy.Rendezvous({"a": 3, "\ud800": 1}, fallback=first)),
    ]
    for inner, refused in refusals:
        with pytest.raises(ValueError):  # noqa: PT011 - several errors, all of this type
            refused()
        assert dict(inner.weights) == {"a": 2, "b": 1}
        assert not getattr(inner, "taken", False)
    BoundedLoad(ring)
    caddy.Cookie(fallback=first)


def test_a_class_is_not_marked() -> None:
    """If the class were marked, each of its objects would belong to a pool."""
    wrong: Any
    for wrong in (HashRing, RoundRobin):
        with pytest.raises(InvalidSetting):
            IPHash(over=wrong)
    with pytest.raises(InvalidSetting):
        BoundedLoad(HashRing)  # type: ignore[arg-type]  # the invalid argument
    with pytest.raises(TypeError):
        PowerOfTwoChoices(rng=Random(1), load=InFlight)  # type: ignore[arg-type]  # as above
    assert not getattr(HashRing, "taken", False)
    assert not getattr(InFlight, "taken", False)


@WRAPPED
@COPIED
def test_a_copy_of_a_wrapper_owns_its_own_balancer(
    copied: Any, wrap: Wrap, make: Callable[[], Any]
) -> None:
    wrapper = wrap(make())
    free = copied(inner_of(wrapper))
    assert Pool(free).acquire(0.0, "192.0.2.1").backend in {"a", "b"}
    for twin in (copied(wrapper), copied(copied(wrapper)), copied(Pool(wrapper))._balancer):
        with pytest.raises(AlreadyInUse):
            wrap(inner_of(twin))
        twin.put("c")
        assert set(twin.weights) == {"a", "b", "c"}
        assert set(wrapper.weights) == {"a", "b"}
    twin = copied(wrapper)
    assert Pool(twin).acquire(0.0, "192.0.2.1").backend in {"a", "b"}


@WRAPPED
def test_a_shallow_copy_would_share_the_inner_balancer(wrap: Wrap, make: Callable[[], Any]) -> None:
    wrapper = wrap(make())
    with pytest.raises(AlreadyInUse):
        copy.copy(wrapper)


def power_of_two(load: Any) -> PowerOfTwoChoices[str]:
    return PowerOfTwoChoices(["a", "b"], rng=Random(1), load=load)


def test_a_load_belongs_to_one_balancer() -> None:
    load = InFlight[str]()
    lb = power_of_two(load)
    with pytest.raises(AlreadyInUse, match="InFlight"):
        power_of_two(load)
    lb.started("a")
    assert {lb.pick() for _ in range(20)} == {"b"}


def test_a_load_of_a_refused_balancer_is_free() -> None:
    load = InFlight[str]()
    with pytest.raises(ValueError, match="weight"):
        PowerOfTwoChoices({"a": -1}, rng=Random(1), load=load)
    with pytest.raises(InvalidSetting):
        PowerOfTwoChoices(["a"], rng=Random(1), load=load, choices=0)
    power_of_two(load)


@COPIED
def test_a_copy_of_a_balancer_owns_its_own_load(copied: Any) -> None:
    lb = power_of_two(InFlight())
    power_of_two(copied(lb._load))
    for twin in (copied(lb), copied(Pool(lb))._balancer):
        with pytest.raises(AlreadyInUse):
            power_of_two(twin._load)
        twin.started("a")
        assert {twin.pick() for _ in range(20)} == {"b"}
        assert {lb.pick() for _ in range(20)} == {"a", "b"}


class SlottedLoad(Load[str]):
    """It cannot have further attributes, so it is not marked."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def value(self, backend: str, now: float) -> float:
        return 0.0


def test_a_load_that_cannot_be_marked_is_not_guarded() -> None:
    load = SlottedLoad()
    power_of_two(load)
    power_of_two(load)


@pytest.mark.parametrize("kind", METHODS, ids=by_name)
def test_a_member_put_directly_is_an_error_and_counts_nothing(kind: Kind) -> None:
    inner: Any = kind.make(["a", "b"])
    lb = BoundedLoad[Any](inner, slack=3)
    pool = Pool(lb, [ConnectionLimit(100)])
    inner.put("c")
    refused = 0
    for key in range(200):
        for pick in picks(lb):
            owner = inner.pick(key)
            if owner == "c":
                with pytest.raises(InvalidPick, match=f"{type(inner).__name__}.*'c'.*BoundedLoad"):
                    pick(key)
                refused += 1
            else:
                assert pick(key) == owner
        if inner.pick(key) == "c":
            with pytest.raises(InvalidPick, match="'c'"):
                pool.acquire(0.0, key)
    assert refused
    assert (pool.in_flight("a"), pool.in_flight("b")) == (0, 0)
    lb.started("c")
    lb.finished("c")
    assert lb.pick(7, avoid=["c"]) in {"a", "b"}
    for key in range(50):
        with pytest.raises(InvalidPick):
            lb.replicas(key, 3)
    lb.put("c")
    assert {lb.pick(key) for key in range(200)} == {"a", "b", "c"}
    lb.discard("c")
    assert {lb.pick(key) for key in range(200)} == {"a", "b"}


def picks(lb: BoundedLoad[Any]) -> list[Callable[[int], object]]:
    """Return the three ways to pick by a key."""
    return [
        lb.pick,
        lambda key: lb.pick_hashed(lb.hash_key(key)),
        lambda key: list(lb.weights)[lb.pick_many(lb.hash_many([key]))[0]],
    ]


@pytest.mark.parametrize("kind", METHODS, ids=by_name)
def test_other_direct_changes_end_in_a_pick_or_a_typed_error(kind: Kind) -> None:
    """The inner balancer is quiesced, opened, re-weighed or reduced in every state of the load."""
    for change in ("quiesce", "open", "discard", "reweigh"):
        inner: HashedBalancer[Any] = kind.make({"a": 1, "b": 1, "c": 0 if change == "open" else 1})  # type: ignore[assignment]  # of METHODS
        lb = BoundedLoad(inner, c=1)
        for backend in "aabbbc":
            lb.started(backend)
        if change == "discard":
            inner.discard("c")
        else:
            inner.put("c", {"quiesce": 0, "open": 1, "reweigh": 7}[change])
        picked = [
            attempt(lb, key, avoid) for key in range(60) for avoid in ((), ("a",), ("a", "b"))
        ]
        assert set(picked) <= {"a", "b", "c", None}
        attempt(lb, 0, ("a", "b", "c"))
        lb.finished("c")
        lb.put("c", 1)
        for _ in range(9):
            for backend in "abc":
                lb.finished(backend)
        assert {lb.pick(key) for key in range(200)} == {"a", "b", "c"}


def attempt(lb: BoundedLoad[Any], key: int, avoid: Collection[Any]) -> object:
    try:
        picked = lb.pick(key, avoid=avoid)
    except (InvalidPick, NoBackendAvailable):
        return None
    assert picked not in avoid
    return picked


@pytest.mark.parametrize("make", [caddy.Cookie, caddy.Rendezvous])
def test_a_member_put_directly_into_a_fallback_is_an_error(make: Any) -> None:
    fallback = LeastConnections(["a"])
    lb = make(fallback=fallback)
    pool = Pool(lb)
    fallback.put("c")
    fallback.started("a")
    for pick in (lb.pick, lambda: pool.acquire(0.0)):
        with pytest.raises(InvalidPick, match=r"LeastConnections.*'c'"):
            pick()
    assert pool.in_flight("a") == 0
    fallback.discard("c")
    assert lb.pick() == "a"


def test_direct_changes_of_a_table_of_history_are_typed_errors() -> None:
    inner = Anchor(["a", "b"], capacity=3)
    lb = BoundedLoad(inner)
    inner.discard("a")
    assert lb.pick("k") == "b"
    assert set(lb.weights) == {"b"}
    lb.discard("a")
    lb.put("a", 2)
    assert dict(lb.weights) == {"b": 1, "a": 2}
    assert lb.replicas("k", 2)
