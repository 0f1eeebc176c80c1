"""What a pool asks its balancer, and at which times."""

from collections.abc import Collection
from fractions import Fraction
from math import nan
from typing import Any

import numpy as np
import pytest

from balancers import HashRing, HealthChecks, NoBackendAvailable, Pool, RoundRobin
from balancers.balancer import Key
from balancers.errors import InvalidPick, InvalidTime


class Asked(RoundRobin[str]):
    """Notes each question."""

    def __init__(self) -> None:
        super().__init__(["a", "b"])
        self.asked: list[tuple[object, float, object]] = []

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        self.asked.append((key, now, avoid))
        return super().pick(key, now, avoid)


def test_the_balancer_gets_the_key_the_time_and_what_to_avoid() -> None:
    balancer = Asked()
    pool = Pool(balancer, now=1.0)
    pool.acquire(2.0)
    pool.acquire(3.0, "key", avoid=["a"])
    pool.acquire(2.5, b"key", "unknown", avoid={"b": 1})
    pool.acquire(4.0, 7, "a", avoid=["a"])
    assert balancer.asked == [
        (None, 2.0, ()),
        ("key", 3.0, frozenset("a")),
        (b"key", 3.0, {"b": 1}),
        (7, 4.0, frozenset("a")),
    ]


def test_a_bound_request_and_a_hopeless_one_ask_nothing() -> None:
    balancer, health = Asked(), HealthChecks[str](1)
    pool = Pool(balancer, [health], panic=None)
    assert pool.acquire(1.0, prefer="a").bound
    for backend in "ab":
        health.observe(backend, False, 1.0)
    for options in ({}, {"prefer": "a"}, {"prefer": "x"}, {"prefer": "b", "strict": True}):
        arguments: dict[str, Any] = options
        with pytest.raises(NoBackendAvailable):
            pool.acquire(2.0, **arguments)
    assert balancer.asked == []


@pytest.mark.parametrize(
    ("now", "expected"),
    [(5, 5), (np.float64(5.0), 5.0), (Fraction(11, 2), 5.5), (4.0, 5.0), (-1e300, 5.0)],
)
def test_any_number_is_a_time(now: Any, expected: float) -> None:
    balancer = Asked()
    pool = Pool(balancer)
    pool.acquire(5.0)
    lease = pool.acquire(now)
    assert (lease.acquired_at, type(lease.acquired_at)) == (expected, type(expected))
    assert balancer.asked[-1][1] == expected
    pool.release(lease, now)
    pool.add("c", now=now)
    assert pool.snapshot().at == expected


@pytest.mark.parametrize("now", [True, nan, 1.1e300, "5", None, np.array([5.0]), np.bool_(True)])
def test_what_is_no_time_is_refused_everywhere(now: Any) -> None:
    pool = Pool(RoundRobin(["a", "b"]), now=-1e300)
    lease = pool.acquire(0.5)
    before = pool.snapshot()
    for call in (
        lambda: pool.acquire(now),
        lambda: pool.acquire(now, prefer="a"),
        lambda: pool.release(lease, now),
        lambda: pool.add("c", now=now),
        lambda: pool.remove("a", now),
        lambda: pool.set_weight("a", 2, now),
        lambda: pool.update(["a"], now),
        lambda: pool.admits("a", now=now if now is not None else nan),
        lambda: pool.full("a", now=now if now is not None else nan),
    ):
        with pytest.raises(InvalidTime):
            call()
    assert pool.snapshot() == before
    assert not lease.released


def test_the_first_and_the_last_time_are_valid() -> None:
    pool = Pool(RoundRobin(["a"]), now=-1e300)
    assert pool.snapshot().at == -1e300
    lease = pool.acquire(-1e300)
    pool.release(lease, 1e300)
    assert pool.acquire(1e300).acquired_at == 1e300


def test_an_invalid_pick_names_the_balancer_and_the_pick() -> None:
    class Wrong(RoundRobin[str]):
        picked: Any = "gone"

        def pick(
            self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
        ) -> Any:
            del key, now, avoid
            return self.picked

        def __repr__(self) -> str:
            return "<Wrong>"

    balancer = Wrong(["a"])
    pool = Pool(balancer)
    for wrong in ("gone", None, ["unhashable"]):
        balancer.picked = wrong
        with pytest.raises(InvalidPick) as refused:
            pool.acquire(1.0)
        assert str(refused.value) == f"<Wrong> picked {wrong!r}, not a member"
    assert pool.snapshot().requests == 0


def test_a_keyed_balancer_refuses_before_it_needs_a_key() -> None:
    """Nothing is eligible: the refusal has the reasons, whether a key is given or not."""
    pool = Pool(HashRing({"a": 0}))
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(1.0, "key")
    assert refused.value.counts == {"quiesced": 1}
