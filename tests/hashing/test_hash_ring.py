"""The owner of a key: HashRing and IPHash, and the keys that move when members change."""

from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import HashRing, IPHash, NoBackendAvailable, Pool
from balancers.keys import Hasher, KeyedBlake2, Murmur3, key_bytes, name_of
from tests.references import NaiveRing

NAMES = st.sampled_from([*"abcdefgh", "1", "11", "é", "10.0.0.1:80"])
WEIGHTS = st.sampled_from([0.01, 0.5, 1, 1, 1.7, 3])
MEMBERS = st.dictionaries(NAMES, WEIGHTS, min_size=1, max_size=8)
KEYS = [f"user:{i}".encode() for i in range(150)]
CLIENTS = [f"198.51.{i % 7}.{i}" for i in range(256)]


def owners(lb: Any, keys: list[Any] = KEYS) -> list[str]:
    return [lb.pick(key) for key in keys]


@given(MEMBERS, st.data())
def test_a_ring_agrees_with_the_reference_implementation(
    weights: dict[str, float], data: st.DataObject
) -> None:
    ring, reference = HashRing(weights, points=8), NaiveRing(points=8)
    reference.weights.update(weights)
    for _ in range(data.draw(st.integers(0, 12))):
        backend = data.draw(NAMES)
        weight = data.draw(st.one_of(st.just(0), WEIGHTS, st.none()))
        if weight is None:
            ring.discard(backend)
            reference.weights.pop(backend, None)
        else:
            ring.put(backend, weight)
            reference.weights[backend] = weight
        avoid = data.draw(st.sets(NAMES, max_size=2))
        for key in KEYS[:20]:
            order = reference.owners(key)
            assert ring.replicas(key, 99) == order
            expected = [b for b in order if b not in avoid]
            if expected:
                assert ring.pick(key, avoid=avoid) == expected[0]
            else:
                with pytest.raises(NoBackendAvailable):
                    ring.pick(key, avoid=avoid)


@given(MEMBERS, st.randoms(use_true_random=False))
def test_the_map_is_a_function_of_the_set(weights: dict[str, float], rng: Any) -> None:
    ring = HashRing[str](points=8)
    rows = list(weights.items())
    rng.shuffle(rows)
    for backend, weight in rows:
        ring.put(backend, rng.choice([0, 0.5, 9]))
        if rng.random() < 0.3:
            ring.pick(b"a pick in between") if any(ring.weights.values()) else None
        if rng.random() < 0.3:
            ring.discard(backend)
        ring.put(backend, weight)
    assert owners(ring) == owners(HashRing(weights, points=8))


@pytest.mark.parametrize("hasher", [None, KeyedBlake2(b"secret")])
def test_joining_takes_keys_and_leaving_moves_only_its_own(hasher: Hasher | None) -> None:
    ring = HashRing([*"abcdefg"], hasher=hasher)
    before = owners(ring)
    ring.put("h")
    joined = owners(ring)
    moved = [new for old, new in zip(before, joined, strict=True) if old != new]
    assert moved
    assert set(moved) == {"h"}
    ring.discard("h")
    assert owners(ring) == before


@given(MEMBERS, NAMES, st.tuples(WEIGHTS, WEIGHTS))
def test_raising_a_weight_moves_keys_only_towards_it(
    weights: dict[str, float], backend: str, pair: tuple[float, float]
) -> None:
    ring = HashRing({**weights, backend: min(pair)}, points=8)
    before = owners(ring)
    ring.put(backend, max(pair))
    assert all(new in {old, backend} for old, new in zip(before, owners(ring), strict=True))


def test_a_flip_moves_only_the_keys_of_its_backend_and_undoing_it_moves_them_back() -> None:
    ring = HashRing([f"n{i}" for i in range(40)], points=20)
    before = owners(ring)
    for closed in range(39):
        before_flip = owners(ring)
        ring.put(f"n{closed}", 0)
        after = owners(ring)
        for old, new in zip(before_flip, after, strict=True):
            assert (old == f"n{closed}") == (old != new)
    for closed in range(39):
        ring.put(f"n{closed}", 1)
    assert owners(ring) == before


def test_a_pick_visits_every_backend_before_it_refuses() -> None:
    ring = HashRing([f"n{i}" for i in range(200)], points=4)
    others = {f"n{i}" for i in range(200)} - {"n77"}
    assert {ring.pick(key, avoid=others) for key in KEYS} == {"n77"}
    for backend in others:
        ring.put(backend, 0)
    assert set(owners(ring)) == {"n77"}
    assert ring.replicas(b"k", 3) == ["n77"]


def test_replicas_are_the_order_of_succession() -> None:
    ring = HashRing([*"abcdef"])
    for key in KEYS:
        first, second, third = ring.replicas(key, 3)
        assert ring.pick(key) == first
        assert ring.pick(key, avoid=[first]) == second
        assert ring.pick(key, avoid=[first, second]) == third
    assert sorted(ring.replicas(b"k", 99)) == [*"abcdef"]


