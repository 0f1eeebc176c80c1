"""Defines engines of a language model: how long their steps take, and what they have room for."""

from dataclasses import dataclass

from balancers._internal.checks import at_least, number, shown
from balancers.errors import InvalidSetting
from balancers.simulation._recorded import int_between, mean_seconds

__all__ = ["LLMEngine"]

_LONGEST = 1024.0
"""The most seconds for one token or one sequence."""
_MOST = 1 << 40
"""The highest limit of tokens."""
_MOST_SEQUENCES = 1 << 20


@dataclass(frozen=True, slots=True)
class LLMEngine:
    """Describes an engine that serves a language model with continuous batching.

    The engine works in steps.  In each step, every request that decodes gets one more token, and at
    most one prompt is computed further (*prefill*).  A step with d requests that decode and p
    tokens of a prompt takes ``step + d * per_sequence + p * per_token`` seconds, rounded to a grid
    of 2⁻³⁰ seconds.  At most ``batch_tokens`` tokens are in one step, d + p together, so a long
    prompt takes several steps.

    Prompts are computed one after the other, in the order in which they arrived.  The step that
    completes a prompt gives its first output token.  A prompt waits until at most ``sequences``
    requests, itself included, are computed or decode, and until the prompts and outputs of all of
    them together have at most ``kv_tokens`` tokens.  This room stays reserved until the request
    ends.  A request that needs more room than the whole engine has fails at once.

    The cache keeps the blocks of the prompts that were computed last, up to ``cache_tokens``
    tokens.  When a prompt begins, the blocks at its beginning that are in the cache are not
    computed again; at least one token is.  When a prompt is complete, its blocks are the most
    recently used ones, and its last block is the first of them to be evicted.

    >>> engine = LLMEngine()
    >>> engine.sequences, engine.kv_tokens, engine.batch_tokens
    (256, 307328, 8192)
    >>> round(2 * engine.step + 12_000 * engine.per_token, 6)  # a prompt of two steps, alone
    0.786

    The default constants are those of the preset ``H100Qwen32b`` in the benchmark of prequal-rs
    (``llm-bench``, commit 57887a47), for a model of 32 billion parameters on two H100.

    Raises InvalidSetting for a ``step`` outside 2⁻²⁰ to 1024 seconds, for another time outside 0 to
    1024 seconds, for limits that are not ints of 1 or more (``cache_tokens``: 0 or more) or too
    large, and if ``batch_tokens`` is less than ``sequences``.
    """

    step: float = 0.015
    per_sequence: float = 0.0002
    per_token: float = 63e-6
    sequences: int = 256
    kv_tokens: int = 307_328
    batch_tokens: int = 8192
    cache_tokens: int = 307_328

    def __post_init__(self) -> None:
        mean_seconds("step", self.step)
        for name in ("step", "per_sequence", "per_token"):
            seconds = getattr(self, name)
            if not 0 <= number(name, seconds) <= _LONGEST:
                raise InvalidSetting(
                    f"{name} must be at most {_LONGEST:g} seconds, not {shown(seconds)}"
                )
            object.__setattr__(self, name, float(seconds))
        int_between("sequences", self.sequences, 1, _MOST_SEQUENCES)
        int_between("kv_tokens", self.kv_tokens, 1, _MOST)
        int_between("cache_tokens", self.cache_tokens, 0, _MOST)
        at_least(1, batch_tokens=self.batch_tokens)
        int_between("batch_tokens", self.batch_tokens, self.sequences, _MOST)
