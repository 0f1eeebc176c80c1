"""Keys with the same hash under every seed.

The idea is that of J.-P. Aumasson, D. J. Bernstein and M. Boßlet, *Hash-flooding DoS reloaded:
attacks and defenses* (29C3, 2012), here for MurmurHash3 x64_128 and for XXH64.
"""

from itertools import product

__all__ = ["murmur3_keys", "xxhash64_keys"]

_BITS = (1 << 64) - 1
_HIGH = 1 << 63

# MurmurHash3 x64_128 multiplies a word by one of these, rotates it, and multiplies it by the other
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
# XXH64 multiplies an input by the second, and a rotated sum by the first
_PRIME_1, _PRIME_2 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F


def _rotated_left(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _BITS


def _over(word: int, factor: int) -> int:
    """Divide by an odd factor, modulo 2**64."""
    return word * pow(factor, -1, 1 << 64) & _BITS


def _murmur3_block(first: int, second: int) -> bytes:
    """Return the block of which these two words are XORed into the state."""
    first = _over(_rotated_left(_over(first, _C2), 64 - 31), _C1)
    second = _over(_rotated_left(_over(second, _C1), 64 - 33), _C2)
    return first.to_bytes(8, "little") + second.to_bytes(8, "little")


def murmur3_keys(doublings: int) -> list[bytes]:
    """Return ``2 ** doublings`` keys of ``32 * doublings`` bytes with one hash under every seed.

    Each two blocks have two variants with the same effect.  In the first block, bit 36 of the first
    word becomes the highest bit of h1, where carries are lost.  Bit 32 of the second word becomes
    the highest bit of h2, and adding h1 clears it.  The second block clears the bit of h1.
    """
    words = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
    plain = _murmur3_block(*words) * 2
    other = _murmur3_block(words[0] ^ 1 << 36, words[1] ^ 1 << 32)
    other += _murmur3_block(words[0] ^ _HIGH, words[1])
    return [b"".join(parts) for parts in product((plain, other), repeat=doublings)]


def xxhash64_keys(stripes: int) -> list[bytes]:
    """Return ``81 ** stripes`` keys with at most ``16 ** stripes`` hashes under every seed.

    A key has 64 bytes per stripe, in four lanes of two words each.  Each lane has three variants.
    A difference in the first word inverts the highest bit of the sum, which then becomes bit 30.
    The seed decides whether 2**30 was added or subtracted.  The second word undoes one of the two,
    so that the plain lane always has the same effect as one of the two others.
    """
    first, second = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    inverted = first + _over(_HIGH, _PRIME_2) & _BITS
    step = _over((1 << 30) * _PRIME_1 & _BITS, _PRIME_2)
    lane = [(first, second), (inverted, second + step & _BITS), (inverted, second - step & _BITS)]
    groups = [
        b"".join(pair[row].to_bytes(8, "little") for row in (0, 1) for pair in four)
        for four in product(lane, repeat=4)
    ]
    return [b"".join(parts) for parts in product(groups, repeat=stripes)]
