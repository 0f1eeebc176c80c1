"""A replay repeats every result, finds the first difference, and reads hostile logs safely."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import (
    BalancersError,
    ConnectionLimit,
    Drain,
    HealthChecks,
    LeastConnections,
    Pool,
    RandomChoice,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.gates import CoolDown
from balancers.testing import Diverged, Header, InvalidLog, Recorder, Replayed, replay
from balancers.testing.__main__ import main
from balancers.testing._divergence import RESULTS
from balancers.testing._values import dumps
from tests.depth import DEEP, runs
from tests.kinds import KINDS, Kind, by_name
from tests.packages import HOME
from tests.testing.histories import Limits, maker, recorded

TOP = HOME.parent
SEEDS = range(60 if DEEP else 2)
BY_NAME = {kind.name: kind for kind in KINDS}
PLAIN = BY_NAME["WeightedLeastConnections"]


# everything is the same


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_every_balancer_under_every_gate_repeats_its_results(kind: Kind) -> None:
    for seed in SEEDS:
        lines, _ = recorded(kind, seed, 250)
        found = replay(lines, maker(kind))
        assert found.lines == len(lines) > 150
        assert found.requests > 50


PROGRAM = """
import json, sys
from balancers import ConnectionLimit, HealthChecks, Pool, RandomChoice
from balancers import SlowStart, WeightedLeastConnections, WeightedRoundRobin
from balancers.gates import ActiveChecks, CoolDown, OutlierEjection, PassiveChecks
from balancers.testing import replay

BALANCERS = {
    "RandomChoice": RandomChoice,
    "WeightedLeastConnections": WeightedLeastConnections,
    "WeightedRoundRobin": WeightedRoundRobin,
}

def make(header):
    rng = header.rngs[0]
    kind = BALANCERS[header.settings["balancer"]]
    balancer = kind(header.members, rng=rng) if kind is RandomChoice else kind(header.members)
    gates = [
        ActiveChecks(rng=rng), OutlierEjection(2, jitter=0.5, rng=rng), CoolDown(2, rng=rng),
        PassiveChecks(3), ConnectionLimit(4), SlowStart(5.0),
    ]
    return Pool(balancer, gates, panic=0.4, now=header.now)

if __name__ == "__main__":
    for log in json.load(sys.stdin):
        print(replay(log, make))
