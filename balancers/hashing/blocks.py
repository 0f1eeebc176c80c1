"""Makes the key of a prompt: one 64-bit digest for each block of its tokens.

Two prompts have equal digests up to the block in which they first differ.  An engine of a language
model can reuse what it computed for such a common prefix, if it still has the prefix in its cache.
"""

import struct
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import at_least, shown
from balancers.errors import InvalidKey, InvalidSetting
from balancers.hashing.hashed_balancer import BITS, mix, mix_many, sequence_many

__all__ = ["WIDTH", "chain", "checked_blocks"]

WIDTH = 8
"""The number of bytes of a digest."""
_FACTOR = 0xD1342543DE82EF95
"""Multiplies the state of a chain at each block.  It is odd, so it has an inverse modulo 2⁶⁴."""
_INVERSE = pow(_FACTOR, -1, 1 << 64)


def chain(
    tokens: Sequence[int] | NDArray[Any] | bytes,
    block: int = 16,
    salt: int = 0,
    max_blocks: int = 256,
) -> bytes:
    """Return the key of a prompt for :class:`PrefixAffinity`: the digests of its blocks.

    ``tokens`` are the ids of the prompt's tokens: a sequence of ints of 64 bits, or an array of
    integers of one dimension.  Bytes are allowed too, for a gateway without a tokenizer; then each
    byte is a token.  ``block`` is the number of tokens in a block.  The tokens after the last
    complete block are left out, and so is everything after ``max_blocks`` blocks.

    The digest of a block depends on all tokens up to the end of the block, on ``block`` and on
    ``salt``.  Prompts with equal tokens at the beginning have equal digests there.  Pass another
    ``salt`` (0 to 2⁶⁴ - 1) for each model or adapter, because their caches have nothing in common.

    The result has 8 bytes for each block, in little-endian order.  Other digests can be used as a
    key in the same way, for example those of an engine: ``np.array(ids, dtype="<u8").tobytes()``.

    >>> first, second = chain(range(40)), chain([*range(32), 7, 7, 7])
    >>> len(first), first == second, first == chain(range(33), salt=1)
    (16, True, False)
    >>> chain(range(48))[:16] == first, chain(b"short")
    (True, b'')

    Cost: O(tokens), in one vectorised pass over all blocks.  It is fastest for an array.  The
    digests are no protection against tokens that are constructed to have equal digests.  Such
    tokens can cause a miss in a cache, but no wrong answer.

    Raises InvalidKey if the tokens are not integers of 64 bits in one dimension, and for a str.
    Raises InvalidSetting for ``block`` or ``max_blocks`` below 1, and for a ``salt`` outside its
    range.
    """
    at_least(1, block=block, max_blocks=max_blocks)
    if type(salt) is not int or not 0 <= salt <= BITS:
        raise InvalidSetting(f"salt must be an int, 0 to {BITS}, not {shown(salt)}")
    ids = _as_array(tokens, block * max_blocks)
    count = len(ids) // block
    if not count:
        return b""
    with np.errstate(over="ignore"):
        places = sequence_many(np.uint64(block), np.arange(block, dtype=np.uint64)) | np.uint64(1)
        content = mix_many((ids[: count * block].reshape(count, block) * places).sum(axis=1))
        # The state after block i is seed·f^(i + 1) + Σ content_j·f^(i - j), for all i at once.
        powers, inverses = _powers(_FACTOR, count), _powers(_INVERSE, count)
        seed = np.uint64(mix(salt ^ mix(block)))
        states = powers * (seed + np.cumsum(content * inverses, dtype=np.uint64))
    return mix_many(states).astype("<u8", copy=False).tobytes()


def _powers(factor: int, count: int) -> NDArray[np.uint64]:
    """Return factor¹ to factor^count modulo 2⁶⁴."""
    return np.cumprod(np.full(count, factor, dtype=np.uint64), dtype=np.uint64)


def _as_array(tokens: Any, most: int) -> NDArray[np.uint64]:
    """Return the first ``most`` tokens as an array.  Raises InvalidKey."""
    if isinstance(tokens, bytes | bytearray):
        return np.frombuffer(tokens, dtype=np.uint8)[:most].astype(np.uint64)
    if not isinstance(tokens, np.ndarray):
        if isinstance(tokens, str) or not isinstance(tokens, Sequence):
            raise InvalidKey(f"tokens must be a sequence of ints, not {shown(tokens)}")
        return _of_sequence(cast("Sequence[int]", tokens)[:most])
    array = cast("NDArray[Any]", tokens)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidKey(
            f"tokens must be integers in one dimension, not {array.dtype} of shape {array.shape}"
        )
    return array[:most].astype(np.uint64)


def _of_sequence(tokens: Sequence[int]) -> NDArray[np.uint64]:
    try:
        data = struct.pack(f"<{len(tokens)}q", *tokens)  # faster than np.array (measured)
    except struct.error:  # not all are ints from -2⁶³ to 2⁶³ - 1
        return np.array([_word(token) for token in tokens], dtype=np.uint64)
    return np.frombuffer(data, dtype="<i8").astype(np.uint64)


def _word(token: Any) -> int:
    """Return a token as an int of 64 bits.  Raises InvalidKey."""
    value: int | None = token.__index__() if hasattr(token, "__index__") else None
    if value is None or not -(1 << 63) <= value <= BITS:
        raise InvalidKey(f"a token must be an int of 64 bits, not {shown(token)}")
    return value & BITS


def checked_blocks(blocks: bytes) -> bytes:
    """Return what :func:`chain` returns, if it has the right form.  Raises InvalidKey.

    >>> checked_blocks(bytes(16)) == bytes(16)
    True
    """
    if not isinstance(blocks, bytes) or len(blocks) % WIDTH:
        raise InvalidKey(
            f"blocks must be bytes, {WIDTH} for each, as chain() returns them, not {shown(blocks)}"
        )
    return blocks
