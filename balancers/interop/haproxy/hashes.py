"""HAProxy's functions from bytes to 32 bits, and the avalanche that may follow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from balancers.errors import InvalidSetting

__all__ = ["BITS", "Hash", "address_words", "avalanche", "crc32", "djb2", "mixed", "sdbm", "wt6"]

BITS = 0xFFFFFFFF


def sdbm(data: bytes) -> int:
    """Hash as ``sdbm``, HAProxy's default.

    >>> hex(sdbm(b"ab"))
    '0x611841'
    """
    value = 0
    for byte in data:
        value = (value * 65599 + byte) & BITS
    return value


def djb2(data: bytes) -> int:
    """Hash as ``djb2``.

    >>> hex(djb2(b"ab"))
    '0x597728'
    """
    value = 5381
    for byte in data:
        value = (value * 33 + byte) & BITS
    return value


def wt6(data: bytes) -> int:
    """Hash as ``wt6``, William Tang's: two words that turn by what they hold.

    >>> hex(wt6(b""))
    '0xf99a0360'
    """
    a, b = 0xA53C965A, 0x5CA6953A
    turn_b, turn_a = 6, 18
    for byte in data:
        a, b = ~(a ^ byte) & BITS, ~(b + byte) & BITS
        a, b = _turned(b, turn_b), _turned(a, turn_a)
        turns = ((a >> 16) ^ b) & 0xFFFF
        turn_b, turn_a = turns & 31, turns >> 11
    return a ^ b


def address_words(data: bytes) -> int:
    """Fold an address, as ``balance source`` does whatever the function named in ``hash-type``.

    The exclusive or of its big-endian words of 4 bytes; what is left at the end does not count.

    >>> hex(address_words(bytes([10, 0, 0, 1])))
    '0xa000001'
    """
    value = 0
    for start in range(0, len(data) - 3, 4):
        value ^= int.from_bytes(data[start : start + 4], "big")
    return value


def avalanche(value: int) -> int:
    """Spread 32 bits: Bob Jenkins' full avalanche, and a multiplication; a bijection.

    >>> hex(avalanche(0))
    '0xab4ed927'
    """
    spread: int = mixed(value & BITS)
    return spread


def mixed(a: Any) -> Any:
    """Do the same to an int of 32 bits, or to an array of such in ``uint64``."""
    a = (a + 0x7ED55D16 + (a << 12)) & BITS
    a = a ^ 0xC761C23C ^ (a >> 19)
    a = (a + 0x165667B1 + (a << 5)) & BITS
    a = ((a + 0xD3A2646C) ^ (a << 9)) & BITS
    a = (a + 0xFD7046C5 + (a << 3)) & BITS
    a = a ^ 0xB55A4F09 ^ (a >> 16)
    return (a * 3221225473) & BITS


@dataclass(frozen=True, slots=True)
class Hash:
    """What ``hash-type`` says after the method: a function, and whether an avalanche follows.

    >>> Hash(djb2, avalanche=True)(b"ab") == avalanche(djb2(b"ab"))
    True

    Picklable.  Raises TypeError for no function, InvalidSetting for an avalanche that is no bool.
    """

    function: Callable[[bytes], int] = sdbm
    avalanche: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"a function of bytes is needed, not {self.function!r}")
        if not isinstance(self.avalanche, bool):
            raise InvalidSetting(f"avalanche must be a bool, not {self.avalanche!r}")

    def __call__(self, data: bytes) -> int:
        """Hash to 32 bits; O(bytes)."""
        value = self.function(data) & BITS
        return avalanche(value) if self.avalanche else value


def _turned(word: int, turn: int) -> int:
    return ((word << turn) | (word >> (32 - turn))) & BITS