"""
"""A program without the other packages, so that every interpreter can run it."""
REQUESTS = 250


def interpreters() -> dict[str, str]:
    """Return this interpreter, and those of other versions that the machine has."""
    versions = Path.home() / ".pyenv" / "versions"
    found = {path.parts[-3]: str(path) for path in versions.glob("3.1[1-9].*/bin/python")}
    return found | {platform.python_version(): sys.executable}


def logs_of_the_program() -> list[list[str]]:
    program: dict[str, Any] = {"__name__": "program"}
    exec(PROGRAM, program)  # noqa: S102 - the program of this test
    logs: list[list[str]] = []
    for name in program["BALANCERS"]:
        rng, lines, draws = Random(5), list[str](), Random(6)
        pool: Pool[str] = program["make"](Header("", 3.5, {}, (), {"balancer": name}, (rng,)))
        checks: Any = pool._gates[0]
        with Recorder(pool, write=lines.append, rng=rng, settings={"balancer": name}):
            pool.update({f"10.0.0.{number}:80": number for number in range(1, 6)}, now=4.0)
            now, leases = 5.0, list[Any]()
            for _ in range(REQUESTS):
                now += draws.random()
                with suppress(BalancersError):
                    leases.append(pool.acquire(now, key=f"k\udc80{draws.random()}"))
                if len(leases) > 8:
                    ended = leases.pop(draws.randrange(len(leases)))
                    pool.release(ended, now, ok=draws.random() < 0.8, elapsed=draws.random() / 7)
                for probe in checks.probes(now):
                    checks.answer(probe, draws.random() < 0.8, now + 0.1)
        logs.append(lines)
    return logs


@pytest.mark.parametrize("python", interpreters().values(), ids=interpreters())
def test_another_process_and_another_python_repeat_every_result(python: str) -> None:
    logs = logs_of_the_program()
    done = subprocess.run(
        [python, "-c", PROGRAM],
        input=json.dumps(logs),
        env={"PYTHONPATH": str(TOP), "PYTHONHASHSEED": "77", "PATH": os.environ["PATH"]},
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [str(Replayed(len(log), REQUESTS)) for log in logs]


def test_a_log_without_an_end_is_repeated_if_it_is_announced() -> None:
    lines, _ = recorded(PLAIN, 1, 200)
    cut = lines[:150]
    with pytest.raises(InvalidLog, match="line 150 of the log: the log is cut off"):
        replay(cut, maker(PLAIN))
    assert replay(cut, maker(PLAIN), unfinished=True).lines == 150
    assert replay(lines[:1], maker(PLAIN), unfinished=True) == Replayed(1, 0)


def test_other_ends_of_lines_are_accepted() -> None:
    lines, _ = recorded(PLAIN, 1, 200)
    windows = [line.replace("\n", "\r\n") for line in lines]
    assert replay(windows, maker(PLAIN)).lines == len(lines)
    assert replay("".join(lines).split("\n"), maker(PLAIN)).lines == len(lines)
    assert replay(iter(lines), maker(PLAIN)).lines == len(lines)


def test_a_log_of_another_version_of_the_package_is_read() -> None:
    lines, _ = recorded(PLAIN, 1, 30)
    header = json.loads(lines[0])
    header["balancers"] = "99.0"
    lines[0] = json.dumps(header)
    with pytest.raises(InvalidLog, match="edited"):  # only because the first line was edited
        replay(lines, maker(PLAIN))
    replay(lines[:-1], maker(PLAIN), unfinished=True)


# differences


@pytest.mark.parametrize(
    "changed",
    [{"unhealthy": 3}, {"limit": 3}, {"fails": 3}, {"window": 9.0}, {"cooling": 4}],
    ids=str,
)
def test_a_changed_setting_is_found(changed: dict[str, Any]) -> None:
    """A few logs contain nothing that the setting decides; they are the same with both settings."""
    same = 0
    for seed in SEEDS:
        lines, _ = recorded(PLAIN, seed, 400)
        try:
            replay(lines, maker(PLAIN, Limits(**changed)))
        except Diverged as error:
            diverged = error
        else:
            same += 1
            continue
        assert diverged.what in {"decision", "state"}
        assert json.loads(lines[diverged.line - 1]) == diverged.recorded
        assert diverged.recorded != diverged.replayed
        text = str(diverged)
        assert text.startswith(f"line {diverged.line}: another ")
        assert "recorded: " in text
        assert "replayed: " in text
    most = {"limit": 0.4, "cooling": 0.1}  # a limit of 3 is often not reached
    assert same <= max(most.get(setting, 0) for setting in changed) * len(SEEDS)


def line_of(error: Any) -> int:
    line: int = error.line
    return line


def changed_line(rng: Random, line: str) -> str:
    """Return a line with another outcome, weight, time, name or number."""
    fields = json.loads(line)
    if "release" in fields and rng.random() < 0.5:
        fields["ok"] = not fields.get("ok", True)
    elif "acquire" in fields and rng.random() < 0.5:
        fields["t"] += 0.5
    elif fields.get("args"):
        fields["args"][-1] = rng.choice([0, 1, 2.5, "10.0.0.3:80", None, True])
    else:
        values: list[Any] = [0, 1, 2.5, "x", None, [], {}]
        fields[rng.choice([*fields])] = rng.choice(values)
    return json.dumps(fields, separators=(",", ":"))


@cache
def short_log(name: str, seed: int) -> list[str]:
    lines, _ = recorded(BY_NAME[name], seed, 150)
    return lines


@pytest.mark.parametrize("seed", range(runs(240)))
def test_no_edit_of_a_log_passes(seed: int) -> None:
    """One line is changed, removed, doubled, or swapped with the next."""
    rng = Random(seed)
    kind = rng.choice(KINDS[:7])
    lines = short_log(kind.name, seed % 2)
    edited = lines.copy()
    place = rng.randrange(1, len(lines) - 1)
    edit = rng.randrange(4)
    if edit == 0:
        edited[place] = changed_line(rng, lines[place])
    elif edit == 1:
        del edited[place]
    elif edit == 2:
        edited.insert(place, lines[place])
    else:
        edited[place : place + 2] = lines[place : place + 2][::-1]
    if [line.strip() for line in edited] == [line.strip() for line in lines]:
        return
    with pytest.raises((Diverged, InvalidLog)) as found:
        replay(edited, maker(kind))
    assert place + 1 <= line_of(found.value) <= min(place + 120, len(edited))


def pool_before() -> Pool[str]:
    pool = Pool(RoundRobin(["a", "b"]), gates=[HealthChecks[str](1)])
    pool.acquire(now=1.0)
    return pool


def test_a_call_of_a_gate_that_is_missing_is_found_at_the_next_request() -> None:
    health, lines = HealthChecks[str](1), list[str]()
    pool = Pool(RoundRobin(["a", "b"]), gates=[health])
    with Recorder(pool, write=lines.append):
        pool.acquire(now=1.0)
        health.observe("b", ok=False, now=2.0)
        pool.acquire(now=3.0, key="user:42")
    del lines[2]
    with pytest.raises(Diverged) as found:
        replay(lines, lambda h: Pool(RoundRobin(h.members), gates=[HealthChecks(1)]))
    diverged = found.value
    assert (diverged.line, diverged.what) == (3, "decision")
    assert diverged.recorded["to"] == "a"
    assert diverged.replayed["to"] == "b"
    text = str(diverged)
    assert 'line 3: another result of acquire 2 (t=3.0, key="user:42")' in text
    assert 'recorded: to: "a"' in text
    assert 'replayed: to: "b"' in text
    assert 'recorded: w: [["b",0,"unhealthy"]]' in text
    assert diverged.explanation == pool_before().explain(3.0, key="user:42")
    assert str(diverged.explanation) in text
    assert [line.split() for line in text.splitlines() if line.startswith('"')] == [
        ['"a"', "1", "1", "1", "1", "picked", "1"],
        ['"b"', "1", "0", "1", "0", "(unhealthy)", "1", "picked"],
    ]


def test_another_state_of_a_gate_is_found_by_the_checksums() -> None:
    """The pause of a backend is longer, and nothing else shows it before the end."""

    def make(header: Any, base_time: float = 5.0) -> Pool[Any]:
        cool_down: CoolDown[Any] = CoolDown(1, base_time=base_time, jitter=0, rng=Random(1))
        return Pool(RoundRobin(header.members), gates=[cool_down])

    lines: list[str] = []
    pool = make(Header("", 0.0, {"a": 1, "b": 1}, (), {}, ()))
    with Recorder(pool, write=lines.append):
        pool.release(pool.acquire(now=0.0), now=1.0, ok=False)
        pool.acquire(now=2.0)
    with pytest.raises(Diverged) as found:
        replay(lines, lambda header: make(header, base_time=6.0))
    assert found.value.line == 5
    assert found.value.what == "state"
    assert "the times of the next changes that the gates announce" in str(found.value)
    assert "recorded: due: [6.0]" in str(found.value)
    assert "replayed: due: [7.0]" in str(found.value)
    assert "The calls after line 1 had equal results" in str(found.value)


def test_another_number_of_draws_is_found_by_the_checksums() -> None:
    rng, lines = Random(1), list[str]()
    pool = Pool(RandomChoice(["a", "b"], rng=rng))
    with Recorder(pool, write=lines.append, rng=rng):
        pool.acquire(now=1.0)

    def make(header: Any) -> Pool[Any]:
        class Greedy(RandomChoice[Any]):
            def pick(self, *args: Any, **kwargs: Any) -> Any:
                picked = super().pick(*args, **kwargs)
                header.rngs[0].random()
                return picked

        return Pool(Greedy(header.members, rng=header.rngs[0]))

    with pytest.raises(Diverged, match="the state of a generator") as found:
        replay(lines, make)
    assert found.value.what == "state"


STARTS: list[tuple[str, Callable[[Any], Any]]] = [
    ("members", lambda header: Pool(RandomChoice(["a"], rng=header.rngs[0]))),
    ("members", lambda header: Pool(RandomChoice({"a": 1, "b": 2}, rng=header.rngs[0]))),
    ("members", lambda header: Pool(RandomChoice({"b": 1, "a": 1}, rng=header.rngs[0]))),
    ("times", lambda header: Pool(RandomChoice(header.members, rng=header.rngs[0]), now=9.0)),
    (
        "gates",
        lambda header: Pool(RandomChoice(header.members, rng=header.rngs[0]), gates=[Drain()]),
    ),
    (
        "draws random numbers",
        lambda header: Pool(
            RandomChoice(header.members, rng=Random(header.rngs[0].random())), now=0.0
        ),
    ),
]


@pytest.mark.parametrize(("word", "make"), STARTS)
def test_a_pool_that_is_constructed_differently_is_found_at_once(
    word: str, make: Callable[[Any], Any]
) -> None:
    rng, lines = Random(1), list[str]()
    with Recorder(Pool(RandomChoice(["a", "b"], rng=rng)), write=lines.append, rng=rng):
        pass
    with pytest.raises(Diverged, match=word) as found:
        replay(lines, make)
    assert (found.value.line, found.value.what) == (1, "start")


def test_with_many_members_only_those_of_interest_are_shown() -> None:
    names = [f"b{number}" for number in range(100)]
    limit, lines = ConnectionLimit[str](1), list[str]()
    with Recorder(pool := Pool(WeightedRoundRobin(names), gates=[limit]), write=lines.append):
        for _ in range(3):
            pool.acquire(now=1.0)
    with pytest.raises(Diverged) as found:
        replay(lines, lambda h: Pool(WeightedRoundRobin(h.members), gates=[ConnectionLimit(2)]))
    shown = [
        line
        for line in str(found.value).split("What the replay")[0].splitlines()
        if line.startswith('"b')
    ]
    assert len(shown) == 2


def test_an_error_of_make_is_raised() -> None:
    lines, _ = recorded(PLAIN, 1, 20)

    def make(header: Header) -> Pool[Any]:
        raise ZeroDivisionError(header.now)

    with pytest.raises(ZeroDivisionError):
        replay(lines, make)
    anything: Any = replay
    with pytest.raises(TypeError, match="Pool"):
        anything(lines, str)
    with pytest.raises(TypeError, match="make"):
        anything(lines, None)
    with pytest.raises(TypeError, match="resolve"):
        anything(lines, maker(PLAIN), resolve="x")
    for wrong in ("".join(lines), b"", 5):
        with pytest.raises(TypeError, match="lines"):
            anything(wrong, maker(PLAIN))
    with pytest.raises(TypeError, match="str"):
        anything([line.encode() for line in lines], maker(PLAIN))


def test_a_difference_is_shown_although_make_returns_the_same_pool_again() -> None:
    lines: list[str] = []
    with Recorder(pool := Pool(RoundRobin(["a", "b"])), write=lines.append):
        pool.acquire(now=1.0)
    lines[1] = lines[1].replace('"to":"a"', '"to":"b"')
    same = Pool(RoundRobin(["a", "b"]))
    with pytest.raises(Diverged, match="another result") as found:
        replay(lines, lambda _: same)
    assert "Before the call" not in str(found.value)


# logs that no recorder wrote


SMALL: list[str] = []
with Recorder(
    made := Pool(LeastConnections(["a", "b"]), gates=[HealthChecks(2), Drain()]), write=SMALL.append
) as recorder:
    recorder.gates[0].observe("a", ok=False, now=1.0)
    made.release(made.acquire(now=2.0, key=b"k", avoid=["b"]), now=3.0, ok=False)
    recorder.gates[1].begin("b", 4.0)
    made.set_weight("a", 2, now=5.0)
    made.acquire(6.0, prefer="b")


def small(header: Header) -> Pool[Any]:
    return Pool(LeastConnections(header.members), gates=[HealthChecks(2), Drain()])


def test_a_log_that_is_cut_off_anywhere_is_refused() -> None:
    text = "".join(SMALL)
    assert replay(text.splitlines(), small).requests == 2
    for end in range(0, len(text) - 1, 3 if DEEP else 13):
        with pytest.raises(InvalidLog) as found:
            replay(text[:end].splitlines(), small)
        assert found.value.line == max(1, len(text[:end].splitlines()))


DAMAGED = [
    "", "x", "{", "{}", "[]", "null", "1", '"text"', "[" * 100_000, '{"acquire":' * 5000,
    '{"acquire":1}', '{"acquire":1,"t":NaN}', '{"acquire":1,"t":1e999}',
    '{"acquire":1,"t":' + "9" * 10_000 + "}", '{"acquire":true,"t":1.0}', '{"acquire":1,"t":{}}',
    '{"acquire":1,"t":{"float":"NAN"}}', '{"acquire":1,"t":{"float":1}}',
    '{"acquire":1,"t":1.0,"key":{"bytes":"zz"}}', '{"acquire":1,"t":1.0,"key":{"code":"x"}}',
    '{"acquire":1,"t":1.0,"key":{"backend":"a"}}', '{"acquire":1,"t":1.0,"key":{"int":"0xz"}}',
    '{"acquire":1,"t":1.0,"key":{"int":"' + "9" * 100_000 + '"}}',
    '{"acquire":1,"t":{"fraction":["1","0"]}}', '{"acquire":1,"t":1.0,"avoid":{"set":[[]]}}',
    '{"acquire":1,"t":1.0,"key":{"record":[["x"]]}}', '{"acquire":1,"t":1.0,"key":{"tuple":5}}',
    '{"acquire":1,"t":1.0,"key":' + '{"tuple":[' * 300 + "]}" * 300 + "}",
    '{"acquire":1,"t":1.0,"key":' + "[" * 900 + "]" * 900 + "}",
    '{"release":1,"t":1.0}', '{"release":99,"t":1.0}', '{"release":"other","t":1.0}',
    '{"release":[],"t":1.0}', '{"release":1.5,"t":1.0}', '{"read":false}', '{"read":1}',
    '{"pool":"acquire","args":[1.0]}', '{"pool":"__init__","args":[]}', '{"pool":5,"args":[]}',
    '{"pool":"add","args":{}}', '{"pool":"add","args":["c"],"kw":[]}',
    '{"pool":"add","args":["c"],"kw":{"self":1}}', '{"pool":"add","args":[["c"]]}',
    '{"balancer":"__class__","args":[]}', '{"balancer":"weights","args":[]}',
    '{"gate":0,"call":"__class__","args":[]}', '{"gate":0,"call":"_flip","args":[]}',
    '{"gate":0,"call":"__init__","args":[]}', '{"gate":0,"call":"__reduce__","args":[]}',
    '{"gate":-1,"call":"begin","args":["a",1.0]}', '{"gate":7,"call":"begin","args":["a",1.0]}',
    '{"gate":true,"call":"begin","args":["a",1.0]}', '{"gate":0,"call":"factor","args":["a",1.0]}',
    '{"gate":0,"call":"__setattr__","args":["_members",{}]}', '{"gate":0,"call":"__setattr__"}',
    '{"gate":0,"call":"__setattr__","args":["__class__",1]}',
    '{"gate":0,"call":"__setattr__","args":[5,1]}', '{"gate":0,"call":5}', '{"gate":"0"}',
    '{"check":1}', '{"end":1}', '{"check":1,"state":0,"due":[],"rng":[],"text":0}',
    '{"log":1}', '{"acquire":1,"acquire":1,"t":1.0}', "\ud800", '"\\ud800"', "\0",
]  # fmt: skip


@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda text: repr(text)[:40])
@pytest.mark.parametrize("place", [0, 1, 3, len(SMALL)])
def test_a_damaged_line_is_a_typed_error_with_its_number(damaged: str, place: int) -> None:
    lines = [*SMALL[:place], damaged, *SMALL[place + 1 :], *SMALL[-1:]]
    with pytest.raises((InvalidLog, Diverged)) as found:
        replay(lines, small)
    assert place + 1 <= line_of(found.value) <= len(lines)
    assert isinstance(found.value, InvalidLog) or place


@pytest.mark.parametrize("value", [None, 5, [["a"]], {"a": 1}])
@pytest.mark.parametrize("name", sorted({*RESULTS, "text"}))
def test_results_of_any_kind_are_a_difference(name: str, value: Any) -> None:
    for place, line in enumerate(SMALL[1:], 1):
        edited = SMALL.copy()
        edited[place] = json.dumps({**json.loads(line), name: value})
        with pytest.raises((Diverged, InvalidLog)) as found:
            replay(edited, small)
        assert line_of(found.value) == place + 1


@settings(max_examples=runs(2000), deadline=None)
@given(data=st.data())
def test_random_damage_is_a_typed_error(data: st.DataObject) -> None:
    text = bytearray("".join(SMALL).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 2))
        text[place] = data.draw(st.sampled_from(b'0123456789abefnrtu"\\[]{}:,.-+ \n\xff'))
    damaged = text.decode(errors="replace").split("\n")
    if [line.strip() for line in damaged] == [line.strip() for line in [*SMALL, ""]]:
        return
    with pytest.raises((InvalidLog, Diverged)) as found:
        replay(damaged, small)
    assert 1 <= line_of(found.value) <= len(damaged)


HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"log": 2}, "format must be 1, not 2"),
    ({"log": "1"}, "format must be 1"),
    ({"log": None}, "format must be 1"),
    ({"members": None}, "does not describe"),
    ({"members": [["a"]]}, "does not describe"),
    ({"members": [[[], 1]]}, "does not describe"),
    ({"rng": 5}, "does not describe"),
    ({"rng": [5]}, "does not describe"),
    ({"rng": [{"tuple": [3, {"tuple": [1, 2]}, None]}]}, "does not describe"),
    ({"settings": 5}, "does not describe"),
    ({"gates": 5}, "does not describe"),
]


@pytest.mark.parametrize(("changed", "why"), HEADERS)
def test_a_bad_first_line_is_refused(changed: dict[str, Any], why: str) -> None:
    header = {**json.loads(SMALL[0]), **changed}
    with pytest.raises(InvalidLog, match=f"line 1 of the log: .*{why}"):
        replay([json.dumps(header), *SMALL[1:]], small)


def test_an_empty_log_is_refused() -> None:
    for empty in ([], [""], ["\n", "  "]):
        with pytest.raises(InvalidLog, match="line 1 of the log: the log is empty"):
            replay(empty, small)


def test_a_log_that_needs_names_says_so() -> None:
    class Host:
        pass

    lines: list[str] = []
    with Recorder(Pool(RoundRobin([Host()])), write=lines.append, identity=lambda _: "a"):
        pass
    with pytest.raises(InvalidLog, match="resolve"):
        replay(lines, small)


def test_reading_a_log_neither_evaluates_nor_unpickles() -> None:
    for path in (HOME / "testing").glob("*.py"):
        if path.name in {"_log.py", "_values.py", "replay.py", "_divergence.py"}:
            text = path.read_text(encoding="utf-8")
            assert not {
                "eval(",
                "exec(",
                "pickle",
                "marshal",
                "import_module",
                "getattr(builtins",
            } & {
                word
                for word in ("eval(", "exec(", "pickle", "marshal", "import_module")
                if word in text
            }


# the command line


MODULE = """
from balancers import Drain, HealthChecks, LeastConnections, Pool

