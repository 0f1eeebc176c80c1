"""Runs the tests for each mutant: in a fork of one process that has collected them once.

The functions of a mutant are changed in the fork, by giving the live function objects another code.
What is evaluated at import is changed before the package is imported, in a fork that then collects
the tests itself.  Each test is first run without a mutant, in a fork of its own, to learn that it
passes, how long it takes and which lines it reaches.
"""

import ast
import functools
import gc
import hashlib
import importlib
import os
import pickle
import pkgutil
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, TextIO

import pytest

from tests.mutation.forks import CannotPatch, Tracer, fork, patch, processor_limit, silence
from tests.mutation.fresh import OPTIONS, Failures, run_fresh, run_item
from tests.mutation.mutants import MODULE, ROOT, Mutant, Source
from tests.mutation.results import (
    KILLED,
    NOT_RUN,
    SURVIVED,
    TIMED_OUT,
    UNDECIDED,
    UNREACHED,
    Results,
)
from tests.mutation.table import SIGNATURES, TESTS

__all__ = ["run"]

FACTOR = 5
"""A test may take this many times the processor time that it takes without a mutant."""
GRACE = 1.0
"""Seconds of processor time that are added, since the shortest tests take microseconds."""
WALL = 300.0
"""Seconds without an answer after which a fork is killed: a test may wait for ever."""
CACHE = ROOT / ".mutation"
SAVE_EVERY = 30.0
PASSES, FAILS, ELSEWHERE = 0, 1, 3
Plan = list[tuple[int, dict[str, float]]]
TIMEOUTS = (-signal.SIGPROF, -signal.SIGKILL)