@pytest.mark.parametrize("over", [None, "ring"])
def test_a_flip_moves_only_its_clients(over: str | None) -> None:
    lb = IPHash([*"abcdefg"], over=HashRing() if over else None)
    before = owners(lb, CLIENTS)
    assert set(before) == {*"abcdefg"}
    lb.put("c", 0)
    after = owners(lb, CLIENTS)
    assert all((old == "c") == (old != new) for old, new in zip(before, after, strict=True))
    assert len({new for old, new in zip(before, after, strict=True) if old == "c"}) > 1
    lb.put("c", 1)
    assert owners(lb, CLIENTS) == before


def test_modulo_is_over_the_members_sorted_by_name() -> None:
    clients = [ip_address(client) for client in CLIENTS]
    members = ["é", "b", "a", "aa"]
    lb = IPHash(members)
    hasher = Murmur3()
    ordered = sorted(members, key=str.encode)
    assert owners(lb, CLIENTS) == [ordered[hasher(c.packed) % 4] for c in clients]
    assert owners(lb, CLIENTS) == owners(IPHash(sorted(members)), CLIENTS)


def test_a_ring_moves_fewer_clients_than_modulo() -> None:
    moved: list[int] = []
    for lb in (IPHash([*"abcdefg"]), IPHash([*"abcdefg"], over=HashRing())):
        before = owners(lb, CLIENTS)
        lb.put("h")
        moved.append(sum(a != b for a, b in zip(before, owners(lb, CLIENTS), strict=True)))
    assert moved[0] > 0.75 * len(CLIENTS)
    assert moved[1] < 0.25 * len(CLIENTS)


def test_every_spelling_of_an_address_is_the_same_client() -> None:
    lb = IPHash([f"n{i}" for i in range(50)])
    address = IPv4Address("192.0.2.33")
    spellings: list[Any] = [
        "192.0.2.33", address, address.packed, "::ffff:192.0.2.33", "::ffff:c000:221",
        ip_address("::ffff:192.0.2.33"), ip_address("::ffff:192.0.2.33").packed,
    ]  # fmt: skip
    assert len({lb.pick(spelling) for spelling in spellings}) == 1
    assert lb.pick("2001:DB8::1") == lb.pick("2001:db8:0:0::1")


def test_clients_of_one_network_share_a_backend() -> None:
    members = [f"n{i}" for i in range(50)]
    sparse = IPHash(members, ipv4_prefix=24, ipv6_prefix=48)
    assert len({sparse.pick(f"192.0.2.{i}") for i in range(256)}) == 1
    assert len({sparse.pick(f"192.0.{i}.1") for i in range(256)}) > 40
    assert len({sparse.pick(f"2001:db8:7:{i:x}::1") for i in range(256)}) == 1
    dense = IPHash(members)
    assert len({dense.pick(f"192.0.2.{i}") for i in range(256)}) > 40
    assert len({dense.pick(f"2001:db8:7:7::{i:x}") for i in range(256)}) == 1
    assert len({IPHash(members, ipv4_prefix=0).pick(client) for client in CLIENTS}) == 1


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_str_is_hashed_as_utf_8(text: str) -> None:
    assert key_bytes(text) == key_bytes(text.encode()) == text.encode()


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_int_is_hashed_as_eight_bytes(number: int) -> None:
    assert int.from_bytes(key_bytes(number), "little", signed=True) == number
    assert len(key_bytes(number)) == 8


def test_names_of_backends() -> None:
    assert name_of("a") == "a"
    assert name_of(b"a") == b"a"
    assert name_of(7) == (7).to_bytes(8, "little")
    assert name_of(("h", 0)) == "h:0"
    assert name_of(("fe80::1%eth0", 65535)) == "[fe80::1%eth0]:65535"


def test_hash_functions_return_published_values() -> None:
    """Published: MurmurHash3 x64 128 of the empty string is 0; BLAKE2b is RFC 7693."""
    assert Murmur3()(b"") == 0
    assert Murmur3(seed=1)(b"") == 0x4610ABE56EFF5CB5
    assert Murmur3()(b"hello") == 0xCBD8A7B341BD9B02
    keyed = KeyedBlake2(b"k" * 64)
    assert keyed(b"x") != KeyedBlake2(b"k" * 63)(b"x")
    assert 0 <= keyed(b"x") < 2**64


def test_a_custom_hasher_is_used() -> None:
    """Even if it spreads badly.  Of more than 64 bits only the low ones count."""
    ring = HashRing(["a", "b"], hasher=lambda data: len(data) << 64 | len(data))
    narrow = HashRing(["a", "b"], hasher=len, points=160)
    assert owners(ring) == owners(narrow)
    pool = Pool(HashRing([f"n{i}" for i in range(9)], hasher=Murmur3(seed=9)))
    assert any(
        pool.acquire(0.0, key).backend != HashRing([f"n{i}" for i in range(9)]).pick(key)
        for key in KEYS
    )
