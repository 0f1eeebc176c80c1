"""Recorded requests: rows of JSON and mappings, and rows that are refused with their number."""

import json
from collections import UserDict
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.simulation import RecordedKeys, RecordedTimes, RecordedWork, Trace, read_trace
from balancers.simulation._grid import LATEST

PER: dict[str, Any] = {"seconds_per_input_token": 0.001, "seconds_per_output_token": 0.01}
ROW: dict[str, Any] = {
    "timestamp": 0,
    "input_length": 1000,
    "output_length": 20,
    "hash_ids": [0, 4, 9],
}
ROWS: Any = st.lists(
    st.fixed_dictionaries(
        {
            "timestamp": st.integers(0, 3_600_000),
            "input_length": st.integers(0, 200_000),
            "output_length": st.integers(0, 5000),
            "hash_ids": st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
        }
    ),
    min_size=1,
    max_size=20,
)


@given(ROWS, st.sampled_from([1, 2, 4.0]), st.integers(1, 6))
def test_lines_and_mappings_are_the_same_trace(
    rows: list[Any], speedup: float, blocks: int
) -> None:
    rows.sort(key=lambda row: row["timestamp"])
    options: dict[str, Any] = {**PER, "speedup": speedup, "prefix_blocks": blocks}
    trace = read_trace(rows, **options)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    assert read_trace(text.splitlines(keepends=True), **options) == trace
    assert read_trace(text.encode().splitlines(), **options) == trace
    assert read_trace(map(UserDict, rows), **options) == trace
    assert len(trace) == len(rows)
    for row, time, work, key in zip(
        rows, trace.arrivals.times, trace.service.works, trace.keys.keys, strict=True
    ):
        assert time == pytest.approx(row["timestamp"] / 1000 / speedup)
        assert work == pytest.approx(0.001 * row["input_length"] + 0.01 * row["output_length"])
        assert key == (row["hash_ids"][:blocks])[-1]


def test_equal_keys_are_equal_prefixes() -> None:
    rows = [ROW | {"hash_ids": ids} for ids in ([0, 4, 9], [0, 4, 8], [0, 5], [0])]
    assert read_trace(rows, **PER).keys.keys == (4, 4, 5, 0)
    assert read_trace(rows, **PER, prefix_blocks=1).keys.keys == (0, 0, 0, 0)


def test_empty_lines_are_ignored() -> None:
    line = json.dumps(ROW)
    assert read_trace([line + "\n", "\n", b"  ", line], **PER) == read_trace([ROW, ROW], **PER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestamp": -1}, "row 2: timestamp must be 0 or more, and finite, not -1"),
        ({"timestamp": nan}, "row 2: timestamp .* not nan"),
        ({"timestamp": "5"}, "row 2: timestamp must be a number, not '5'"),
        ({"timestamp": None}, "row 2: timestamp must be a number, not None"),
        ({"timestamp": True}, "row 2: timestamp must be a number, not True"),
        ({"timestamp": 9}, "row 2: timestamp must not be earlier than in the row before, but is 9"),
        ({"timestamp": 1.7e12}, "row 2: timestamp must be at most 4194304 s after the start"),
        ({"timestamp": 10**5000}, "row 2: timestamp"),
        ({"input_length": -5}, "row 2: input_length must be 0 or more, and finite, not -5"),
        ({"input_length": inf}, "row 2: input_length .* not inf"),
        ({"output_length": [1]}, r"row 2: output_length must be a number, not \[1\]"),
        ({"output_length": 1e299}, "row 2: the work must be at most"),
        ({"hash_ids": []}, r"row 2: hash_ids must be a list of ints, not \[\]"),
        ({"hash_ids": "12"}, "row 2: hash_ids must be a list of ints, not '12'"),
        ({"hash_ids": [1.5]}, "row 2: hash_ids must be ints, not 1.5"),
        ({"hash_ids": [True]}, "row 2: hash_ids must be ints, not True"),
        ({"hash_ids": None}, "row 2: hash_ids must be a list of ints, not None"),
    ],
)
def test_a_bad_value_is_named_with_its_row(change: dict[str, Any], message: str) -> None:
    first = ROW | {"timestamp": 10}
    bad = first | change
    with pytest.raises(InvalidSetting, match=message):
        read_trace([first, bad], **PER)
    if change.get("timestamp") != 10**5000:  # Python refuses to write it
        with pytest.raises(InvalidSetting, match=message):
            read_trace([json.dumps(first), json.dumps(bad)], **PER)


