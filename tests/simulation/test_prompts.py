"""Prompts, traces of them, and the synthetic requests of agents."""

import json
from collections import Counter
from copy import deepcopy
from itertools import pairwise
from pickle import dumps, loads
from random import Random
from typing import Any

import numpy as np
import pytest

from balancers.errors import InvalidSetting
from balancers.simulation import (
    Prompt,
    PromptTrace,
    RecordedKeys,
    RecordedPrompts,
    RecordedTimes,
    agent_prompts,
    read_prompts,
)

ROW = {"timestamp": 0, "input_length": 900, "output_length": 10, "hash_ids": [0, 7]}
HUGE = 10**400
HIGH = (1 << 64) - 1


def again(value: Any) -> Any:
    return loads(dumps(value))  # noqa: S301 - our own bytes


def test_prompts_are_copied_compared_and_pickled() -> None:
    prompts = RecordedPrompts([Prompt(5, 1, (1, 2)), Prompt(3, 1)], block=3)
    for copy in (deepcopy(prompts), again(prompts)):
        assert copy == prompts
        assert hash(copy) == hash(prompts)
    assert prompts != RecordedPrompts(prompts.prompts, block=4)
    assert prompts != prompts.prompts


def test_prefixes_are_keys_of_8_bytes_for_each_block() -> None:
    prompts = RecordedPrompts(
        [Prompt(5, 1, (1, 258)), Prompt(3, 1), Prompt(9, 1, (-1, HIGH))], block=3
    )
    expected = [(1, 258), (), (HIGH, HIGH)]
    assert prompts.prefixes.keys == tuple(
        b"".join(block.to_bytes(8, "little") for block in blocks) for blocks in expected
    )
    assert PromptTrace(RecordedTimes([0, 0, 0]), prompts).prefixes.keys == prompts.prefixes.keys


def test_blocks_may_be_lists_and_arrays() -> None:
    given: Any = [(5, 1, [1, 2]), [5, 1, np.array([1, 2])], (5, 1, (1, 2))]
    assert len({*RecordedPrompts(given, block=3).prompts}) == 1


@pytest.mark.parametrize(
    ("prompts", "wrong"),
    [
        ([], InvalidSetting),
        ([(0, 1)], InvalidSetting),
        ([(1, 0)], InvalidSetting),
        ([(1.0, 1)], InvalidSetting),
        ([(True, 1)], InvalidSetting),
        ([(HUGE, 1)], InvalidSetting),
        ([(1, -1)], InvalidSetting),
        ([(1, 1, (1.0,))], InvalidSetting),
        ([(1, 1, (True,))], InvalidSetting),
        ([(1, 1, (HIGH + 1,))], InvalidSetting),
        ([(1, 1, (-HIGH,))], InvalidSetting),
        ([(3, 1, (1, 2))], InvalidSetting),
        ([(1, 1, "a")], TypeError),
        ([(1,)], TypeError),
        ([(1, 1, (), 1)], TypeError),
        (["ab"], TypeError),
        ([3], TypeError),
        ("ab", TypeError),
        ({(1, 1): 1}, TypeError),
        (3, TypeError),
    ],
)
def test_wrong_prompts_are_refused(prompts: Any, wrong: type[Exception]) -> None:
    with pytest.raises(wrong, match="prompts"):
        RecordedPrompts(prompts, block=3)


@pytest.mark.parametrize("block", [0, -1, 1.0, True, HUGE, None])
def test_wrong_blocks_are_refused(block: Any) -> None:
    with pytest.raises(InvalidSetting, match="block must be"):
        RecordedPrompts([Prompt(1, 1)], block=block)
    with pytest.raises(InvalidSetting, match="block must be"):
        read_prompts([ROW], block=block)


def test_rows_are_lines_or_mappings() -> None:
    later = {**ROW, "timestamp": 3000}
    lines: list[str | bytes] = [json.dumps(ROW), "", json.dumps(later).encode()]
    trace = read_prompts(lines, speedup=2.0)
    assert trace.arrivals.times == (0.0, 1.5)
    assert trace.service.prompts == (Prompt(900, 10, (0, 7)),) * 2
    assert trace.sessions is None
    assert read_prompts([ROW, later], speedup=2.0) == trace
    assert again(trace) == trace


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"input_length": 0}, "row 2: input_length must be an int, 1 to"),
        ({"input_length": 900.5}, "row 2: input_length must be an int"),
        ({"input_length": float("nan")}, "row 2: input_length must be 0 or more"),
        ({"output_length": 0}, "row 2: output_length must be an int"),
        ({"output_length": HUGE}, "output_length"),
        ({"output_length": True}, "output_length must be a number"),
        ({"hash_ids": []}, "row 2: hash_ids must be a list"),
        ({"hash_ids": [1.0]}, "row 2: hash_ids must be ints"),
        ({"hash_ids": [1, 2, 3]}, "row 2: 3 hash_ids are too many for 900 tokens"),
        ({"timestamp": -1}, "row 2: timestamp must be 0 or more"),
        ({"timestamp": 1e15}, "row 2: timestamp must be at most"),
    ],
)
def test_wrong_rows_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidSetting, match=text):
        read_prompts([ROW, {**ROW, **changes}])


