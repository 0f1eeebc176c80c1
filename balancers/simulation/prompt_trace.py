"""Reads recorded requests to language models, and makes those of agents."""

from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, log
from random import Random
from typing import Any

from balancers._internal.checks import checked_rng, shown
from balancers.errors import InvalidSetting
from balancers.simulation._recorded import int_between, mean_seconds, request_rate
from balancers.simulation._rows import ids_of, number_of, timed_rows
from balancers.simulation.arrivals import RecordedTimes
from balancers.simulation.prompts import MOST_TOKENS, Prompt, RecordedPrompts
from balancers.simulation.request_keys import RecordedKeys

__all__ = ["PromptTrace", "agent_prompts", "read_prompts"]

_MOST_SESSIONS = 1 << 24
_SYSTEM, _DOCUMENT, _SESSION = -1, 0, 1 << 24
"""The first numbers of what blocks belong to: the system prompt, documents, sessions."""
_OF_ONE = 1 << 32
"""More blocks than one text has."""


@dataclass(frozen=True, slots=True, repr=False)
class PromptTrace:
    """Requests to language models: when they arrive, their prompts, and their sessions.

    :func:`read_prompts` makes it from a file, and :func:`agent_prompts` at random.  ``arrivals``
    and ``service`` are those of a simulation.  Its ``keys`` are either ``prefixes``, for a balancer
    that knows the prefixes of prompts, or ``sessions``, for one that keeps each session on its
    backend.  ``sessions`` is None if they are not known.

    >>> prompts = RecordedPrompts([Prompt(900, 10, (0, 7)), Prompt(80, 9)])
    >>> trace = PromptTrace(RecordedTimes([0.0, 0.5]), prompts)
    >>> len(trace), trace.sessions, len(trace.prefixes.keys[0])
    (2, None, 16)

    Raises InvalidSetting if they do not have the same length, and TypeError for other objects.
    """

    arrivals: RecordedTimes
    service: RecordedPrompts
    sessions: RecordedKeys | None = None

    def __post_init__(self) -> None:
        parts: dict[str, Any] = {"arrivals": RecordedTimes, "service": RecordedPrompts}
        if self.sessions is not None:
            parts["sessions"] = RecordedKeys
        for name, kind in parts.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be {kind.__name__}, not {shown(getattr(self, name))}")
        lengths = [len(getattr(self, name)) for name in parts]
        if len(set(lengths)) > 1:
            raise InvalidSetting(
                f"{', '.join(parts)} must have the same length, not {', '.join(map(str, lengths))}"
            )

    @property
    def prefixes(self) -> RecordedKeys:
        """The blocks of each prompt as a key of bytes; see :class:`RecordedPrompts`."""
        return self.service.prefixes

    def __len__(self) -> int:
        return len(self.arrivals)

    def __repr__(self) -> str:
        return f"<PromptTrace: {len(self)} requests in {self.arrivals.times[-1]:.6g} s>"


