"""SipHash-2-4 (Aumasson and Bernstein, 2012), for tables recorded with it."""

from collections.abc import Callable

__all__ = ["siphash"]

BITS = (1 << 64) - 1
START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def siphash(k0: int, k1: int = 0) -> Callable[[bytes], int]:
    """Return the hash function of this key."""

    def digest(data: bytes) -> int:
        state = [start ^ key for start, key in zip(START, (k0, k1, k0, k1), strict=True)]
        padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
        for at in range(0, len(padded), 8):
            word = int.from_bytes(padded[at : at + 8], "little")
            state[3] ^= word
            rounds(state, 2)
            state[0] ^= word
        state[2] ^= 255
        rounds(state, 4)
        return state[0] ^ state[1] ^ state[2] ^ state[3]

    return digest


def rounds(state: list[int], times: int) -> None:
    a, b, c, d = state
    for _ in range(times):
        a = (a + b) & BITS
        b = rotated(b, 13) ^ a
        a = rotated(a, 32)
        c = (c + d) & BITS
        d = rotated(d, 16) ^ c
        a = (a + d) & BITS
        d = rotated(d, 21) ^ a
        c = (c + b) & BITS
        b = rotated(b, 17) ^ c
        c = rotated(c, 32)
    state[:] = a, b, c, d


def rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & BITS
