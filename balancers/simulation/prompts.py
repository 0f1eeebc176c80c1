"""Defines requests to language models: their tokens, and the blocks that their prompts share."""

from collections.abc import Iterable, Mapping, Sequence
from struct import pack
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.simulation._recorded import check_range, int_between
from balancers.simulation.request_keys import RecordedKeys

__all__ = ["MOST_TOKENS", "Prompt", "RecordedPrompts"]

MOST_TOKENS = 1 << 31
"""The most tokens of a prompt, of an output or of a block."""
_LEAST, _BITS = -1 << 63, (1 << 64) - 1
"""The least and the greatest number of a block."""


class Prompt(NamedTuple):
    """A request to a language model.

    ``tokens`` is the length of the prompt, and ``output`` the length of the answer, both in tokens.
    ``blocks`` has one int for each block of the prompt, the last of which may be a part of a block.
    Equal ints mean that the prompts are equal up to the end of this block.

    >>> Prompt(tokens=1000, output=50, blocks=(7, 8))
    Prompt(tokens=1000, output=50, blocks=(7, 8))
    """

    tokens: int
    output: int
    blocks: tuple[int, ...] = ()


class RecordedPrompts:
    r"""Recorded requests to language models, for servers that are an :class:`LLMEngine`.

    ``prompts`` are :class:`Prompt` objects or tuples like them, and ``block`` is the number of
    tokens in a block.  The object takes the place of the ``service`` of a simulation.

    >>> prompts = RecordedPrompts([Prompt(1000, 50, (7, 8)), Prompt(500, 2, (7,))], block=512)
    >>> len(prompts), prompts.prefixes.keys[1]
    (2, b'\x07\x00\x00\x00\x00\x00\x00\x00')

    Raises InvalidSetting for numbers of tokens that are not ints from 1 to 2³¹, for more blocks
    than the prompt has, for blocks that are not ints of 64 bits, and if there are no prompts.
    Raises TypeError for other objects.
    """

    __slots__ = ("block", "prompts")

    block: int
    """The number of tokens in a block."""
    prompts: tuple[Prompt, ...]
    """The requests."""

    def __init__(self, prompts: Iterable[Prompt], *, block: int = 512) -> None:
        int_between("block", block, 1, MOST_TOKENS)
        given: object = prompts
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise TypeError(f"prompts must be an iterable of prompts, not {shown(prompts)}")
        listed = tuple(_checked(f"prompts[{n}]", each, block) for n, each in enumerate(prompts))
        if not listed:
            raise InvalidSetting("prompts must contain at least one prompt")
        self.block = block
        self.prompts = listed

    @property
    def prefixes(self) -> RecordedKeys:
        """The blocks of each prompt as a key for :class:`~balancers.hashing.PrefixAffinity`.

        The key has 8 bytes for each block, in little-endian order.  O(blocks).
        """
        return RecordedKeys(
            pack(f"<{len(prompt.blocks)}Q", *(block & _BITS for block in prompt.blocks))
            for prompt in self.prompts
        )

    @property
    def mean(self) -> None:
        """None, because how long a request takes depends on the engine and on other requests."""
        return

    def __len__(self) -> int:
        return len(self.prompts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordedPrompts):
            return NotImplemented
        return (self.block, self.prompts) == (other.block, other.prompts)

    def __hash__(self) -> int:
        return hash((self.block, self.prompts))

    def __repr__(self) -> str:
        return f"<RecordedPrompts: {len(self)} prompts, blocks of {self.block} tokens>"

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return zeros, because the work of the requests is not a number of seconds; O(count).

        Raises InvalidSetting if fewer prompts are recorded.
        """
        del rng
        check_range("prompts", len(self.prompts), start, count)
        return np.zeros(count)


def _checked(label: str, prompt: Any, block: int) -> Prompt:
    """Return the prompt, with its blocks as a tuple of ints.  Raises InvalidSetting, TypeError."""
    given: object = prompt
    if not isinstance(given, tuple | list) or not 2 <= len(cast("Sequence[Any]", given)) <= 3:  # noqa: PLR2004 - the blocks may be missing
        raise TypeError(f"{label} must be a Prompt, not {shown(prompt)}")
    tokens, output, *rest = cast("Sequence[Any]", given)
    int_between(f"the tokens of {label}", tokens, 1, MOST_TOKENS)
    int_between(f"the output of {label}", output, 1, MOST_TOKENS)
    blocks: Any = rest[0] if rest else ()
    if isinstance(blocks, np.ndarray):
        blocks = blocks.tolist()
    if not isinstance(blocks, tuple | list):
        raise TypeError(f"the blocks of {label} must be a tuple of ints, not {shown(blocks)}")
    ids = tuple(cast("Sequence[Any]", blocks))
    for each in ids:
        if type(each) is not int or not _LEAST <= each <= _BITS:
            raise InvalidSetting(
                f"the blocks of {label} must be ints of 64 bits, not {shown(each)}"
            )
    if len(ids) > -(-tokens // block):
        raise InvalidSetting(
            f"{label} has {len(ids)} blocks, but {tokens} tokens are only {-(-tokens // block)}"
        )
    return Prompt(tokens, output, ids)
