"""The points of weighted ketama in libmemcached and twemproxy."""

from collections.abc import Iterator, Sequence

import numpy as np

from balancers.interop.ketama.continuum import Live
from balancers.interop.ketama.hashes import md5_words

__all__ = ["WEIGHTED_POINTS", "digest_counts", "weighted_points"]

WEIGHTED_POINTS = 160
"""Points per server, on average."""
_POINTS_PER_DIGEST = 4


def digest_counts(weights: Sequence[int]) -> list[int]:
    """Return the number of MD5 digests, of four points each, of each live server.

    The clients compute with 32-bit floats, which changes results: 25 equal servers have 39 digests
    each, not 40.

    >>> digest_counts([1] * 25)[:3], digest_counts([17, 8, 13, 10, 2])
    ([39, 39, 39], [68, 31, 52, 40, 7])
    """
    total, servers = np.float32(sum(weights)), np.float32(len(weights))
    shares = np.array(weights, dtype=np.float32) / total
    exact = shares * np.float32(WEIGHTED_POINTS) / np.float32(_POINTS_PER_DIGEST) * servers
    return [int(count) for count in np.floor(exact)]


def weighted_points(live: Live) -> Iterator[Iterator[int]]:
    """Return the points of each server; a server of very little weight has none."""
    counts = digest_counts([weight for _, weight in live])
    for (name, _), count in zip(live, counts, strict=True):
        yield (word for number in range(count) for word in md5_words(b"%b-%d" % (name, number)))
