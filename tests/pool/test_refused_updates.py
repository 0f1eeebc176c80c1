"""An update that a balancer refuses loses nothing that the balancer knows about its members."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from balancers import (
    HashRing,
    LeastConnections,
    Pool,
    PowerOfTwoChoices,
    WeightedLeastConnections,
)
from balancers.algorithms import IPHash, LeastLoaded, Tiers
from balancers.errors import DuplicateBackend, InvalidSetting
from balancers.hashing import Anchor, BoundedLoad
from balancers.loads import Combined, Ewma, InFlight, InFlightCost, PeakEwma
from balancers.pool import Lease

LOADS: dict[str, Callable[[], Any]] = {
    "PeakEwma": PeakEwma[str],
    "Ewma": Ewma[str],
    "InFlight": InFlight[str],
    "InFlightCost": InFlightCost[str],
    "Combined": lambda: Combined[str](max, PeakEwma[str](), InFlightCost[str]()),
}


def tier_of(backend: str) -> int:
    return 1 if backend == "d" else 0


def tiers_of_loads() -> Any:
    inner = [LeastLoaded[str](load=PeakEwma()), LeastLoaded[str](load=PeakEwma())]
    return Tiers(inner, tier=tier_of)


def two_choices(load: Callable[[], Any]) -> Any:
    return PowerOfTwoChoices[str](rng=Random(1), load=load())


def least_loaded(load: Callable[[], Any]) -> Any:
    return LeastLoaded[str](load=load())


BALANCERS: dict[str, Callable[[], Any]] = {
    **{f"two choices by {name}": partial(two_choices, load) for name, load in LOADS.items()},
    **{f"least loaded by {name}": partial(least_loaded, load) for name, load in LOADS.items()},
    "LeastConnections": LeastConnections[str],
    "LeastConnections-ties": lambda: LeastConnections[str](ties=HashRing()),
    "WeightedLeastConnections": WeightedLeastConnections[str],
    "BoundedLoad": lambda: BoundedLoad[str](HashRing()),
    "Tiers": tiers_of_loads,
}


def that_refuses(balancer: Any) -> Any:
    """Return the balancer, which refuses a backend called "refused" from now on."""
    kind: Any = balancer.__class__

    def put(self: Any, backend: str, weight: float = 1) -> None:
        if backend == "refused":
            raise ValueError("this backend is refused")
        kind.put(self, backend, weight)

    balancer.__class__ = type(kind.__name__, (kind,), {"put": put})
    return balancer


def busy_pool(balancer: Any) -> tuple[Pool[str], list[Lease[str]]]:
    pool: Pool[str] = Pool(balancer)
    pool.update({"a": 1, "b": 1, "c": 2, "d": 1})
    leases: list[Lease[str]] = []
    for step in range(24):
        backend = "abcd"[step % 4]
        lease = pool.acquire(step / 1.0, key="k", prefer=backend, cost=10 * step)
        if step % 3:
            pool.release(lease, step + 0.1 * (1 + step % 4))
        else:
            leases.append(lease)
    return pool, leases


def knowledge(pool: Pool[str], balancer: Any) -> dict[str, Any]:
    load_of = getattr(balancer, "load_of", None)
    loads = {b: load_of(b, 30.0) for b in pool.backends} if load_of else {}
    counts = {b: (pool.in_flight(b), pool.cost_in_flight(b)) for b in pool.backends}
    return {"loads": loads, "counts": counts, "weights": dict(balancer.weights)}


@pytest.mark.parametrize("name", BALANCERS)
@pytest.mark.parametrize("leavers", ["a", "bc", "abcd", ""])
def test_a_refused_update_changes_nothing(name: str, leavers: str) -> None:
    balancer = that_refuses(BALANCERS[name]())
    pool, leases = busy_pool(balancer)
    before = knowledge(pool, balancer)
    wanted: dict[str, float] = {b: 3 for b in "abcd" if b not in leavers}
    with pytest.raises(ValueError, match="refused"):
        pool.update({**wanted, "new": 1, "refused": 1}, now=25.0)
    assert knowledge(pool, balancer) == before
    for lease in leases:
        pool.release(lease, 31.0)
    assert {pool.cost_in_flight(b) for b in pool.backends} == {0}
    pool.update({**wanted, "new": 1}, now=32.0)
    assert {*pool.backends} == {*balancer.weights} == {*wanted, "new"}


class Few(LeastLoaded[str]):
    """Has at most four members, and removes the last one only."""

    def put(self, backend: str, weight: float = 1) -> None:
        if backend not in self.weights and len(self.weights) == 4:
            raise InvalidSetting("five members")
        super().put(backend, weight)

    def discard(self, backend: str) -> None:
        if backend in self.weights and backend != [*self.weights][-1]:
            raise InvalidSetting("not the last")
        super().discard(backend)


def test_a_balancer_may_refuse_the_state_between_removing_and_adding() -> None:
    pool, _ = busy_pool(Few(load=PeakEwma()))
    pool.update(["a", "b", "c", "new"], now=25.0)
    assert [*pool.backends] == ["a", "b", "c", "new"]
    balancer = that_refuses(Few(load=PeakEwma()))
    pool, _ = busy_pool(balancer)
    before = knowledge(pool, balancer)
    with pytest.raises(ValueError, match="refused"):
        pool.update(["a", "b", "c", "refused"], now=25.0)
    with pytest.raises(InvalidSetting, match="not the last"):
        pool.update(["b", "c", "d", "new"], now=25.0)
    assert knowledge(pool, balancer) == before


def test_a_new_object_of_the_same_name_replaces_the_old_one() -> None:
    """The ring for ties refuses two backends of one name, so the old one must leave first."""

    class Server:
        pass

    def same(_: Server) -> str:
        return "one name"

    old, new = Server(), Server()
    ring: Any = HashRing(identity=same)
    pool: Pool[Any] = Pool(LeastConnections({old: 1}, ties=ring))
    with pytest.raises(DuplicateBackend):
        pool.add(new)
    pool.update([new])
    assert [*pool.backends] == [new]


def test_a_balancer_by_key_gives_a_new_member_the_place_of_the_one_that_leaves() -> None:
    names = [f"10.0.0.{number}:80" for number in range(20)]
    pool: Pool[str] = Pool(BoundedLoad[str](Anchor(names, capacity=40), c=100.0))
    keys = [f"key {number}" for number in range(500)]
    owners = {key: pool.acquire(0.0, key).backend for key in keys}
    pool.update([*names[:7], *names[8:], "new"], now=1.0)
    later = {key: pool.acquire(1.0, key).backend for key in keys}
    moved = {key for key in keys if later[key] != owners[key]}
    assert moved == {key for key in keys if owners[key] == names[7]}


def test_a_balancer_that_cannot_be_copied_is_changed_at_once() -> None:
    class Uncopyable(BoundedLoad[str]):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("not this one")

    pool: Pool[str] = Pool(Uncopyable(HashRing()))
    pool.update(["a", "b"])
    leases = [pool.acquire(0.0, "key", prefer="a", cost=5) for _ in range(3)]
    pool.update(["b", "c"], now=1.0)
    assert [*pool.backends] == ["b", "c"]
    for lease in leases:
        pool.release(lease, 2.0)


def test_a_balancer_with_a_method_of_its_own_object_is_not_changed_by_a_rehearsal() -> None:
    balancer: BoundedLoad[str] = BoundedLoad(HashRing())
    put = balancer.put

    def picky(backend: str, weight: float = 1) -> None:
        if backend == "refused":
            raise ValueError("refused")
        put(backend, weight)

    pool, _ = busy_pool(balancer)
    before = knowledge(pool, balancer)
    setattr(balancer, "put", picky)  # noqa: B010 - a method of the object, not of its class
    with pytest.raises(ValueError, match="refused"):
        pool.update(["b", "c", "d", "new", "refused"], now=25.0)
    assert knowledge(pool, balancer) == before


def test_costs_return_with_a_member_that_was_removed_and_put_again() -> None:
    """A fault at the second removal comes too late to keep the first one."""

    class Faulty(LeastLoaded[str]):
        broken = False

        def discard(self, backend: str) -> None:
            if self.broken and backend == "b":
                raise ArithmeticError("broken")
            super().discard(backend)

    balancer = Faulty(load=InFlightCost())
    pool, leases = busy_pool(balancer)
    before = knowledge(pool, balancer)
    balancer.broken = True
    with pytest.raises(ArithmeticError):
        pool.update(["a"], now=25.0)
    assert knowledge(pool, balancer) == before
    for lease in leases:
        pool.release(lease, 26.0)
    assert knowledge(pool, balancer)["loads"] == dict.fromkeys("abcd", 0)


def test_ip_hash_over_a_bounded_ring_keeps_counts_and_costs() -> None:
    balancer = that_refuses(IPHash(over=BoundedLoad[str](HashRing())))
    pool: Pool[str] = Pool(balancer)
    pool.update({"a": 1, "b": 1})
    lease = pool.acquire(0.0, "10.0.0.1", prefer="a", cost=7)
    with pytest.raises(ValueError, match="refused"):
        pool.update({"b": 1, "refused": 1}, now=1.0)
    assert (pool.in_flight("a"), pool.cost_in_flight("a")) == (1, 7)
    pool.release(lease, 2.0)
    assert (pool.in_flight("a"), pool.cost_in_flight("a")) == (0, 0)
