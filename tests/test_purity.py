"""The core is pure: its imports are checked, and it runs while impure functions raise.

The core is the package without what stands above it and is never imported by it: ``testing``,
``quality``, ``simulation`` and the command line.
"""

import ast
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import balancers
from tests.depth import runs
from tests.kinds import KINDS, Kind, by_name
from tests.pool.test_pool_machine import ORDERS, PoolMachine

HOME = Path(balancers.__file__).parent
ABOVE = {"testing", "quality", "simulation", "_command_line", "__main__.py"}
CORE = sorted(path for path in HOME.rglob("*.py") if path.relative_to(HOME).parts[0] not in ABOVE)
FORBIDDEN = {
    "asyncio", "concurrent", "contextvars", "ctypes", "datetime", "http", "io", "logging",
    "multiprocessing", "os", "pathlib", "queue", "sched", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib", "uuid", "warnings", "_thread",
}  # fmt: skip
CALLS = {"open", "print", "input", "exec", "eval", "breakpoint", "id", "globals"}


GENERATORS = {"balancers.sessions.tokens": {"random.Random", "random.SystemRandom"}}
"""Session tokens draw their nonces from the operating system unless a generator is passed: a seed
that was forgotten in a test would repeat nonces, which reveals what the tokens contain."""


def module_of(path: Path) -> str:
    parts = path.relative_to(HOME.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield every imported name in full: ``random.Random`` for ``from random import Random``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", CORE, ids=module_of)
def test_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = module_of(path)
    for name in imports_of(tree):
        if not name.startswith("urllib.parse."):
            assert name.split(".")[0] not in FORBIDDEN, f"{module} imports {name}"
        assert not name.startswith("numpy.random"), f"{module} imports {name}"
        if name.split(".")[0] == "random":
            assert name in GENERATORS.get(module, {"random.Random"}), f"{module} imports {name}"


@pytest.mark.parametrize("path", CORE, ids=module_of)
def test_calls_and_attributes(path: Path) -> None:
    module = module_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            allowed = {"globals"} if module == "balancers" else set[str]()
            allowed |= {"id"} if module == "balancers._internal.copying" else set()
            assert node.func.id not in CALLS - allowed, f"{module} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named = f"{node.value.id}.{node.attr}"
            assert named not in {"np.random", "numpy.random"}, f"{module} uses {named}"
            if named.startswith(("rng.", "_rng.")):
                restores = module == "balancers._internal.plans"  # after draws for a plan
                states = (".getstate", ".setstate") if restores else ()
                used = (".random", ".randbytes", *states)
                assert named.endswith(used), f"{module} uses {named}"


def test_import_balancers_loads_few_modules() -> None:
    code = "import sys, balancers; print(*sorted(m.split('.')[0] for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "balancers" in loaded
    assert not loaded & {"numpy", "mmh3", "sortedcontainers", "asyncio", "socket", "logging"}


@pytest.mark.parametrize(
    ("names", "loads"),
    [
        ("RoundRobin, WeightedRoundRobin, LeastConnections, WeightedLeastConnections, Pool", ""),
        ("HealthChecks, Drain, ConnectionLimit, SlowStart", ""),
        ("IPHash, RandomChoice, PowerOfTwoChoices", ""),
        ("sessions, routing, http, flows, proxy_protocol, overload, gates, loads, keys", ""),
        ("HashRing, Maglev, Rendezvous", "mmh3 numpy"),
    ],
)
def test_the_packages_that_a_name_loads(names: str, loads: str) -> None:
    code = f"import sys; from balancers import {names}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "mmh3", "sortedcontainers"} & set(run.stdout.split())
    assert heavy == set(loads.split())


@pytest.mark.parametrize(
    ("code", "loads"),
    [
        ("IPHash(['a']).pick('192.0.2.1')", "mmh3"),
        ("RandomChoice(['a', 'b'], rng=Random(1)).pick()", ""),
        ("[*map(RandomChoice(['a', 'b'], rng=Random(1)).pick, range(99))]", "numpy"),
        ("gates.WarmUp(30.0)", "sortedcontainers"),
        ("overload.AdmissionQueue(9)", "sortedcontainers"),
    ],
)
def test_the_packages_that_a_first_use_loads(code: str, loads: str) -> None:
    names = (
        "from random import Random; from balancers import *; from balancers import gates, overload"
    )
    program = f"import sys; {names}; {code}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "mmh3", "sortedcontainers"} & set(run.stdout.split())
    assert heavy == set(loads.split())


class ImpureError(AssertionError):
    """Raised when the core calls an impure function."""


def called_by_the_core() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and "hypothesis" not in frame.f_code.co_filename:
        if frame.f_code.co_filename.startswith(str(HOME)):
            return True
        frame = frame.f_back
    return False


def guarded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def guard(*args: Any, **named: Any) -> Any:
        if called_by_the_core():
            raise ImpureError(name)
        return original(*args, **named)

    return guard


IMPURE: list[tuple[Any, str]] = [
    *((time, name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter",
                                "perf_counter_ns", "process_time", "sleep", "localtime")),
    *((socket, name) for name in ("socket", "create_connection", "getaddrinfo", "gethostname")),
    *((threading, name) for name in ("Lock", "RLock", "Event", "Condition", "Timer")),
    (threading.Thread, "start"),
    *((os, name) for name in ("urandom", "getpid", "getenv", "system", "fork", "listdir")),
    (subprocess, "Popen"),
    *((random, name) for name in ("random", "randbytes", "randint", "randrange", "choice",
                                  "choices", "shuffle", "sample", "uniform", "getrandbits",
                                  "gauss", "seed", "setstate", "SystemRandom")),
    *((np.random, name) for name in ("default_rng", "random", "rand", "randint", "choice",
                                     "shuffle", "permutation", "seed", "bytes", "uniform")),
]  # fmt: skip


@pytest.fixture
def impurity_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in IMPURE:
        monkeypatch.setattr(owner, name, guarded(name, getattr(owner, name)))


@pytest.mark.usefixtures("impurity_raises")
@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_every_balancer_runs_while_impure_functions_raise(kind: Kind) -> None:
    """Run the state machine of every balancer with every gate, copies and pickles included."""
    steps: Counter[str] = Counter()
    machine = type(
        f"{kind.name}, pure",
        (PoolMachine,),
        {"kind": kind, "steps": steps, "order": ORDERS[0], "last_resort": False},
    )
    run_state_machine_as_test(
        machine, settings=settings(max_examples=runs(15), stateful_step_count=50)
    )
    assert sum(steps.values()) >= 15 * 50 * 0.5


@pytest.mark.usefixtures("impurity_raises")
@pytest.mark.parametrize(("owner", "name"), IMPURE, ids=lambda value: str(value)[:30])
def test_the_guard_raises_only_in_the_core(owner: Any, name: str) -> None:
    code = compile("def call(): return action()", str(HOME / "rogue.py"), "exec")
    core: dict[str, Any] = {"action": getattr(owner, name)}
    exec(code, core)  # noqa: S102 - a function whose file name is in the package
    with pytest.raises(ImpureError, match=name):
        core["call"]()
    assert time.monotonic() > 0
