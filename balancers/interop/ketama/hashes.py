"""Computes the 32-bit hash functions of memcached clients.

The values are those of clients that were built for x86.
"""

from binascii import crc_hqx
from collections.abc import Callable
from hashlib import md5
from zlib import crc32

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting

__all__ = ["LIBMEMCACHED", "TWEMPROXY", "Hash32", "TaggedHash", "hash_named", "md5_words"]

Hash32 = Callable[[bytes], int]
"""A function that returns the 32-bit hash of bytes."""

_WORD = 0xFFFFFFFF
_FNV_PRIME = 0x01000193
_FNV_OFFSET = 0x811C9DC5
_FNV_64_PRIME = 0x000001B3
_FNV_64_OFFSET = 0x84222325
"""The lower half of the 64-bit offset of FNV.  With the lower half of the prime, it is enough to
compute the lower half of a hash."""
_NEGATIVE = 0x80
_SIGN = 0xFFFFFF00
_CRC16_TABLE = tuple(crc_hqx(bytes([byte]), 0) for byte in range(256))


def _signed(byte: int) -> int:
    """Convert a C ``char`` to 32 bits.

    On x86 a ``char`` is signed, so a byte of 128 or more is a negative number.
    """
    return byte | _SIGN if byte & _NEGATIVE else byte


def one_at_a_time(data: bytes) -> int:
    """Return the one-at-a-time hash of Bob Jenkins.  Each byte is a signed char.

    >>> hex(one_at_a_time(b"a"))
    '0xca2e9442'
    """
    value = 0
    for byte in data:
        value = (value + _signed(byte)) * 1025 & _WORD
        value ^= value >> 6
    value = value * 9 & _WORD
    value ^= value >> 11
    return value * 32769 & _WORD


def _fnv1(data: bytes, value: int, prime: int) -> int:
    for byte in data:
        value = value * prime & _WORD ^ _signed(byte)
    return value


def _fnv1a(data: bytes, value: int, prime: int) -> int:
    for byte in data:
        value = (value ^ _signed(byte)) * prime & _WORD
    return value


def fnv1_32(data: bytes) -> int:
    """Return the 32-bit FNV-1 hash."""
    return _fnv1(data, _FNV_OFFSET, _FNV_PRIME)


def fnv1a_32(data: bytes) -> int:
    """Return the 32-bit FNV-1a hash."""
    return _fnv1a(data, _FNV_OFFSET, _FNV_PRIME)


def fnv1_64(data: bytes) -> int:
    """Return the lower half of the 64-bit FNV-1 hash."""
    return _fnv1(data, _FNV_64_OFFSET, _FNV_64_PRIME)


def fnv1a_64(data: bytes) -> int:
    """Return the lower half of the 64-bit FNV-1a hash."""
    return _fnv1a(data, _FNV_64_OFFSET, _FNV_64_PRIME)


def md5_words(data: bytes) -> tuple[int, int, int, int]:
    """Return the MD5 of the data as four 32-bit words, which are little-endian."""
    digest = md5(data, usedforsecurity=False).digest()
    one, two, three, four = (
        int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4)
    )
    return one, two, three, four


def md5_word(data: bytes) -> int:
    """Return the first of the four words that :func:`md5_words` returns."""
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:4], "little")


def crc32_short(data: bytes) -> int:
    """Return bits 16 to 30 of the CRC-32."""
    return crc32(data) >> 16 & 0x7FFF


def crc16(data: bytes) -> int:
    """Return a 32-bit number whose lower 16 bits are the CRC-16/XMODEM.

    The client does not reduce the state to 16 bits, so the upper bits are not always 0.
    """
    value = 0
    for byte in data:
        value = value << 8 & _WORD ^ _CRC16_TABLE[(value >> 8 ^ byte) & 0xFF]
    return value


_COMMON: dict[str, Hash32] = {
    "md5": md5_word,
    "fnv1_32": fnv1_32,
    "fnv1a_32": fnv1a_32,
    "fnv1_64": fnv1_64,
    "fnv1a_64": fnv1a_64,
}
LIBMEMCACHED: dict[str, Hash32] = {"default": one_at_a_time, "crc": crc32_short, **_COMMON}
"""Maps the name of a hash function in pylibmc to the function of libmemcached."""
TWEMPROXY: dict[str, Hash32] = {
    "one_at_a_time": one_at_a_time,
    "crc16": crc16,
    "crc32": crc32_short,
    "crc32a": crc32,
    **_COMMON,
}
"""Maps the name of a hash function in twemproxy's configuration to the function."""


def hash_named(functions: dict[str, Hash32], name: str) -> Hash32:
    """Return the hash function with this name.

    Raises InvalidSetting for an unknown name.
    """
    if name not in functions:
        raise InvalidSetting(
            f"hash must be one of {', '.join(sorted(functions))}, not {shown(name)}"
        )
    return functions[name]


class TaggedHash:
    """Hashes only a part of a key: the tag.

    The tag is the text between the first opening mark and the next closing mark.  If a key has no
    tag, or if its tag is empty, the whole key is hashed.

    >>> TaggedHash(len, "{}")(b"user:{42}:name"), TaggedHash(len, "{}")(b"user:{}")
    (2, 7)
    """

    __slots__ = ("_hash", "_marks")

    def __init__(self, function: Hash32, marks: str) -> None:
        self._hash = function
        self._marks = marks.encode()

    def __call__(self, data: bytes) -> int:
        """Return the hash of a key; O(bytes)."""
        _, _, rest = data.partition(self._marks[:1])
        tag, closed, _ = rest.partition(self._marks[1:])
        return self._hash(tag if closed and tag else data)
