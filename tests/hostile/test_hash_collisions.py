"""Keys with the same hash under every seed: no seed of the fast hash functions is a defence."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest

from balancers import HashRing, IPHash
from balancers.flows import FlowKey
from balancers.hashing import Anchor, BoundedLoad, Jump, Maglev, Memento, MultiProbe, Rendezvous
from balancers.interop.envoy import request_hash
from balancers.keys import Hasher, KeyedBlake2, Murmur3, XXHash64
from balancers.routing import Split
from tests.hostile.collisions import murmur3_keys, xxhash64_keys
from tests.packages import HOME

DOCS = HOME.parent / "docs"
SEEDS = [0, 1, 0xFFFFFFFF, *(Random(11).getrandbits(32) for _ in range(5))]
NAMES = [f"backend-{i}" for i in range(8)]
BALANCERS: dict[str, Callable[[Hasher], Any]] = {
    "HashRing": lambda hasher: HashRing(NAMES, hasher=hasher),
    "Maglev": lambda hasher: Maglev(NAMES, size=1009, hasher=hasher),
    "Rendezvous": lambda hasher: Rendezvous(NAMES, hasher=hasher),
    "MultiProbe": lambda hasher: MultiProbe(NAMES, hasher=hasher),
    "Jump": lambda hasher: Jump(NAMES, hasher=hasher),
    "Anchor": lambda hasher: Anchor(NAMES, capacity=16, hasher=hasher),
    "Memento": lambda hasher: Memento(NAMES, hasher=hasher),
    "BoundedLoad": lambda hasher: BoundedLoad(HashRing(NAMES, hasher=hasher)),
}
KEYS = murmur3_keys(10)


def test_the_keys_differ() -> None:
    assert len(KEYS) == len(set(KEYS)) == 1024
    assert {len(key) for key in KEYS} == {320}
    assert len(set(xxhash64_keys(1))) == 81


@pytest.mark.parametrize("seed", SEEDS)
def test_1024_keys_have_one_murmur3_hash_under_every_seed(seed: int) -> None:
    hasher = Murmur3(seed)
    assert len({hasher(key) for key in KEYS}) == 1
    for before, after in ((b"", b"?page=1"), (b"x" * 16, b""), (b"salt" * 12, b"tail")):
        assert len({hasher(before + key + after) for key in KEYS[::31]}) == 1


@pytest.mark.parametrize("seed", [*SEEDS, 0xFFFFFFFFFFFFFFFF, 0x0123456789ABCDEF])
@pytest.mark.parametrize("stripes", [1, 2])
def test_keys_have_few_xxh64_hashes_under_every_seed(seed: int, stripes: int) -> None:
    pytest.importorskip("xxhash")
    hasher = XXHash64(seed)
    keys = xxhash64_keys(stripes)
    assert len(keys) == 81**stripes
    assert len({hasher(key) for key in keys}) <= 16**stripes
    assert len({hasher(key + b"tail") for key in keys[:81]}) <= 16


@pytest.mark.parametrize("secret", [b"s", b"another secret", bytes(64)])
def test_a_keyed_hash_is_different_for_each_of_these_keys(secret: bytes) -> None:
    hasher = KeyedBlake2(secret)
    for keys in (KEYS, xxhash64_keys(1)):
        assert len({hasher(key) for key in keys}) == len(keys)


@pytest.mark.parametrize("make", BALANCERS.values(), ids=BALANCERS)
def test_one_backend_gets_them_all_unless_the_hash_is_keyed(
    make: Callable[[Hasher], Any],
) -> None:
    for seed in SEEDS[:3]:
        balancer = make(Murmur3(seed))
        assert len({balancer.pick(key) for key in KEYS[::8]}) == 1
    balancer = make(KeyedBlake2(b"a secret of 16 B"))
    assert {balancer.pick(key) for key in KEYS[::8]} == set(NAMES)


@pytest.mark.parametrize("salt", ["", "checkout", "a secret salt of another length"])
def test_one_value_of_a_split_gets_them_all_unless_the_hash_is_keyed(salt: str) -> None:
    """The lengths of the salt and of the names are known, so that the key begins at a block."""
    weights = {"stable": 50, "canary": 50}
    padding = b"/" * (-(8 + len(salt) + 8 + len("stable")) % 16)
    picked = Split(weights, salt=salt)
    assert len({picked.pick(padding + key) for key in KEYS[::8]}) == 1
    seeded = Split(weights, salt=salt, hasher=Murmur3(SEEDS[-1]))
    assert len({seeded.pick(padding + key) for key in KEYS[::8]}) == 1
    keyed = Split(weights, salt=salt, hasher=KeyedBlake2(b"a secret of 16 B"))
    assert {keyed.pick(padding + key) for key in KEYS[::8]} == {"stable", "canary"}


def test_a_keyed_hash_is_accepted_for_addresses_and_flows() -> None:
    by_address = IPHash(NAMES, hasher=KeyedBlake2(b"a secret of 16 B"))
    ring = HashRing(NAMES, hasher=KeyedBlake2(b"a secret of 16 B"))
    assert by_address.pick("192.0.2.1") == by_address.pick("::ffff:192.0.2.1")
    assert ring.pick(FlowKey("tcp", "192.0.2.1", 1, "192.0.2.2", 2)) in NAMES


def keyed_pages() -> list[Path]:
    """The pages of the algorithms that pick by key."""
    pages: list[Path] = []
    for page in sorted((DOCS / "algorithms").glob("*.md")):
        named = re.search(r"autoclass:: ([\w.]+)\.(\w+)", page.read_text(encoding="utf-8"))
        if (
            named
            and getattr(getattr(import_module(named[1]), named[2]), "keyed", False) is not False
        ):
            pages.append(page)
    return pages


def preset_pages() -> list[Path]:
    """The pages of the presets, which pick by keys with the hash functions of their programs."""
    pages = sorted((DOCS / "interop").glob("*.md"))
    return [page for page in pages if page.stem not in {"index", "vrrp"}]


def test_every_page_of_presets_says_that_their_hash_functions_have_no_secret() -> None:
    pages = preset_pages()
    assert {page.stem for page in pages} >= {"caddy", "envoy", "haproxy", "ketama", "nginx"}
    for page in pages:
        text = " ".join(page.read_text(encoding="utf-8").split())
        assert "have no secret" in text, page
        assert "hasher=KeyedBlake2(secret)" in text, page
        assert "(../decisions/keys_and_names.md#keys-that-an-attacker-chooses)" in text, page
    assert "KeyedBlake2" in (request_hash.__doc__ or "")


def test_every_page_of_a_keyed_method_says_that_no_seed_helps() -> None:
    pages = keyed_pages()
    assert {page.stem for page in pages} >= {
        *("ip_hash", "hash_ring", "maglev", "rendezvous", "multi_probe", "jump", "anchor"),
        *("memento", "bounded_load"),
    }
    for page in [*pages, DOCS / "flows.md", DOCS / "routing.md"]:
        text = " ".join(page.read_text(encoding="utf-8").split())
        assert "hasher=KeyedBlake2(secret)" in text, page
        assert re.search(r"(?:no|nor a) seed of the default hash function", text), page
        assert "decisions/keys_and_names.md#keys-that-an-attacker-chooses)" in text, page


def test_the_docstrings_say_that_no_seed_helps() -> None:
    target = (DOCS / "decisions/keys_and_names.md").read_text(encoding="utf-8")
    assert "### Keys that an attacker chooses\n" in target
    for subject in (Murmur3, XXHash64):
        text = " ".join((subject.__doc__ or "").split())
        assert "No seed helps, not even a secret one" in text
        assert ":class:`KeyedBlake2` helps" in text
    assert "KeyedBlake2" in (Split.__doc__ or "")
