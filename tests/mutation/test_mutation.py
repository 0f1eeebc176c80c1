"""The records of mutation testing agree with the sources, and the runner can see a weak test."""

import ast
import json
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from balancers.loads import InFlight
from tests.mutation import results as store
from tests.mutation.forks import CannotPatch, fork, patch, processor_limit
from tests.mutation.mutants import MODULE, ROOT, Source, sources
from tests.mutation.results import (
    KILLED,
    NOT_RUN,
    SURVIVED,
    TIMED_OUT,
    UNDECIDED,
    UNREACHED,
    Results,
)
from tests.mutation.table import TESTS

MODULE_TEXT = '''
"""A module."""

LIMIT = 3

class Box:
    size: int = 2

    def add(self, number: int, times: int = 1, unused: int = 5) -> int:
        """Not "a" mutant."""
        del unused
        if number < 0 and times > 1:
            raise ValueError(f"must not be negative: {number + 0}")
        for _ in range(times):
            self.size += number
        return self.size
'''


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "box.py"
    path.write_text(MODULE_TEXT, encoding="utf-8")
    return Source(path, "box.py")


def test_every_mutant_is_another_module_that_compiles(source: Source) -> None:
    original = ast.unparse(source.tree)
    texts = set[str]()
    for mutant in source.mutants:
        mutant.swap()
        text = ast.unparse(source.tree)
        compile(source.tree, "box.py", "exec")
        mutant.swap()
        assert text != original
        texts.add(text)
    assert ast.unparse(source.tree) == original
    assert len(texts) == len(source.mutants)


def test_what_is_changed(source: Source) -> None:
    assert {mutant.name for mutant in source.scopes["Box.add"].mutants} == {
        "def add(self, number: int, times: int=[1 → 2], unused: int=5):",
        "if number [< → <=] 0 and times > 1:",
        "if number < [0 → 1] and times > 1:",
        "if number < 0 and times [> → >=] 1:",
        "if number < 0 and times > [1 → 2]:",
        "if number < 0 [and → or] times > 1:",
        "if [number < 0 and → ]times > 1:",
        "if number < 0[and times > 1 → ]:",
        "[raise ValueError(f'must not be negative: {number + 0}') → pass]",
        "raise ValueError(f'must not be negative: {number [+ → -] 0}')",
        "raise ValueError(f'must not be negative: {number + [0 → 1]}')",
        "for _ in range([times → None]):",
        "self.size [+= → -=] number",
        "self.size [+= → =] number",
        "return [self.size → None]",
    }
    assert {mutant.name for mutant in source.scopes[MODULE].mutants} == {
        "LIMIT = [3 → 4]",
        "size: int = [2 → 3]",
    }


def test_names_are_unique_in_a_scope() -> None:
    for package in TESTS:
        for source in sources(package):
            for scope in source.scopes.values():
                names = [mutant.name for mutant in scope.mutants]
                assert len(set(names)) == len(names), source.name


def test_a_comment_changes_no_digest_but_code_does(source: Source) -> None:
    before = source.scopes["Box.add"].digest
    source.path.write_text(MODULE_TEXT.replace("del unused", "del unused  # why"), encoding="utf-8")
    assert Source(source.path, "box.py").scopes["Box.add"].digest == before
    source.path.write_text(MODULE_TEXT.replace("number < 0", "number < 1"), encoding="utf-8")
    assert Source(source.path, "box.py").scopes["Box.add"].digest != before


@pytest.mark.parametrize("package", TESTS)
def test_every_survivor_has_a_reason_and_every_reason_a_survivor(package: str) -> None:
    assert Results(package).faults() == []


def test_every_reason_belongs_to_a_package() -> None:
    prefixes = tuple(Results(package).prefix for package in TESTS)
    assert [key for key in store.read_reasons() if not key.startswith(prefixes)] == []


