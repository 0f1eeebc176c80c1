"""Computes the 64-bit MurmurHash2 of Austin Appleby.

The values are those of ``std::hash<std::string>`` in libstdc++.
"""

__all__ = ["murmur2"]

_BITS = (1 << 64) - 1
_FACTOR = 0xC6A4A7935BD1E995
_SEED = 0xC70F6907


def murmur2(data: bytes) -> int:
    """Return the 64-bit hash that Envoy calls ``MURMUR_HASH_2``; O(bytes).

    >>> hex(murmur2(b""))
    '0x553e93901e462a6e'
    """
    size = len(data)
    whole = size & ~7
    digest = _SEED ^ (size * _FACTOR & _BITS)
    for start in range(0, whole, 8):
        word = int.from_bytes(data[start : start + 8], "little") * _FACTOR & _BITS
        digest = (digest ^ (_fold(word) * _FACTOR & _BITS)) * _FACTOR & _BITS
    if size > whole:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _BITS
    return _fold(_fold(digest) * _FACTOR & _BITS)


def _fold(word: int) -> int:
    return word ^ (word >> 47)
