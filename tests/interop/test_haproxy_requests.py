"""The keys and hashes of HAProxy requests; the expected values are from the program itself."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidKey
from balancers.interop import haproxy
from balancers.interop.haproxy import Hash


@given(st.binary(max_size=30), st.integers(0, 12), st.integers(0, 4), st.booleans())
def test_a_uri_is_cut_at_the_first_limit(
    noise: bytes, length: int, depth: int, whole: bool
) -> None:
    target = b"/" + bytes(b"/?ab"[byte % 4] for byte in noise)
    kept, slashes = b"", 0
    for byte in target:
        slashes += byte == ord("/")
        stopped = (depth and slashes > depth) or (byte == ord("?") and not whole)
        if stopped or (length and len(kept) == length):
            break
        kept += bytes([byte])
    assert haproxy.uri(target, length, depth, whole) == kept
    absolute = b"https://host:80" + target
    assert haproxy.uri(absolute, length, depth, whole, path_only=True) == kept


@pytest.mark.parametrize(
    ("lines", "key", "sample"),
    [
        ([], None, None),
        ([""], None, b""),
        ([", abc"], None, b"abc"),
        (["", "abc"], None, b"abc"),
        (["\tabc\t,x"], b"abc", b"x"),
        (['"a,b",c'], b'"a,b"', b"c"),
        (['"a\\",b",c'], b'"a\\",b"', b"c"),
        (['"a,b'], b'"a,b', b'"a,b'),
        (["a,", "b"], b"a", b"b"),
    ],
)
def test_a_header_is_split_at_commas_outside_quotes(
    lines: list[str], key: bytes | None, sample: bytes | None
) -> None:
    assert haproxy.hdr(*lines) == key
    assert haproxy.req_hdr(*lines) == sample


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("www.a.com", b"a"),
        ("a.com:80", b"a"),
        ("shop", b"shop"),
        (".com", b".com"),
        ("a.com.", b"com"),
        ("a..com", b"a."),
        ("", None),
    ],
)
def test_the_domain_is_the_label_before_the_last_dot(host: str, label: bytes | None) -> None:
    assert haproxy.hdr(host, domain_only=True) == label


def test_a_parameter_without_a_value_is_a_key_and_one_without_an_equals_sign_is_not() -> None:
    assert haproxy.url_param("/p?id=&id=foo", "id") == b""
    assert haproxy.url_param("/p?id&x=1", "id") is None
    assert haproxy.url_param("/p?xid=1&id=a;b%20+", "id") == b"a;b%20+"
    assert haproxy.url_param("/id=3", "id") is None


def test_the_hash_of_an_address_is_the_xor_of_its_words() -> None:
    assert haproxy.address_words(haproxy.source("2001:db8::5")) == 0x20010DB8 ^ 5
    assert Hash(haproxy.address_words)(haproxy.source("1.2.3.4")) == 0x01020304
    with pytest.raises(InvalidKey):
        haproxy.source("localhost")


@given(st.lists(st.integers(0, (1 << 32) - 1), unique=True))
def test_the_avalanche_is_a_bijection(values: list[int]) -> None:
    spread = {haproxy.avalanche(value) for value in values}
    assert len(spread) == len(values)
    assert all(0 <= value < 1 << 32 for value in spread)


@pytest.mark.parametrize(
    ("function", "hashed", "spread"),
    [
        (haproxy.sdbm, 0x789CB0ED, 0x54ABF669),
        (haproxy.djb2, 0x45C1CDA4, 0x05921373),
        (haproxy.wt6, 0x2E68DC4F, 0x61A2D61A),
        (haproxy.crc32, 0x646F0D86, 0x83AC1F9A),
    ],
)
def test_a_known_key_has_the_known_hash(
    function: Callable[[bytes], int], hashed: int, spread: int
) -> None:
    assert Hash(function)(b"user:42") == hashed
    assert Hash(function, avalanche=True)(b"user:42") == spread