@dataclass(slots=True)
class Baseline:
    """What is known about one test without a mutant."""

    passed: bool
    seconds: float
    lines: dict[str, set[int]]
    everything: bool = False
    """Whether it sets a tracer itself, so that its lines are unknown."""
    text: str = ""

    def reaches(self, name: str, lines: range) -> bool:
        """Return whether the test executes one of the lines of a file."""
        return self.everything or not self.lines.get(name, set()).isdisjoint(lines)


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of the contents of files."""
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


def tests_of(package: str) -> str:
    """Return a digest of the tests of a package."""
    found: list[Path] = []
    for name in TESTS[package]:
        path = ROOT / name
        found += [path] if path.is_file() else path.rglob("*.py")
    return digest(found)


class Runner:
    """A plugin that runs mutants instead of tests."""

    def __init__(self, results: Results, mutants: list[tuple[Source, Mutant]], out: TextIO) -> None:
        self.results, self.mutants, self.out = results, mutants, out
        self.ends = self.budget = float("inf")
        self.verbose = False
        self.names = {str(source.path): source.name for source in results.sources}
        self.tracer = Tracer(self.names)
        self.items: list[pytest.Item] = []
        self.failures = Failures()
        self.baseline: list[Baseline] = []
        self.kills: dict[str, Counter[int]] = defaultdict(Counter)
        self.functions: dict[tuple[str, int], list[FunctionType]] = {}
        self.caches: list[Any] = []
        self.imported = called_at_import(self.names)
        self.left: list[Mutant] = []
        self.refused = True
        self.saved = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn the baseline, then run the mutants."""
        if session.testsfailed:
            self.say("the tests cannot be collected")
            return True
        self.items = session.items
        session.config.pluginmanager.register(self.failures)
        self._find_functions()
        gc.collect()
        gc.freeze()
        self._learn()
        failed = [at for at, known in enumerate(self.baseline) if not known.passed]
        for at in failed:
            self.say(f"fails without a mutant: {self.items[at].nodeid}")
            self.say(self.baseline[at].text[-2000:])
        self.refused = bool(failed)
        if not failed:
            self._run_all()
        return True

    def say(self, text: str) -> None:
        """Print where the tests do not."""
        print(text, file=self.out, flush=True)

    # the baseline

    def _learn(self) -> None:
        CACHE.mkdir(exist_ok=True)
        path = CACHE / f"{self.results.package}.baseline"
        code = digest([*(ROOT / "balancers").rglob("*.py"), ROOT / "tests/conftest.py"])
        known: dict[str, tuple[str, Baseline]] = {}
        with suppress(OSError, EOFError, pickle.UnpicklingError, AttributeError, TypeError):
            known = pickle.loads(path.read_bytes())  # noqa: S301 - written by this function
        digests = {item.path: digest([item.path]) + code for item in self.items}
        begun = time.monotonic()
        for item in self.items:
            found = known.get(item.nodeid)
            if found is None or found[0] != digests[item.path]:
                found = digests[item.path], self._learn_one(item)
                known[item.nodeid] = found
            self.baseline.append(found[1])
        passed = {key: value for key, value in known.items() if value[1].passed}
        path.write_bytes(pickle.dumps(passed))
        total = sum(known.seconds for known in self.baseline)
        self.say(
            f"{self.results.package}: {len(self.items)} tests pass in {total:.0f} s of processor "
            f"time without a mutant; {time.monotonic() - begun:.0f} s to learn this"
        )

    def _learn_one(self, item: pytest.Item) -> Baseline:
        def child(write: Callable[[bytes], None]) -> int:
            self.tracer.start()
            begun = time.process_time()
            run_item(item)
            seconds = time.process_time() - begun
            lines = {self.names[file]: found for file, found in self.tracer.stop().items() if found}
            passed = not self.failures.failed
            displaced, text = self.tracer.displaced, self.failures.text
            write(pickle.dumps(Baseline(passed, seconds, lines, displaced, text)))
            return PASSES

        code, data = fork(child, WALL)
        if code != PASSES:
            return Baseline(passed=False, seconds=0.0, lines={}, text=f"exit code {code}")
        learned: Baseline = pickle.loads(data)  # noqa: S301 - of its own fork
        return learned

    # the mutants

    def _find_functions(self) -> None:
        for found in gc.get_objects():
            if type(found) is FunctionType:
                code = found.__code__
                if code.co_filename in self.names:
                    key = code.co_filename, code.co_firstlineno
                    self.functions.setdefault(key, []).append(found)
            elif type(found) is functools._lru_cache_wrapper:
                self.caches.append(found)

    def _run_all(self) -> None:
        for number, (source, mutant) in enumerate(self.mutants):
            if time.monotonic() > self.ends:
                break
            scope = mutant.scope
            key = str(source.path), first_line(mutant)
            if scope.name == MODULE or key in self.imported:
                self.left.append(mutant)
                continue
            begun = time.monotonic()
            chosen = self._chosen(source, mutant)
            fate, killer = self._run_one(source, mutant, chosen, self.functions.get(key, []))
            if fate == SURVIVED and len(chosen) < len(self._reached(source, mutant)):
                fate = UNDECIDED
            if fate == NOT_RUN:
                self.left.append(mutant)
                continue
            self.results.note(mutant, fate)
            if fate in (SURVIVED, UNREACHED, UNDECIDED) or self.verbose:
                by = f" by {self.items[killer].nodeid}" if killer is not None else ""
                took = time.monotonic() - begun
                self.say(f"{fate} {took:5.1f} s  {source.name} {scope.name}: {mutant.name}{by}")
            if time.monotonic() > self.saved + SAVE_EVERY:
                self.results.save()
                self.saved = time.monotonic()
                self.say(f"{number + 1} of {len(self.mutants)}: {self.results.score()}")
        self.results.save()

    def plan(self) -> Plan:
        """Return the mutants that need a fresh import, with the limits of their tests."""
        mutants = [(source, mutant) for source, mutant, _ in self.results.all()]
        numbers = {id(mutant): number for number, (_, mutant) in enumerate(mutants)}
        plan: Plan = []
        for mutant in self.left:
            number = numbers[id(mutant)]
            chosen = self._chosen(mutants[number][0], mutant)
            plan.append((number, {self.items[at].nodeid: self._limit(at) for at in chosen}))
        return plan

    def _limit(self, at: int) -> float:
        return FACTOR * self.baseline[at].seconds + GRACE

    def _reached(self, source: Source, mutant: Mutant) -> list[int]:
        """Return the tests that reach a mutant."""
        lines = mutant.lines
        if mutant.default is not None:
            lines = mutant.scope.lines
        elif mutant.scope.name == MODULE:
            lines = range(1, 1 << 20)
        return [
            at
            for at, known in enumerate(self.baseline)
            if known.reaches(source.name, lines)
            or (mutant.default is not None and self.items[at].nodeid.startswith(SIGNATURES))
        ]

    def _chosen(self, source: Source, mutant: Mutant) -> list[int]:
        """Return the tests to run, until the budget is spent: killers of the neighbours first.

        The tests of the package itself come before others."""
        near, far = self.kills[f"{source.name} {mutant.scope.name}"], self.kills[source.name]
        costs = [known.seconds for known in self.baseline]
        own = f"tests/{self.results.package}/"
        worth = [0.5 if item.nodeid.startswith(own) else 0.1 for item in self.items]
        reached = self._reached(source, mutant)
        reached.sort(key=lambda at: -(10 * near[at] + far[at] + worth[at]) / (0.01 + costs[at]))
        before = accumulate([0.0, *(costs[at] for at in reached)])
        return [at for at, spent in zip(reached, before, strict=False) if spent <= self.budget]

    def _run_one(
        self, source: Source, mutant: Mutant, chosen: Sequence[int], live: list[FunctionType]
    ) -> tuple[str, int | None]:
        if not chosen:
            return UNREACHED, None

        def child(write: Callable[[bytes], None]) -> int:
            for cache in self.caches:
                cache.cache_clear()
            try:
                patch(mutant, source.tree, str(source.path), live)
            except CannotPatch:
                return ELSEWHERE
            for at in chosen:
                write(at.to_bytes(4, "little"))
                processor_limit(self._limit(at))
                run_item(self.items[at])
                if self.failures.failed:
                    return FAILS
            return PASSES

        code, data = fork(child, WALL)
        if code == ELSEWHERE:
            return NOT_RUN, None
        if code == PASSES:
            return SURVIVED, None
        if not data:
            raise RuntimeError(f"cannot be applied: {source.name}: {mutant.name}")
        killer = int.from_bytes(data[-4:], "little")
        self.kills[f"{source.name} {mutant.scope.name}"][killer] += 1
        self.kills[source.name][killer] += 1
        return TIMED_OUT if code in TIMEOUTS else KILLED, killer


