"""Where the weighted ketama of libmemcached and twemproxy puts its points, of whatever names."""

from collections.abc import Iterator, Sequence

import numpy as np

from balancers.interop.ketama.continuum import Live
from balancers.interop.ketama.hashes import md5_words

__all__ = ["POINTS", "counts", "weighted_points"]

POINTS = 160
"""A server, on average."""
_WORDS = 4


def counts(weights: Sequence[int]) -> list[int]:
    """Say how many digests, of four points each, each of some live servers has.

    In floats of 32 bits, which matters: 25 equal servers have 39 each, not 40.

    >>> counts([1] * 25)[:3], counts([17, 8, 13, 10, 2])
    ([39, 39, 39], [68, 31, 52, 40, 7])
    """
    total, servers = np.float32(sum(weights)), np.float32(len(weights))
    shares = np.array(weights, dtype=np.float32) / total
    exact = shares * np.float32(POINTS) / np.float32(_WORDS) * servers
    return [int(count) for count in np.floor(exact)]


def weighted_points(live: Live) -> Iterator[Iterator[int]]:
    """Give the points of each server; none at all for one of very little weight."""
    digests = counts([weight for _, weight in live])
    for (name, _), count in zip(live, digests, strict=True):
        yield (word for at in range(count) for word in md5_words(b"%b-%d" % (name, at)))
