"""The digests of the blocks of a prompt."""

import struct
from array import array
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidKey, InvalidSetting
from balancers.hashing import chain
from balancers.hashing.hashed_balancer import mix

BITS = (1 << 64) - 1
words = st.integers(-(1 << 63), BITS)


def one_by_one(tokens: list[int], block: int, salt: int) -> bytes:
    """Return the same digests, computed by a loop over blocks."""
    golden, factor = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95
    places = [mix((block + (place + 1) * golden) & BITS) | 1 for place in range(block)]
    state = mix(salt ^ mix(block))
    digests: list[int] = []
    for start in range(0, len(tokens) - block + 1, block):
        content = sum(t * p for t, p in zip(tokens[start : start + block], places, strict=True))
        state = (state * factor + mix(content & BITS)) & BITS
        digests.append(mix(state))
    return struct.pack(f"<{len(digests)}Q", *digests)


@given(st.lists(words, max_size=40), st.integers(1, 9), st.integers(0, BITS))
def test_one_pass_has_the_digests_of_a_loop(tokens: list[int], block: int, salt: int) -> None:
    assert chain(tokens, block=block, salt=salt) == one_by_one(tokens, block, salt)


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30))
def test_digests_are_equal_up_to_the_first_different_block(
    tokens: list[int], others: list[int]
) -> None:
    """Also for the same content at another place, and in another order."""
    first, second = chain(tokens, block=3), chain(others, block=3)
    for end in range(8, min(len(first), len(second)) + 1, 8):
        length = end // 8 * 3
        same = tokens[:length] == others[:length]
        assert (first[end - 8 : end] == second[end - 8 : end]) is same
        assert (first[:end] == second[:end]) is same
    assert len({first[place : place + 8] for place in range(0, len(first), 8)}) == len(first) // 8


def test_every_kind_of_sequence_has_the_same_digests() -> None:
    expected = chain([*range(100)])
    kinds: list[Any] = [
        range(100),
        tuple(range(100)),
        array("i", range(100)),
        bytes(range(100)),
        bytearray(range(100)),
        *(np.arange(100, dtype=kind) for kind in ("i1", "u1", "<i4", ">i8", "u8")),
        np.arange(200)[::2] // 2,
        [np.int64(token) for token in range(100)],
    ]
    for tokens in kinds:
        assert chain(tokens) == expected, type(tokens)
    assert chain([-1] * 16) == chain([BITS] * 16) == chain(np.full(16, -1))


def test_incomplete_blocks_and_those_beyond_the_limit_are_left_out() -> None:
    whole = chain(range(4096))
    assert len(whole) == 256 * 8
    assert chain(range(10_000)) == whole == chain(np.arange(10_000))
    assert chain(range(4111), max_blocks=300)[: len(whole)] == whole
    assert chain(range(63), max_blocks=2) == chain(range(32)) == whole[:16]
    assert chain(range(15)) == chain([]) == chain(b"") == chain(np.array([], dtype=int)) == b""
    assert chain([1], block=1 << 40) == b""


def test_block_and_salt_change_every_digest() -> None:
    keys = [
        chain(range(640), block=block, salt=salt, max_blocks=40)
        for block in (1, 2, 15, 16)
        for salt in (0, 1, 2, BITS)
    ]
    digests = [key[place : place + 8] for key in keys for place in range(0, len(key), 8)]
    assert len({*digests}) == len(digests)


def test_the_bits_of_digests_are_balanced() -> None:
    """Each bit is set in half of 20 000 digests, within 5 standard deviations, and none repeats."""
    rng = Random(1)
    keys = [chain([rng.randrange(5) for _ in range(32)] + [n]) for n in range(10_000)]
    keys += [chain([n, *range(31)]) for n in range(10_000)]
    digests = np.array([struct.unpack("<2Q", key[:16])[1] for key in keys], dtype=np.uint64)
    assert len({*digests.tolist()}) == len(digests)
    for bit in range(64):
        ones = int(((digests >> np.uint64(bit)) & np.uint64(1)).sum())
        assert abs(ones - 10_000) < 5 * 71, bit


BAD: list[Any] = [
    "text" * 9, None, 7, 1.5, {1, 2}, {1: 2}, iter([1]), ["a"] * 16, [1.5] * 16, [None] * 16,
    [1 << 64] * 16, [-(1 << 63) - 1] * 16, [10**5000] * 16, np.ones(20),
    np.ones((4, 16), dtype=int),
    np.array(7), np.ones(16, dtype=bool), np.array(["a"] * 16),
]  # fmt: skip


@pytest.mark.parametrize("tokens", BAD, ids=lambda tokens: type(tokens).__name__)
def test_tokens_that_are_no_integers_are_refused(tokens: Any) -> None:
    with pytest.raises(InvalidKey):
        chain(tokens)


@pytest.mark.parametrize(
    "settings",
    [
        {"block": 0}, {"block": -1}, {"block": 1.0}, {"block": True}, {"max_blocks": 0},
        {"salt": -1}, {"salt": 1 << 64}, {"salt": "a"}, {"salt": 1.0}, {"salt": None},
    ],
    ids=str,
)  # fmt: skip
def test_settings_outside_their_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        chain(range(100), **settings)
