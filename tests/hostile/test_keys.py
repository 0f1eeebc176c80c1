"""Hostile keys and names of backends: two backends never share a name, whatever their types."""

from collections.abc import Callable
from itertools import combinations
from random import Random
from typing import Any

import pytest

from balancers import ConnectionLimit, HashRing, Pool, RoundRobin
from balancers.errors import (
    BalancersError,
    DuplicateBackend,
    InvalidKey,
    InvalidSetting,
    InvalidTime,
    InvalidWeight,
    MissingKey,
)
from balancers.flows import FlowKey
from balancers.keys import key_bytes, name_of
from balancers.sessions import LearnedSessions
from tests.hostile.shown import shown
from tests.kinds import HASHED, METHODS, Kind

SAME_NAME: list[tuple[object, object]] = [
    ("a", b"a"),
    ("é", b"\xc3\xa9"),
    (("a", 80), "a:80"),
    (("a", 80), b"a:80"),
    (("::1", 80), "[::1]:80"),
    (1, b"\1\0\0\0\0\0\0\0"),
    (-1, b"\xff" * 8),
    ("", b""),
]
STRANGE_NAMES = [
    *("", "\0", "\n", "\r\n", " ", "a\0b", "a", "a1", "a11", "a-1", "1", "11", "a:80", "[a]:80"),
    *("%s", "{0}", "../a", "é", "e\u0301", "\U0010ffff", "\u202e", "A", "x" * 100_000, "' or 1=1"),
]
NO_NAMES: list[object] = [
    *(None, True, 1.5, float("nan"), ("a",), ("a", 80, 1), ("a", "80"), ("a", -1), ("a", 65536)),
    *(("a", True), (b"a", 80), (None, 80), frozenset("a"), object()),
]
NO_KEYS: list[tuple[Any, type[Exception]]] = [
    *[(text, InvalidKey) for text in ("\ud800", "a\udfff", "\udc80" * 1000)],
    *[(1 << 63, InvalidKey), (-(1 << 63) - 1, InvalidKey), (1 << 100_000, InvalidKey)],
    *[(True, TypeError), (1.5, TypeError), (bytearray(b"a"), TypeError), (("a",), TypeError)],
    *[({}, TypeError), (object(), TypeError), (print, TypeError), (None, MissingKey)],
]
NO_IDENTITIES: list[Callable[[Any], Any]] = [
    lambda _: None,
    lambda _: 1.5,
    lambda _: True,
    lambda _: bytearray(b"a"),
    lambda _: ["a"],
    lambda _: "\ud800",
    lambda backend: backend.missing,
    lambda backend: backend[10**9],
]


@pytest.mark.parametrize("kind", HASHED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("pair", SAME_NAME, ids=repr)
def test_two_backends_of_one_name_are_refused(kind: Kind, pair: tuple[object, object]) -> None:
    for first, second in (pair, pair[::-1]):
        balancer = kind.make([first, "another"])
        owners = {key: balancer.pick(key) for key in range(50)}
        with pytest.raises(DuplicateBackend):
            balancer.put(second)
        assert [*balancer.weights] == [first, "another"]
        assert {key: balancer.pick(key) for key in range(50)} == owners
        with pytest.raises(DuplicateBackend):
            kind.make([first, second])
        with pytest.raises(DuplicateBackend):
            LearnedSessions(Pool(RoundRobin([first, second])))


@pytest.mark.parametrize("kind", HASHED, ids=lambda kind: kind.name)
def test_strange_names_are_different_names(kind: Kind) -> None:
    balancer = kind.make(STRANGE_NAMES)
    picked = {balancer.pick(key) for key in range(3000)}
    assert len(picked) > len(STRANGE_NAMES) / 2
    assert picked <= {*STRANGE_NAMES}
    alone = kind.make(STRANGE_NAMES)
    assert all(alone.pick(key) == balancer.pick(key) for key in range(200))


@pytest.mark.parametrize("kind", HASHED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("backend", NO_NAMES, ids=shown)
def test_a_backend_without_a_name_is_refused_and_changes_nothing(
    kind: Kind, backend: object
) -> None:
    balancer = kind.make(["a", "b"])
    before = {key: balancer.pick(key) for key in range(50)}
    with pytest.raises((TypeError, BalancersError)):
        balancer.put(backend)
    assert [*balancer.weights] == ["a", "b"]
    assert {key: balancer.pick(key) for key in range(50)} == before


@pytest.mark.parametrize("identity", NO_IDENTITIES)
@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.name)
def test_an_identity_that_returns_no_name_changes_nothing(
    kind: Kind, identity: Callable[[Any], Any]
) -> None:
    def named(backend: object) -> Any:
        return backend if backend in {"a", "b"} else identity(backend)

    balancer = kind.make(["a", "b"], identity=named)
    before = {key: balancer.pick(key) for key in range(50)}
    with pytest.raises((TypeError, BalancersError, AttributeError, IndexError)):
        balancer.put("c")
    assert [*balancer.weights] == ["a", "b"]
    assert {key: balancer.pick(key) for key in range(50)} == before


def test_two_pairs_of_a_host_and_a_port_never_have_one_name() -> None:
    rng = Random(1)
    hosts = ["", "a", "a:1", ":", "[a]", "[a", "a]", "[::1]", "::1", "[", "]", "[a:1]", "a:", ":a"]
    hosts += ["".join(rng.choice("[]:a1") for _ in range(rng.randrange(8))) for _ in range(200)]
    pairs = [(host, port) for host in dict.fromkeys(hosts) for port in (0, 1, 11, 80, 65535)]
    assert len({name_of(pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize(("key", "error"), NO_KEYS, ids=lambda value: type(value).__name__)
def test_what_is_no_key_raises_a_typed_error(key: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        key_bytes(key)


def test_an_int_that_cannot_be_printed_raises_a_typed_error() -> None:
    huge = 1 << 100_000
    pool = Pool(RoundRobin(["a"]))
    for call, error in (
        (lambda: pool.set_weight("a", huge), InvalidWeight),
        (lambda: pool.acquire(huge), InvalidTime),
        (lambda: FlowKey(huge, "::1", 1, "::1", 2), InvalidKey),
        (lambda: FlowKey("tcp", "::1", huge, "::1", 2), InvalidKey),
        (lambda: ConnectionLimit[str](huge - huge - huge), InvalidSetting),
        (lambda: LearnedSessions(pool, max_sessions=-huge), InvalidSetting),
        (lambda: LearnedSessions(pool, idle_timeout=-huge), InvalidSetting),
        (lambda: HashRing(["a"]).pick(huge), InvalidKey),
    ):
        with pytest.raises(error, match="an int of 10000"):
            call()


def test_no_short_keys_are_equal_but_text_and_its_bytes() -> None:
    texts = ["", "a", "\0", "0", "1", "\x01", "é", "True", "None"]
    numbers = [0, 1, -1, 48, (1 << 63) - 1, -(1 << 63)]
    keys = [*map(key_bytes, texts), *map(key_bytes, numbers)]
    assert all(first != second for first, second in combinations(keys, 2))