def stored(package: str) -> Any:
    return json.loads((store.FOLDER / f"{package}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", TESTS)
def test_every_result_names_its_commit(package: str) -> None:
    result = stored(package)
    for name in ("commit", "tree"):
        assert len(result[name]) == 40
        int(result[name], 16)
    for scopes in result["files"].values():
        for text in scopes.values():
            digest, fates = text.split(" ")
            assert len(digest) == 12
            assert set(fates) <= {KILLED, TIMED_OUT, SURVIVED, UNREACHED, UNDECIDED, NOT_RUN}


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Results in which all mutants of a small package are killed, and no reasons."""
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    monkeypatch.setattr(store, "REASONS", tmp_path / "survivors.toml")
    (tmp_path / "survivors.toml").touch()
    results = Results("loads")
    for _, mutant, _ in results.all():
        results.note(mutant, KILLED)
    return results


def give_reason(key: str, name: str, reason: str) -> None:
    text = f"[{json.dumps(key)}]\n{json.dumps(name)} = {json.dumps(reason)}\n"
    store.REASONS.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("fate", [SURVIVED, UNREACHED])
def test_a_survivor_needs_a_reason(loads: Results, fate: str) -> None:
    assert loads.faults() == []
    source, mutant, _ = next(iter(loads.all()))
    loads.note(mutant, fate)
    key = f"{source.name} {mutant.scope.name}"
    assert loads.faults() == [f"survives without a reason: {key}: {mutant.name}"]
    give_reason(key, mutant.name, "It has no effect.")
    assert loads.faults() == []
    give_reason(key, mutant.name, " ")
    assert loads.faults() == [f"the reason is empty: {key}: {mutant.name}"]


@pytest.mark.parametrize("fate", [KILLED, TIMED_OUT])
def test_a_reason_needs_a_survivor(loads: Results, fate: str) -> None:
    source, mutant, _ = next(iter(loads.all()))
    loads.note(mutant, fate)
    key = f"{source.name} {mutant.scope.name}"
    give_reason(key, mutant.name, "It has no effect.")
    assert loads.faults() == [f"a reason for a mutant that is killed: {key}: {mutant.name}"]
    give_reason(key, "no such mutant", "It has no effect.")
    assert loads.faults() == [f"a reason for a mutant that does not exist: {key}: no such mutant"]
    give_reason(f"{source.name} gone", mutant.name, "It has no effect.")
    assert loads.faults() == [
        f"a reason for a mutant that does not exist: {source.name} gone: {mutant.name}"
    ]


def test_results_are_kept_and_those_of_a_changed_function_are_dropped(loads: Results) -> None:
    loads.save()
    again = Results("loads")
    assert {fate for _, _, fate in again.all()} == {KILLED}
    assert again.stale == []
    result = json.loads(loads.path.read_text(encoding="utf-8"))
    scopes = result["files"]["balancers/loads/in_flight.py"]
    digest, fates = scopes["InFlight.value"].split(" ")
    scopes["InFlight.value"] = f"{digest[::-1]} {fates}"
    loads.path.write_text(json.dumps(result), encoding="utf-8")
    changed = Results("loads")
    assert changed.stale == ["balancers/loads/in_flight.py InFlight.value"]
    assert {m.scope.name for _, m, fate in changed.all() if fate == NOT_RUN} == {"InFlight.value"}


def test_a_fork_returns_its_code_and_what_it_wrote() -> None:
    def work(write: Callable[[bytes], None]) -> int:
        write(b"some")
        write(b"thing")
        return 7

    assert fork(work, 60.0) == (7, b"something")


def test_a_fork_that_raises_or_takes_too_long_ends() -> None:
    def raising(_write: Callable[[bytes], None]) -> int:
        raise KeyboardInterrupt

    def waiting(_write: Callable[[bytes], None]) -> int:
        return select.select([], [], [])[0][0]

    def endless(_write: Callable[[bytes], None]) -> int:
        processor_limit(0.01)
        while True:
            pass

    def greedy(_write: Callable[[bytes], None]) -> int:
        return len(bytearray(8 << 30))

    assert fork(raising, 60.0)[0] == fork(greedy, 60.0)[0] == 2
    assert fork(waiting, 0.01)[0] == -signal.SIGKILL
    assert fork(endless, 60.0)[0] == -signal.SIGPROF


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("self._counts[backend] = self._counts.get(backend, 0) + [1 → 2]", [2, 4]),
        ("self._counts[backend] = self._counts.get(backend, 0) [+ → -] 1", [-1, -2]),
    ],
)
def test_a_mutant_is_applied_to_the_live_functions_of_a_fork(name: str, values: list[int]) -> None:
    (source,) = (one for one in sources("loads") if one.name.endswith("in_flight.py"))
    (mutant,) = (one for one in source.mutants if one.name == name)
    load = InFlight[str]()
    started = load.started
    live = getattr(InFlight, mutant.scope.name.partition(".")[2])

    def work(write: Callable[[bytes], None]) -> int:
        patch(mutant, source.tree, str(source.path), [live])
        found: list[float] = []
        for _ in range(2):
            started("a")
            found.append(load.value("a", 0.0))
        write(json.dumps(found).encode())
        return 0

    code, data = fork(work, 60.0)
    assert (code, json.loads(data)) == (0, values)
    started("a")
    assert load.value("a", 0.0) == 1


def test_a_mutant_that_cannot_be_applied_later_is_recognised() -> None:
    (source,) = (one for one in sources("loads") if one.name.endswith("in_flight.py"))
    with pytest.raises(CannotPatch):
        patch(source.mutants[0], source.tree, str(source.path), [])


def test_pytest_starts_although_the_whole_package_is_imported() -> None:
    """It includes modules that import Hypothesis, which pytest warns of."""
    text = (
        "import balancers.testing.strategies, pytest; from tests.mutation.fresh import OPTIONS; "
        "raise SystemExit(pytest.main([*OPTIONS, '-q', 'balancers/loads/in_flight.py']))"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_page_has_the_scores_of_the_results() -> None:
    page = (ROOT / "docs/hardening.md").read_text(encoding="utf-8")
    scores = page.partition("<!-- scores -->\n```\n")[2].partition("```")[0]
    assert scores.splitlines() == [stored(package)["score"] for package in TESTS]
