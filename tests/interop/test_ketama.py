"""memcached clients, compared with plain restatements of their rules and with recorded picks."""

import json
import pickle
from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from hashlib import md5
from math import floor
from pathlib import Path
from struct import pack, unpack
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancers import NoBackendAvailable
from balancers.errors import (
    DuplicateBackend,
    InvalidKey,
    InvalidSetting,
    InvalidWeight,
    MissingKey,
    RingTooLarge,
)
from balancers.hashing import HashedBalancer
from balancers.interop import ketama
from balancers.interop.ketama import hashes
from balancers.interop.ketama.points import digest_counts
from tests.parity.ketama import run

RECORDED = Path(__file__).parents[1] / "vectors" / "nginx_caddy_ketama"
SERVERS = ["10.0.0.1:11211", "10.0.0.2:21002", "n3.example:11211", "/run/m.sock", "Ü:1"]
KEYS = [f"user:{i}" for i in range(300)]
weights = st.lists(st.integers(0, 9), min_size=len(SERVERS), max_size=len(SERVERS))
Make = Callable[..., HashedBalancer[str]]
CLIENTS: list[Make] = [
    ketama.LibmemcachedKetama,
    ketama.LibmemcachedSpy,
    lambda *args, **more: ketama.LibmemcachedKetama[str](*args, weighted=True, **more),
    ketama.LibmemcachedModula,
    ketama.TwemproxyKetama,
    ketama.TwemproxyModula,
    ketama.UHashRing,
    ketama.UHashRingKetama,
]


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for client in ("libmemcached", "twemproxy", "uhashring")
        for path in RECORDED.glob(f"{client}_*.json")
    ),
    ids=lambda path: path.stem,
)
def test_every_recorded_case_matches(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    picks = case.pop("picks")
    assert run(case) == picks


def plain_name(server: str) -> str:
    return f"{server}:0" if server.startswith("/") else server.removesuffix(":11211")


def words(text: str) -> list[int]:
    return list(unpack("<4I", md5(text.encode(), usedforsecurity=False).digest()))


def single(value: float) -> float:
    return float(unpack("f", pack("f", value))[0])


def weighted_ring(live: Mapping[str, int]) -> list[tuple[int, str]]:
    """The published rule, rounded to a 32-bit float after each step."""
    points: list[tuple[int, str]] = []
    for server, weight in live.items():
        share = single(single(weight) / single(sum(live.values())))
        exact = single(single(single(share * 160) / 4) * len(live))
        for i in range(floor(single(exact + 1e-10))):
            points += [(word, server) for word in words(f"{plain_name(server)}-{i}")]
    return sorted(points, key=lambda point: point[0])


def plain_ring(live: Mapping[str, int]) -> list[tuple[int, str]]:
    points = [
        (hashes.one_at_a_time(f"{plain_name(server)}-{i}".encode()), server)
        for server in live
        for i in range(100)
    ]
    return sorted(points, key=lambda point: point[0])


def uhash_ring(live: Mapping[str, int]) -> list[tuple[int, str]]:
    ring: dict[int, str] = {}
    for server, weight in live.items():
        for i in range(40 * len(live) * weight // sum(live.values())):
            ring |= dict.fromkeys(words(f"{server}-{i}"), server)
    return sorted(ring.items())


def owner(ring: list[tuple[int, str]], digest: int, strictly_after: bool = False) -> str:
    return next(
        (
            server
            for point, server in ring
            if point > digest or (point == digest and not strictly_after)
        ),
        ring[0][1],
    )


@given(weights, st.text())
def test_a_weighted_ring_consists_of_the_live_servers(chosen: list[int], key: str) -> None:
    live = {server: weight for server, weight in zip(SERVERS, chosen, strict=True) if weight}
    clients = [ketama.LibmemcachedKetama(SERVERS, weighted=True), ketama.TwemproxyKetama(SERVERS)]
    for client in clients:
        client.pick(key)
        for server, weight in zip(SERVERS, chosen, strict=True):
            client.put(server, weight)
    if not live:
        for client in clients:
            with pytest.raises(NoBackendAvailable, match="quiesced"):
                client.pick(key)
        return
    ring = weighted_ring(live)
    keys = [key, *(f"{plain_name(server)}-{i}" for server in live for i in range(6))]
    for each in keys:
        assert clients[0].pick(each) == owner(ring, words(each)[0])
        assert clients[1].pick(each) == owner(ring, hashes.fnv1a_64(each.encode()))


@given(st.sets(st.sampled_from(SERVERS), min_size=1), st.text())
def test_a_plain_ring_has_a_hundred_points_per_server(live: set[str], key: str) -> None:
    client = ketama.LibmemcachedKetama({server: int(server in live) for server in SERVERS})
    ring = plain_ring(dict.fromkeys([server for server in SERVERS if server in live], 1))
    assert len(ring) == 100 * len(live)
    for each in [key, *(f"{plain_name(server)}-{i}" for server in live for i in range(6))]:
        assert client.pick(each) == owner(ring, hashes.one_at_a_time(each.encode()))


@given(weights.filter(any), st.text())
def test_a_key_on_a_point_of_uhashring_belongs_to_the_next(chosen: list[int], key: str) -> None:
    named = dict(zip(SERVERS, chosen, strict=True))
    ring = uhash_ring({server: weight for server, weight in named.items() if weight})
    client = ketama.UHashRingKetama(named)
    for each in [key, *(f"{server}-{i}" for server in SERVERS for i in range(6))]:
        assert client.pick(each) == owner(ring, words(each)[0], strictly_after=True)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
@example([6, 10, 14])  # only the last rounding matters here
def test_points_are_counted_in_32_bit_floats(chosen: list[int]) -> None:
    live = {f"n{i}": weight for i, weight in enumerate(chosen)}
    ring = Counter(server for _, server in weighted_ring(live))
    assert digest_counts(chosen) == [ring[server] // 4 for server in live]


def test_points_of_uhashring_are_counted_in_integers() -> None:
    nodes = {**{f"n{i}": 1 for i in range(5)}, "heavy": 6}
    ring = ketama.UHashRingKetama(nodes, vnodes=33)  # 33·6·6/11 is 108, but less in floats
    ring.pick("key")
    assert Counter(ring._circle.walk(0))["heavy"] == 4 * 108


def test_of_equal_points_of_uhashring_the_last_is_used() -> None:
    shared = 607858066
    for nodes in (["n81", "n975"], ["n975", "n81"]):
        assert all(any(shared in words(f"{node}-{i}") for i in range(40)) for node in nodes)
        ring = ketama.UHashRingKetama(nodes)
        assert ring.pick_hashed(shared - 1) == nodes[1]


def test_a_weight_above_one_turns_weighted_points_on_until_that_server_has_weight_one() -> None:
    client = ketama.LibmemcachedKetama(SERVERS[:4])
    plain = [client.pick(key) for key in KEYS]
    client.put(SERVERS[1], 3)
    digests = [hashes.one_at_a_time(key.encode()) for key in KEYS]
    heavy = weighted_ring({**dict.fromkeys(SERVERS[:4], 1), SERVERS[1]: 3})
    assert [client.pick(key) for key in KEYS] == [owner(heavy, digest) for digest in digests]
    client.put(SERVERS[1], 0)
    without = weighted_ring(dict.fromkeys([SERVERS[0], *SERVERS[2:4]], 1))
    assert [client.pick(key) for key in KEYS] == [owner(without, digest) for digest in digests]
    client.put(SERVERS[1], 1)
    assert [client.pick(key) for key in KEYS] == plain
    client.put(SERVERS[1], 3)
    client.discard(SERVERS[1])
    fresh = ketama.LibmemcachedKetama([SERVERS[0], *SERVERS[2:4]])
    assert [client.pick(key) for key in KEYS] == [fresh.pick(key) for key in KEYS]


@pytest.mark.parametrize("make", CLIENTS)
@pytest.mark.parametrize("closed", [(), (1,), (0, 2, 3)])
def test_a_batch_is_a_loop_of_picks(make: Make, closed: tuple[int, ...]) -> None:
    client = make({server: weight for weight, server in enumerate(SERVERS, 1)})
    for place in closed:
        client.put(SERVERS[place], 0)
    points = [f"{plain_name(server)}-{i}" for server in SERVERS for i in range(20)]
    keys = [*KEYS, *points, *SERVERS, "", "n1-0"]
    members = list(client.weights)
    picked: list[str] = [members[place] for place in client.pick_many(client.hash_many(keys))]
    assert picked == [client.pick(key) for key in keys]
    edges = np.array([0, 1, (1 << 32) - 1, 1 << 32, (1 << 64) - 1], dtype=np.uint64)
    picked = [members[place] for place in client.pick_many(edges)]
    assert picked == [client.pick_hashed(int(edge)) for edge in edges]


@pytest.mark.parametrize("make", CLIENTS)
def test_an_ejected_server_comes_back_to_its_keys(make: Make) -> None:
    client = make(SERVERS)
    before = [client.pick(key) for key in KEYS]
    client.put(SERVERS[2], 0)
    assert SERVERS[2] not in {client.pick(key) for key in KEYS}
    client.put(SERVERS[2], 1)
    assert [client.pick(key) for key in KEYS] == before


@pytest.mark.parametrize("make", CLIENTS)
def test_avoid_goes_along_the_ring_and_reaches_every_server(make: Make) -> None:
    client = make(SERVERS)
    for key in KEYS[:50]:
        order = client.replicas(key, 9)
        assert order[0] == client.pick(key)
        assert sorted(order) == sorted(SERVERS)
        assert client.pick(key, avoid=order[:3]) == order[3]
    with pytest.raises(NoBackendAvailable, match="avoided"):
        client.pick("key", avoid=SERVERS)


@pytest.mark.parametrize("make", CLIENTS)
def test_one_server_serves_every_key(make: Make) -> None:
    client = make(["only:1"])
    assert {client.pick(key) for key in [*KEYS, ""]} == {"only:1"}


def test_a_server_of_very_little_weight_has_no_points() -> None:
    client = ketama.TwemproxyKetama({"big:1": 1000, "small:1": 1})
    assert {client.pick(key) for key in KEYS} == {"big:1"}
    assert client.replicas("key", 2) == ["big:1"]
    with pytest.raises(NoBackendAvailable):
        client.pick("key", avoid=["big:1"])
    client.put("big:1", 0)
    assert client.pick("key") == "small:1"


@pytest.mark.parametrize(
    ("function", "of_a"),
    [
        (hashes.one_at_a_time, 0xCA2E9442),
        (hashes.fnv1_32, 0x050C5D7E),
        (hashes.fnv1a_32, 0xE40C292C),
        (hashes.fnv1_64, 0xAF63BD4C8601B7BE & 0xFFFFFFFF),
        (hashes.fnv1a_64, 0xAF63DC4C8601EC8C & 0xFFFFFFFF),
        (hashes.crc16, 0x7C87),
        (hashes.crc32_short, 0xE8B7BE43 >> 16 & 0x7FFF),
        (hashes.md5_word, 0xB975C10C),
    ],
)
def test_the_hash_functions_are_the_published_ones_in_ascii(
    function: hashes.Hash32, of_a: int
) -> None:
    assert function(b"a") == of_a
    assert 0 <= function("é".encode()) < 1 << 32


def test_chars_are_signed() -> None:
    assert hashes.fnv1a_32(b"\x80") == (0x811C9DC5 ^ 0xFFFFFF80) * 0x01000193 & 0xFFFFFFFF
    assert hashes.fnv1_32(b"\xff") == (0x811C9DC5 * 0x01000193 ^ 0xFFFFFFFF) & 0xFFFFFFFF
    assert hashes.one_at_a_time(b"\xff") != hashes.one_at_a_time(b"\x7f")
    value = 0xFFFFFFFF + (0xFFFFFFFF << 10) & 0xFFFFFFFF
    value ^= value >> 6
    value = value + (value << 3) & 0xFFFFFFFF
    value ^= value >> 11
    assert hashes.one_at_a_time(b"\xff") == value + (value << 15) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        ("{a}b", "a"),
        ("x{a}{b}", "a"),
        ("x}{a}", "a"),
        ("{a{b}", "a{b"),
        ("{}{a}", "{}{a}"),
        ("{a", "{a"),
        ("a}", "a}"),
        ("", ""),
    ],
)
def test_the_tag_is_the_first_text_between_its_marks(key: str, tag: str) -> None:
    pool = ketama.TwemproxyKetama(SERVERS, hash="md5", hash_tag="{}")
    assert pool.hash_key(key) == words(tag)[0]


@pytest.mark.parametrize("make", CLIENTS)
def test_copies_are_equal_and_independent(make: Make) -> None:
    client = make({server: weight for weight, server in enumerate(SERVERS, 1)})
    client.put(SERVERS[0], 0)
    expected = [client.pick(key) for key in KEYS]
    for copied in (deepcopy(client), pickle.loads(pickle.dumps(client))):  # noqa: S301 - own
        assert [copied.pick(key) for key in KEYS] == expected
        copied.put(SERVERS[0], 9)
        copied.pick("key")
        assert client.weights[SERVERS[0]] == 0
    assert [client.pick(key) for key in KEYS] == expected


@pytest.mark.parametrize("make", CLIENTS)
def test_invalid_input_and_picks_without_servers_are_refused(make: Make) -> None:
    client = make([])
    with pytest.raises(NoBackendAvailable, match="empty"):
        client.pick("key")
    client.put("a:1")
    for weight in (0.5, 1e300, -1, float("nan"), 1 << 33):
        with pytest.raises((InvalidWeight, RingTooLarge)):
            client.put("b:1", weight)
    with pytest.raises(MissingKey):
        client.pick()
    with pytest.raises(InvalidKey):
        client.pick("\ud800")
    with pytest.raises(InvalidKey):
        client.pick_hashed(-1)
    with pytest.raises(TypeError, match="avoid"):
        client.pick("key", avoid="a:1")
    assert dict(client.weights) == {"a:1": 1}
    assert client.pick("key") == "a:1"


def test_two_servers_with_one_name_are_refused() -> None:
    for make in (ketama.LibmemcachedKetama, ketama.LibmemcachedSpy, ketama.TwemproxyKetama):
        with pytest.raises(DuplicateBackend):
            make(["host", "host:11211"])
    with pytest.raises(DuplicateBackend):
        ketama.TwemproxyModula(["a:1", "b:1"], names={"a:1": "x", "b:1": "x"})
    assert len(ketama.UHashRing(["host", "host:11211"]).weights) == 2


def test_settings_that_the_programs_do_not_have_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="sha1"):
        ketama.LibmemcachedKetama(hash="sha1")
    with pytest.raises(InvalidSetting, match="md5"):
        ketama.LibmemcachedKetama(weighted=True, hash="crc")
    with pytest.raises(InvalidSetting, match="''"):
        ketama.LibmemcachedModula(hash="")
    with pytest.raises(InvalidSetting, match="hash_tag"):
        ketama.TwemproxyKetama(hash_tag="{")
    with pytest.raises(InvalidSetting, match="replicas"):
        ketama.UHashRingKetama(replicas=5)
    with pytest.raises(InvalidSetting, match="vnodes"):
        ketama.UHashRing(vnodes=0)


def test_the_numbers_of_points_and_slots_are_bounded() -> None:
    makes: list[Make] = [ketama.UHashRing, ketama.TwemproxyModula]
    for make in makes:
        client = make({"a:1": 1, "b:1": 1})
        with pytest.raises(RingTooLarge, match="8388608"):
            client.put("b:1", 1 << 23)
        client.put("b:1", 2)
        assert client.pick("key") in {"a:1", "b:1"}