@pytest.mark.parametrize("name", ROW)
def test_a_missing_field(name: str) -> None:
    row = {key: value for key, value in ROW.items() if key != name}
    with pytest.raises(InvalidSetting, match=f"row 1 has no {name}"):
        read_trace([row], **PER)


@pytest.mark.parametrize(
    "row", ["{", "[1]", "5", "null", "[" * 100_000, b"\xff", '{"timestamp": ' + "1" * 5000 + "}"]
)
def test_a_row_that_is_no_object(row: str | bytes) -> None:
    with pytest.raises(InvalidSetting, match="row 2 must be"):
        read_trace([json.dumps(ROW), row], **PER)


def test_a_row_of_another_type() -> None:
    rows: list[Any] = [5, None, [1]]
    for row in rows:
        with pytest.raises(InvalidSetting, match="row 1 must be"):
            read_trace([row], **PER)


@pytest.mark.parametrize("rows", ["trace.jsonl", b"{}", 5, None])
def test_rows_are_iterable(rows: Any) -> None:
    with pytest.raises(TypeError, match="rows must be an iterable"):
        read_trace(rows, **PER)


def test_no_rows() -> None:
    for rows in ([], ["", "\n"]):
        with pytest.raises(InvalidSetting, match="at least one row"):
            read_trace(rows, **PER)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds_per_input_token", -1.0),
        ("seconds_per_output_token", nan),
        ("speedup", 0),
        ("speedup", inf),
        ("prefix_blocks", 0),
        ("prefix_blocks", 1.0),
    ],
)
def test_bad_options(name: str, value: float) -> None:
    options: dict[str, Any] = {**PER, name: value}
    with pytest.raises(InvalidSetting, match=name):
        read_trace([ROW], **options)


@pytest.mark.parametrize("speedup", [0, -1, nan, inf, "2", None])
def test_the_speedup_is_no_duration(speedup: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"speedup must be (a number|positive, up)"):
        read_trace([ROW], **PER, speedup=speedup)


@pytest.mark.parametrize("part", ["arrivals", "service", "keys"])
def test_the_parts_are_recorded(part: str) -> None:
    parts: dict[str, Any] = {
        "arrivals": RecordedTimes([0.0]),
        "service": RecordedWork([1.0]),
        "keys": RecordedKeys(["a"]),
    }
    wrong: list[Any] = [[1.0], None, type(parts[part])]
    for parts[part] in wrong:
        with pytest.raises(TypeError, match=f"{part} must be Recorded.*, not "):
            Trace(**parts)


def test_the_parts_have_one_length() -> None:
    with pytest.raises(InvalidSetting, match="not 2, 1 and 1"):
        Trace(RecordedTimes([0.0, 1.0]), RecordedWork([1.0]), RecordedKeys(["a"]))


def test_the_latest_time() -> None:
    row = ROW | {"timestamp": LATEST * 1000}
    assert read_trace([row], **PER).arrivals.times == (LATEST,)


def test_a_long_trace_is_shown_in_short() -> None:
    n = 10_000
    trace = Trace(RecordedTimes(range(n)), RecordedWork([0.5] * n), RecordedKeys(["a", "b"] * 5000))
    assert repr(trace) == "<Trace: 10000 requests in 9999 s>"
    assert repr(trace.arrivals) == "<RecordedTimes: 10000 times up to 9999 s>"
    assert repr(trace.service) == "<RecordedWork: 10000 requests, mean 0.5 s>"
    assert repr(trace.keys) == "<RecordedKeys: 10000 keys, 2 different>"
