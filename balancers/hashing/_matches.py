"""How much of a prompt the caches of engines have.

All lengths in this file are numbers of bytes, and a set of caches is an int with a bit for each.
"""

from collections.abc import Sequence

from balancers.hashing.blocks import WIDTH
from balancers.hashing.hashed_balancer import mix

__all__ = ["WIDTH", "Match", "common", "match_of", "placed_by"]

Match = tuple[int, int]
"""The length of a beginning of a prompt, and the set of the caches that have it."""


def common(matches: Sequence[Match]) -> int:
    """Return how much of a prompt more than half of the caches have; O(matches)."""
    half = matches[0][1].bit_count() >> 1
    return max((length for length, caches in matches if caches.bit_count() > half), default=0)


def match_of(number: int, matches: Sequence[Match]) -> int:
    """Return how much of a prompt a cache has, or 0 if it is not in the set; O(matches)."""
    for length, caches in reversed(matches):
        if caches >> number & 1:
            return length
    return 0


def placed_by(blocks: bytes, matches: Sequence[Match], new: bool) -> int:
    """Return a hash of the block that decides where a prompt goes; O(matches).

    Of a new prompt it is the first one that no cache has, and of others the first one that half of
    the caches, or more, do not have.
    """
    place = min(matches[-1][0] if new else common(matches), len(blocks) - WIDTH)
    return mix(int.from_bytes(blocks[place : place + WIDTH], "little"))