def make(header):
    return Pool(LeastConnections(header.members), gates=[HealthChecks(2), Drain()])

def other(header):
    return Pool(LeastConnections(header.members), gates=[HealthChecks(1), Drain()])

def broken(header):
    raise ZeroDivisionError("no pool\\ntoday")

def exits(header):
    raise SystemExit

number = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "makes_small.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "exits_at_once.py").write_text("raise SystemExit(0)", encoding="utf-8")
    (tmp_path / "small.log").write_text("".join(SMALL), encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    try:
        return main(["replay", *arguments])
    except SystemExit as error:
        return int(str(error.code))


@pytest.mark.usefixtures("folder")
def test_the_command_replays_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("small.log", "--make", "makes_small:make") == 0
    assert capsys.readouterr().out == "8 lines and 2 requests: everything is the same\n"


@pytest.mark.usefixtures("folder")
def test_the_command_shows_the_first_difference(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("small.log", "--make", "makes_small:other") == 1
    out, err = capsys.readouterr()
    assert out.startswith("line 3: another ")
    assert err == ""


BAD: list[tuple[list[str], str]] = [
    (["missing.log", "--make", "makes_small:make"], "missing.log: No such file"),
    ([".", "--make", "makes_small:make"], "directory"),
    (["small.log", "--make", "make"], "--make must be module:function, not 'make'"),
    (["small.log", "--make", ":make"], "--make must be"),
    (["small.log", "--make", "no_such_module:make"], "ModuleNotFoundError"),
    (["small.log", "--make", "makes_small:missing"], "AttributeError"),
    (["small.log", "--make", "makes_small:number"], "is not a function"),
    (["small.log", "--make", "makes_small:broken"], "ZeroDivisionError: no pool today"),
    (["small.log", "--make", "makes_small:exits"], "small.log: SystemExit"),
    (["small.log", "--make", "exits_at_once:make"], "--make exits_at_once:make: SystemExit: 0"),
    (["small.log", "--make", "makes_small:make", "--resolve", "x"], "--resolve must be"),
    (["makes_small.py", "--make", "makes_small:make"], "line 1 of the log"),
    (["cut.log", "--make", "makes_small:make"], "line 5 of the log: the log is cut off"),
    (["binary.log", "--make", "makes_small:make"], "line 1 of the log"),
]


@pytest.mark.parametrize(("arguments", "why"), BAD)
def test_bad_input_of_the_command_is_one_line(
    folder: Path, arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cut.log").write_text("".join(SMALL[:5]), encoding="utf-8")
    (folder / "binary.log").write_bytes(bytes(range(256)))
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert why in err


class Narrow(StringIO):
    """A terminal that shows ASCII only."""

    encoding = "ascii"

    def write(self, text: str) -> int:
        text.encode("ascii")
        return super().write(text)


def test_a_log_cannot_control_the_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Narrow(), Narrow()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    call = {"gate": 0, "call": "observe", "args": ["a"], "kw": {"\x1b[31m\u2028é": 1}}
    kind = {"gate": 0, "call": "observe", "args": [{"\x1b[31m": 1}]}
    for number, fields in enumerate((call, kind)):
        lines = [SMALL[0], f"{dumps(fields)}\n"]
        (folder / f"{number}.log").write_text("".join(lines), encoding="utf-8")
        run(f"{number}.log", "--make", "makes_small:make", "--unfinished")
    assert "\\x1b[31m\\u2028\\xe9" in out.getvalue()
    assert "\\x1b[31m" in err.getvalue()
    assert "\x1b" not in out.getvalue() + err.getvalue()


@pytest.mark.usefixtures("folder")
def test_usage_errors_and_unfinished_logs(folder: Path) -> None:
    (folder / "cut.log").write_text("".join(SMALL[:5]), encoding="utf-8")
    assert run("cut.log", "--make", "makes_small:make", "--unfinished") == 0
    assert run("small.log") == 2
    assert run() == 2
    assert run("--help") == 0


def test_the_module_is_a_program(folder: Path) -> None:
    command = [sys.executable, "-m", "balancers.testing", "replay", "small.log", "--make"]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    for name, code in (("make", 0), ("other", 1), ("number", 2)):
        done = subprocess.run(
            [*command, f"makes_small:{name}"], cwd=folder, env=environment, check=False,
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == code
