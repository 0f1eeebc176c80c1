"""Defines the 32-bit hash functions of HAProxy.

The avalanche, which is a step that mixes the bits of a hash, is also defined here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from balancers._internal.checks import check_flags, shown

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
    """Return the ``sdbm`` hash of the data.  HAProxy uses this function by default.

    >>> hex(sdbm(b"ab"))
    '0x611841'
    """
    value = 0
    for byte in data:
        value = (value * 65599 + byte) & BITS
    return value


def djb2(data: bytes) -> int:
    """Return the ``djb2`` hash of the data.

    >>> hex(djb2(b"ab"))
    '0x597728'
    """
    value = 5381
    for byte in data:
        value = (value * 33 + byte) & BITS
    return value


def wt6(data: bytes) -> int:
    """Return the ``wt6`` hash of the data.

    The function was designed by William Tang.  It rotates two words by numbers of bits that depend
    on the data.

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
    """Return the hash of an address, as ``balance source`` computes it.

    ``balance source`` uses this function even if ``hash-type`` names another function.  The hash is
    the XOR of the big-endian 4-byte words of the address.  Remaining bytes are ignored.

    >>> hex(address_words(bytes([10, 0, 0, 1])))
    '0xa000001'
    """
    value = 0
    for start in range(0, len(data) - 3, 4):
        value ^= int.from_bytes(data[start : start + 4], "big")
    return value


def avalanche(value: int) -> int:
    """Return a 32-bit value with its bits mixed.

    The function applies Bob Jenkins' full avalanche and then a multiplication.  It is a bijection:
    different values have different results.

    >>> hex(avalanche(0))
    '0xab4ed927'
    """
    mixed: int = avalanche_each(value & BITS)
    return mixed


def avalanche_each(a: Any) -> Any:
    """Return :func:`avalanche` of a 32-bit int, or of each element of a ``uint64`` array."""
    a = (a + 0x7ED55D16 + (a << 12)) & BITS
    a = a ^ 0xC761C23C ^ (a >> 19)
    a = (a + 0x165667B1 + (a << 5)) & BITS
    a = ((a + 0xD3A2646C) ^ (a << 9)) & BITS
    a = (a + 0xFD7046C5 + (a << 3)) & BITS
    a = a ^ 0xB55A4F09 ^ (a >> 16)
    return (a * 3221225473) & BITS


@dataclass(frozen=True, slots=True, repr=False)
class Hash:
    """Hashes data by a function and an optional avalanche (a bit-mixing step).

    In the configuration, both are arguments of ``hash-type`` and follow the method.

    >>> Hash(djb2, avalanche=True)(b"ab") == avalanche(djb2(b"ab"))
    True

    An instance can be pickled if its function can be pickled.
    Raises TypeError for a ``function`` that is not callable.  Raises InvalidSetting for an
    ``avalanche`` that is not a bool.
    """

    function: Callable[[bytes], int] = sdbm
    avalanche: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be a function of bytes, not {shown(self.function)}")
        check_flags(avalanche=self.avalanche)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"Hash({name}, avalanche={self.avalanche})"

    def __call__(self, data: bytes) -> int:
        """Return the 32-bit hash of the data; O(bytes)."""
        value = self.function(data) & BITS
        return avalanche(value) if self.avalanche else value


def _rotated(word: int, shift: int) -> int:
    return ((word << shift) | (word >> (32 - shift))) & BITS
