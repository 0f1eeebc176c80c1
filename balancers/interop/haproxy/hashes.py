"""The hash functions of HAProxy, with 32 bits, and the avalanche step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from balancers.interop.flags import check_flags

__all__ = [
    "BITS",
    "Hash",
    "address_words",
    "avalanche",
    "avalanche_each",
    "crc32",
    "djb2",
    "sdbm",
    "wt6",
]

BITS = 0xFFFFFFFF


def sdbm(data: bytes) -> int:
    """Return the ``sdbm`` hash, the default of HAProxy.

    >>> hex(sdbm(b"ab"))
    '0x611841'
    """
    value = 0
    for byte in data:
        value = (value * 65599 + byte) & BITS
    return value


def djb2(data: bytes) -> int:
    """Return the ``djb2`` hash.

    >>> hex(djb2(b"ab"))
    '0x597728'
    """
    value = 5381
    for byte in data:
        value = (value * 33 + byte) & BITS
    return value


def wt6(data: bytes) -> int:
    """Return the ``wt6`` hash by William Tang: two words with data-dependent rotations.

    >>> hex(wt6(b""))
    '0xf99a0360'
    """
    a, b = 0xA53C965A, 0x5CA6953A
    shift_b, shift_a = 6, 18
    for byte in data:
        a, b = ~(a ^ byte) & BITS, ~(b + byte) & BITS
        a, b = _rotated(b, shift_b), _rotated(a, shift_a)
        shifts = ((a >> 16) ^ b) & 0xFFFF
        shift_b, shift_a = shifts & 31, shifts >> 11
    return a ^ b


def address_words(data: bytes) -> int:
    """Return the hash of ``balance source``, whichever function ``hash-type`` names.

    It is the XOR of the big-endian 4-byte words of an address; remaining bytes are ignored.

    >>> hex(address_words(bytes([10, 0, 0, 1])))
    '0xa000001'
    """
    value = 0
    for start in range(0, len(data) - 3, 4):
        value ^= int.from_bytes(data[start : start + 4], "big")
    return value


def avalanche(value: int) -> int:
    """Mix 32 bits: Bob Jenkins' full avalanche and a multiplication; a bijection.

    >>> hex(avalanche(0))
    '0xab4ed927'
    """
    mixed: int = avalanche_each(value & BITS)
    return mixed


def avalanche_each(a: Any) -> Any:
    """Apply :func:`avalanche` to a 32-bit int, or to each element of a ``uint64`` array."""
    a = (a + 0x7ED55D16 + (a << 12)) & BITS
    a = a ^ 0xC761C23C ^ (a >> 19)
    a = (a + 0x165667B1 + (a << 5)) & BITS
    a = ((a + 0xD3A2646C) ^ (a << 9)) & BITS
    a = (a + 0xFD7046C5 + (a << 3)) & BITS
    a = a ^ 0xB55A4F09 ^ (a >> 16)
    return (a * 3221225473) & BITS


@dataclass(frozen=True, slots=True)
class Hash:
    """The arguments of ``hash-type`` after the method: a function and an optional avalanche.

    >>> Hash(djb2, avalanche=True)(b"ab") == avalanche(djb2(b"ab"))
    True

    Picklable if the function is.
    Raises TypeError for a ``function`` that is not callable, InvalidSetting for an ``avalanche``
    that is no bool.
    """

    function: Callable[[bytes], int] = sdbm
    avalanche: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be a function of bytes, not {self.function!r}")
        check_flags(avalanche=self.avalanche)

    def __call__(self, data: bytes) -> int:
        """Return the 32-bit hash; O(bytes)."""
        value = self.function(data) & BITS
        return avalanche(value) if self.avalanche else value


def _rotated(word: int, shift: int) -> int:
    return ((word << shift) | (word >> (32 - shift))) & BITS