def read_prompts(
    rows: Iterable[str | bytes | Mapping[str, Any]], *, speedup: float = 1.0, block: int = 512
) -> PromptTrace:
    """Return the requests of a trace of the shape that Mooncake published (FAST 2025); O(blocks).

    ``rows`` are lines of JSON, for example an open file, or mappings.  Each row has a ``timestamp``
    in milliseconds since the start, ``input_length`` and ``output_length`` in tokens, and
    ``hash_ids``, one int per block of ``block`` tokens of the input.  Equal ids mean that the
    inputs are equal up to the end of that block.  Empty lines are ignored.  ``speedup`` divides the
    times of arrival.

    >>> trace = read_prompts(
    ...     ['{"timestamp": 0, "input_length": 900, "output_length": 10, "hash_ids": [0, 7]}',
    ...      '{"timestamp": 500, "input_length": 100, "output_length": 50, "hash_ids": [0]}'],
    ...     speedup=2)
    >>> trace.arrivals.times, trace.service.prompts[0]
    ((0.0, 0.25), Prompt(tokens=900, output=10, blocks=(0, 7)))

    Raises InvalidSetting, with the number of the row from 1, for a row that is not of this shape,
    for times that are not in ascending order, and if there are no rows.  The same numbers of tokens
    and blocks are refused as by :class:`RecordedPrompts`.  Raises TypeError if ``rows`` is one
    string, for example the name of a file.
    """
    timed = timed_rows(rows, speedup)
    int_between("block", block, 1, MOST_TOKENS)
    times: list[float] = []
    prompts: list[Prompt] = []
    for place, time, fields in timed:
        lengths: list[int] = []
        for name in ("input_length", "output_length"):
            length = number_of(place, fields, name)
            if not 1 <= length <= MOST_TOKENS or length % 1:
                raise InvalidSetting(
                    f"row {place}: {name} must be an int, 1 to {MOST_TOKENS}, not {length}"
                )
            lengths.append(int(length))
        ids = tuple(ids_of(place, fields))
        for each in ids:
            if type(each) is not int:
                raise InvalidSetting(f"row {place}: hash_ids must be ints, not {shown(each)}")
        if len(ids) > -(-lengths[0] // block):
            raise InvalidSetting(
                f"row {place}: {len(ids)} hash_ids are too many for {lengths[0]} tokens"
            )
        times.append(time)
        prompts.append(Prompt(lengths[0], lengths[1], ids))
    return PromptTrace(RecordedTimes(times), RecordedPrompts(prompts, block=block))


def agent_prompts(
    rng: Random,
    *,
    sessions: int,
    rate: float,
    turns: int = 8,
    pause: float = 20.0,
    system: int = 2048,
    documents: int = 16,
    document: int = 4096,
    question: int = 400,
    output: int = 200,
    block: int = 512,
) -> PromptTrace:
    """Return synthetic requests of agents, whose prompts grow from turn to turn; O(blocks).

    All prompts begin with the same system prompt of ``system`` tokens, and then with one of
    ``documents`` texts of ``document`` tokens each, of which the k-th is chosen with a probability
    proportional to 1/k.  Then the questions and answers of the session follow.  Sessions begin at
    random with ``rate`` per second, and have ``turns`` turns each.  Before each further turn, there
    is an exponential pause with the mean ``pause`` in seconds.  Questions and answers have an
    exponential number of tokens, with the means ``question`` and ``output``, rounded up.

    The times do not depend on when answers arrive, so that all balancers get the same requests.

    >>> trace = agent_prompts(Random(1), sessions=100, rate=2.0)
    >>> trace, trace.sessions.size
    (<PromptTrace: 800 requests in 397.62 s>, 100)
    >>> len({prompt.blocks[0] for prompt in trace.service.prompts})
    1

    Raises InvalidSetting for numbers that are not ints in their range, and for a ``rate`` or a
    ``pause`` out of range.  Raises TypeError if ``rng`` is not a ``random.Random``.
    """
    draw = checked_rng(rng).random
    request_rate(rate)
    mean_seconds("pause", pause)
    for name, value in (("sessions", sessions), ("turns", turns), ("documents", documents)):
        int_between(name, value, 1, _MOST_SESSIONS)
    texts = {"system": system, "document": document}
    for name, value in {**texts, "question": question, "output": output, "block": block}.items():
        int_between(name, value, 0 if name in texts else 1, MOST_TOKENS)

    def exponential(mean: float) -> float:
        return -mean * log(1 - draw())

    shares = [*accumulate(1 / rank for rank in range(1, documents + 1))]
    shared = _blocks(_SYSTEM, 0, system // block)
    requests: list[tuple[float, int, Prompt]] = []
    begin = 0.0
    for session in range(sessions):
        begin += exponential(1 / rate)
        text = bisect(shares, draw() * shares[-1], hi=documents - 1)
        known = shared + _blocks(_DOCUMENT + text, len(shared), (system + document) // block)
        now, tokens = begin, system + document
        for turn in range(turns):
            tokens += ceil(exponential(question)) or 1
            answer = ceil(exponential(output)) or 1
            known += _blocks(_SESSION + session, len(known), tokens // block)
            rest = (_last(session, turn, turns),) if tokens % block else ()
            requests.append((now, session, Prompt(tokens, answer, known + rest)))
            tokens += answer
            now += exponential(pause)
    requests.sort(key=lambda request: request[:2])
    return PromptTrace(
        RecordedTimes(time for time, _, _ in requests),
        RecordedPrompts((prompt for _, _, prompt in requests), block=block),
        RecordedKeys(session for _, session, _ in requests),
    )


def _blocks(owner: int, start: int, stop: int) -> tuple[int, ...]:
    """Return the ids of the full blocks of a text, from one place up to another one."""
    return tuple(owner * _OF_ONE + place for place in range(start, stop))


def _last(session: int, turn: int, turns: int) -> int:
    """Return the id of the block that the end of a prompt fills in part."""
    return -(2 + session * turns + turn) * _OF_ONE
