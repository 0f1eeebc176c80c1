"""Computes the points of weighted ketama, as libmemcached and twemproxy do."""

from collections.abc import Iterator, Sequence

import numpy as np

from balancers.interop.ketama.continuum import Live
from balancers.interop.ketama.hashes import md5_words

__all__ = ["WEIGHTED_POINTS", "digest_counts", "weighted_points"]

WEIGHTED_POINTS = 160
"""The average number of points per server."""
_POINTS_PER_DIGEST = 4


def digest_counts(weights: Sequence[int]) -> list[int]:
    """Return the number of MD5 digests of each live server.

    Each digest gives four points.  The clients compute this number with 32-bit floats, so it can
    differ from the exact number.  For example, each of 25 equal servers has 39 digests, not 40.

    >>> digest_counts([1] * 25)[:3], digest_counts([17, 8, 13, 10, 2])
    ([39, 39, 39], [68, 31, 52, 40, 7])
    """
    total, servers = np.float32(sum(weights)), np.float32(len(weights))
    shares = np.array(weights, dtype=np.float32) / total
    exact = shares * np.float32(WEIGHTED_POINTS) / np.float32(_POINTS_PER_DIGEST) * servers
    return [int(count) for count in np.floor(exact)]


def weighted_points(live: Live) -> Iterator[Iterator[int]]:
    """Return the points of each server.

    A server with a very low weight has no points.
    """
    counts = digest_counts([weight for _, weight in live])
    for (name, _), count in zip(live, counts, strict=True):
        yield (word for number in range(count) for word in md5_words(b"%b-%d" % (name, number)))