def first_line(mutant: Mutant) -> int:
    """Return the first line of the function of a mutant, decorators included."""
    decorators: list[ast.expr] = getattr(mutant.scope.node, "decorator_list", [])
    return min([mutant.scope.lines.start, *(each.lineno for each in decorators)])


def called_at_import(names: dict[str, str]) -> set[tuple[str, int]]:
    """Import the whole package, and return the functions that this calls."""
    called: set[tuple[str, int]] = set()

    def profile(frame: FrameType, event: str, _arg: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in names:
            called.add((code.co_filename, code.co_firstlineno))

    sys.setprofile(profile)
    try:
        package = importlib.import_module("balancers")
        for module in pkgutil.walk_packages(package.__path__, "balancers."):
            with suppress(ImportError):
                importlib.import_module(module.name)
    finally:
        sys.setprofile(None)
    return called


def stages(limits: dict[str, float]) -> list[dict[str, float]]:
    """Return the tests of the two best files, since these are collected sooner, and all tests."""
    if not limits:
        return []
    files = list(dict.fromkeys(name.partition("::")[0] for name in limits))
    best = {name: limit for name, limit in limits.items() if name.partition("::")[0] in files[:2]}
    return [best] if len(best) == len(limits) else [best, limits]


def run_left(results: Results, plan: Plan, ends: float, out: TextIO, *, decide: bool) -> None:
    """Run the mutants that need a fresh import."""
    mutants = [(source, mutant) for source, mutant, _ in results.all()]
    for number, limits in plan:
        if time.monotonic() > ends:
            break
        source, mutant = mutants[number]
        begun = time.monotonic()
        code = PASSES
        for chosen in stages(limits):
            code = code or run_fresh(source, mutant, chosen, WALL)
        fate = TIMED_OUT if code in TIMEOUTS else KILLED
        if code == PASSES:
            fate = UNREACHED if not limits else SURVIVED if decide else UNDECIDED
        results.note(mutant, fate)
        results.save()
        took = time.monotonic() - begun
        text = f"{fate} {took:5.1f} s  {source.name} {mutant.scope.name}: {mutant.name}"
        print(text, file=out, flush=True)


def run(
    package: str,
    wanted: Callable[[str, str, Mutant], bool],
    seconds: float,
    *,
    budget: float,
    verbose: bool,
) -> bool:
    """Run mutants of a package until ``seconds`` are over, and store what becomes of them.

    For each mutant, tests are chosen that take ``budget`` seconds without a mutant, the best first.
    Return False if the tests fail without a mutant: nothing is run then.
    """
    ends = time.monotonic() + seconds
    results, tests = Results(package), tests_of(package)
    chosen = [
        (source, mutant)
        for source, mutant, fate in results.all()
        if wanted(fate, source.name, mutant)
    ]
    path = CACHE / f"{package}.left"
    path.unlink(missing_ok=True)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        child = os.fork()
        if child == 0:
            try:
                silence()
                runner = Runner(results, chosen, out)
                runner.ends, runner.budget, runner.verbose = ends, budget, verbose
                pytest.main([*OPTIONS, *TESTS[package]], plugins=[runner])
                if not runner.refused:
                    path.write_bytes(pickle.dumps(runner.plan()))
            except BaseException:
                traceback.print_exc(file=out)
                raise
            finally:
                out.flush()
                os._exit(0)
        os.waitpid(child, 0)
        if not path.exists():
            return False
        plan: Plan = pickle.loads(path.read_bytes())  # noqa: S301 - written above
        path.unlink()
        results = Results(package)
        run_left(results, plan, ends, out, decide=budget == float("inf"))
        results.save(tests=tests if time.monotonic() < ends else None)
    return True
