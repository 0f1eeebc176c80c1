"""Every valid key is accepted; an invalid key is refused, and the error names it."""

import re
from typing import Any

import pytest

from balancers import HashRing, IPHash, Pool
from balancers.errors import InvalidKey, MissingKey
from tests.bad_input.samples import every_kind, filled, pool_of
from tests.kinds import Kind

GOOD_KEYS: list[Any] = [
    b"",
    "",
    b"\0",
    b"x" * 1_000_000,
    "é" * 500_000,
    "\0",
    "\U0010ffff",
    "日本",
    "a\nb",
    0,
    -1,
    (1 << 63) - 1,
    -(1 << 63),
]
BAD_KEYS: list[tuple[Any, type[Exception]]] = [
    ("\ud800", InvalidKey), ("ok\udfff", InvalidKey), (1 << 63, InvalidKey),
    (-(1 << 63) - 1, InvalidKey), (1 << 4000, InvalidKey), (True, TypeError), (False, TypeError),
    (1.5, TypeError), (("a", 1), TypeError), (bytearray(b"a"), TypeError), (None, MissingKey),
]  # fmt: skip


@pytest.mark.parametrize("key", GOOD_KEYS, ids=lambda key: repr(key)[:12])
def test_a_ring_accepts_any_valid_key(key: Any) -> None:
    ring = HashRing(["a", "b", "c"])
    assert ring.pick(key) == ring.pick(key) in ring.weights
    assert ring.replicas(key, 1) == [ring.pick(key)]
    assert Pool(HashRing(["a", "b", "c"])).acquire(0.0, key).backend == ring.pick(key)


@pytest.mark.parametrize(("key", "error"), BAD_KEYS, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("members", [[], ["a", "b"]], ids=["empty", "two"])
def test_a_ring_refuses_an_invalid_key(key: Any, error: type[Exception], members: Any) -> None:
    ring = HashRing[str](members)
    with pytest.raises(error, match=None if key is None else re.escape(repr(key)[:9])):
        ring.pick(key)
    unchecked: Any = ring
    with pytest.raises(error):
        unchecked.replicas(key, 2)
    pool = Pool(ring)
    before = repr(pool)
    with pytest.raises(error):
        pool.acquire(0.0, key)
    assert repr(pool) == before


@pytest.mark.parametrize(
    "key",
    ["", "user", "10.0.0.1:80", "10.0.0.256", "1.2.3", "::g", "[::1]", "\ud800", b"", b"12345", 7,
     True, 1.5, "1" * 1_000_000, "10.0.0.0/8", b"10.0.0.1"],
    ids=lambda key: repr(key)[:14],
)  # fmt: skip
@pytest.mark.parametrize("over", [None, "ring"])
def test_ip_hash_refuses_a_key_that_is_not_an_address(key: Any, over: str | None) -> None:
    lb = IPHash(["a", "b"], over=HashRing(points=8) if over else None)
    with pytest.raises(InvalidKey) as error:
        lb.pick(key)
    assert repr(key) in str(error.value)
    with pytest.raises(MissingKey):
        lb.pick()


@every_kind
def test_an_unkeyed_balancer_ignores_the_key_and_a_keyed_one_needs_it(kind: Kind) -> None:
    lb, pool = filled(kind), pool_of(kind)
    if lb.keyed:
        for call in (lb.pick, lambda: pool.acquire(0.0)):
            with pytest.raises(MissingKey) as error:
                call()
            assert isinstance(error.value, TypeError)
        assert all(pool.in_flight(b) == 0 for b in pool.backends)
    elif kind.hashes:
        assert lb.pick() in lb.weights
        with pytest.raises(InvalidKey):
            lb.pick("\ud800")
    else:
        invalid: list[Any] = ["\ud800", 1 << 70, True, None]
        assert all(lb.pick(key) in lb.weights for key in invalid)