def test_wrong_files_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="at least one row"):
        read_prompts(["", " "])
    with pytest.raises(InvalidSetting, match="row 2: timestamp must not be earlier"):
        read_prompts([{**ROW, "timestamp": 5}, ROW])
    with pytest.raises(InvalidSetting, match="row 1 has no hash_ids"):
        read_prompts([{key: value for key, value in ROW.items() if key != "hash_ids"}])
    with pytest.raises(TypeError, match="rows must be"):
        read_prompts("trace.jsonl")
    with pytest.raises(InvalidSetting, match="speedup"):
        read_prompts([ROW], speedup=0.0)


def test_the_parts_of_a_trace_have_one_length() -> None:
    times, prompts = RecordedTimes([0.0]), RecordedPrompts([Prompt(1, 1)])
    with pytest.raises(InvalidSetting, match="arrivals, service, sessions must have the same"):
        PromptTrace(times, prompts, RecordedKeys([1, 2]))
    wrong: Any = [1, 2]
    with pytest.raises(TypeError, match="service must be RecordedPrompts"):
        PromptTrace(times, wrong)
    with pytest.raises(TypeError, match="sessions must be RecordedKeys"):
        PromptTrace(times, prompts, wrong)


@pytest.mark.parametrize("block", [1, 64, 512, 10_000])
def test_the_prompts_of_a_session_grow_and_share_their_beginnings(block: int) -> None:
    trace = agent_prompts(Random(3), sessions=60, rate=2.0, turns=5, documents=4, block=block)
    assert trace.sessions is not None
    asked: dict[Any, list[Prompt]] = {}
    for session, prompt in zip(trace.sessions.keys, trace.service.prompts, strict=True):
        asked.setdefault(session, []).append(prompt)
    assert {len(turns) for turns in asked.values()} == {5}
    shared, both = 2048 // block, (2048 + 4096) // block
    for turns in asked.values():
        for before, after in pairwise(turns):
            full = before.tokens // block
            assert after.blocks[:full] == before.blocks[:full]  # the text before
            assert after.tokens > before.tokens + before.output - 1
        for prompt in turns:
            assert len(prompt.blocks) == -(-prompt.tokens // block)
    assert len({turns[0].blocks[:shared] for turns in asked.values()}) == 1
    if block < 4096:
        texts = Counter(turns[0].blocks[shared] for turns in asked.values())
        assert len(texts) == 4
        assert max(texts.values()) / 60 == pytest.approx(0.48, abs=0.15)  # 12/25
        assert len({turns[0].blocks[:both] for turns in asked.values()}) == 4
    own = [prompt.blocks[both:] for turns in asked.values() for prompt in turns[-1:]]
    ids = [each for blocks in own for each in blocks]
    assert len(ids) == len({*ids})  # nothing else is shared
    parts = [prompt.blocks[-1] for prompt in trace.service.prompts if prompt.tokens % block]
    assert len(parts) == len({*parts})  # the last block of a prompt is only a part


def test_synthetic_requests_repeat_and_have_the_means_that_were_asked_for() -> None:
    settings: dict[str, Any] = {"sessions": 4000, "rate": 2.0, "turns": 4, "block": 4096}
    trace = agent_prompts(Random(5), **settings)
    assert trace == agent_prompts(Random(5), **settings)
    assert trace != agent_prompts(Random(6), **settings)
    outputs = [prompt.output for prompt in trace.service.prompts]
    assert np.mean(outputs) == pytest.approx(200.5, rel=0.03)
    tokens = [prompt.tokens - 6144 for prompt in trace.service.prompts]
    assert np.mean(tokens) == pytest.approx(2.5 * 400.5 + 1.5 * 200.5, rel=0.03)
    assert trace.arrivals.times[-1] == pytest.approx(2000, rel=0.1)
    assert trace.sessions is not None
    times: dict[Any, list[float]] = {}
    for session, time in zip(trace.sessions.keys, trace.arrivals.times, strict=True):
        times.setdefault(session, []).append(time)
    pauses = [after - before for each in times.values() for before, after in pairwise(each)]
    assert np.mean(pauses) == pytest.approx(20, rel=0.05)
    assert np.std(pauses) == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"sessions": 0}, InvalidSetting),
        ({"sessions": 1.0}, InvalidSetting),
        ({"rate": 0.0}, InvalidSetting),
        ({"rate": float("nan")}, InvalidSetting),
        ({"turns": 0}, InvalidSetting),
        ({"pause": -1.0}, InvalidSetting),
        ({"documents": 0}, InvalidSetting),
        ({"system": -1}, InvalidSetting),
        ({"document": HUGE}, InvalidSetting),
        ({"question": 0}, InvalidSetting),
        ({"output": True}, InvalidSetting),
        ({"block": 0}, InvalidSetting),
        ({"rng": 1}, TypeError),
    ],
)
def test_wrong_settings_of_agents_are_refused(
    settings: dict[str, Any], wrong: type[Exception]
) -> None:
    name = next(iter(settings))
    given: dict[str, Any] = {"rng": Random(1), "sessions": 2, "rate": 1.0, **settings}
    with pytest.raises(wrong, match=name):
        agent_prompts(**given)


def test_nothing_shared_is_possible() -> None:
    trace = agent_prompts(Random(1), sessions=9, rate=1.0, turns=1, system=0, document=0, block=16)
    blocks = [block for prompt in trace.service.prompts for block in prompt.blocks]
    assert len(blocks) == len({*blocks})
