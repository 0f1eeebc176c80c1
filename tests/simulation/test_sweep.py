"""Sweeps: the same results from every executor, interrupts, errors, progress, and bad input."""

import multiprocessing
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from balancers.errors import InvalidSetting, SweepFailed
from balancers.simulation import Sweep, grid
from tests.simulation import sweep_cells

ROOT = Path(__file__).parents[2]
FORK = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def digest() -> str:
    sweep = sweep_cells.sweep()
    sweep.run()
    return sweep.digest()


def threads() -> Executor:
    return ThreadPoolExecutor(3)


def processes(method: str) -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method))


EXECUTORS: dict[str, Callable[[], Executor]] = {
    "threads": threads,
    "fork": partial(processes, "fork"),
    "spawn": partial(processes, "spawn"),
}


@FORK
@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_gives_the_same_results(name: str, digest: str) -> None:
    sweep = sweep_cells.sweep()
    with EXECUTORS[name]() as executor:
        results = sweep.run(executor)
    assert list(results) == list(sweep_cells.sweep()._cells)
    assert sweep.digest() == digest


def squared(number: int) -> Callable[[], int]:
    return lambda: number**2


def test_a_dask_cluster_gives_the_same_results(digest: str) -> None:
    distributed = pytest.importorskip("distributed")
    sweep = sweep_cells.sweep()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        with pytest.raises(KeyboardInterrupt):
            sweep.run(client.get_executor(), progress=Interrupts(2))
        kept = dict(sweep.results)
        assert 2 <= len(kept) < len(sweep)
        results = sweep.run(client.get_executor())
        assert len(results) == len(sweep)
        assert all(results[name] is kept[name] for name in kept)
        closures = Sweep({number: squared(number) for number in range(3)})
        assert dict(closures.run(client.get_executor())) == {0: 0, 1: 1, 2: 4}
        with pytest.raises(TypeError, match=r"client.get_executor\(\)"):
            Sweep({"a": list}).run(client)
    assert sweep.digest() == digest


def test_an_interrupt_of_all_processes_keeps_what_is_finished(digest: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.simulation.sweep_cells"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        start_new_session=True,
    )
    before, after = run.stdout.split()
    assert 3 <= int(before) < len(sweep_cells.sweep())
    assert after == digest


class Interrupts:
    """Raises KeyboardInterrupt after some calls."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.calls: list[int] = []

    def __call__(self, done: int) -> None:
        self.calls.append(done)
        if len(self.calls) == self.after:
            raise KeyboardInterrupt


class Counted:
    """Cells that count how often they run."""

    def __init__(self, count: int) -> None:
        self.runs: Counter[int] = Counter()
        self.cells = {seed: partial(self.cell, seed) for seed in range(count)}

    def cell(self, seed: int) -> int:
        self.runs[seed] += 1
        return seed


@pytest.mark.parametrize("name", ["serial", "threads"])
@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_second_run_does_only_the_rest(name: str, after: int) -> None:
    counted = Counted(9)
    sweep = Sweep(counted.cells)
    progress = Interrupts(after)

    def run(**options: Any) -> None:
        if name == "serial":
            sweep.run(**options)
        else:
            with ThreadPoolExecutor(1) as executor:
                sweep.run(executor, **options)

    with pytest.raises(KeyboardInterrupt):
        run(progress=progress)
    kept = sweep.done
    assert progress.calls == list(range(1, after + 1))
    assert kept >= after
    if name == "serial":
        assert kept == after
    before = dict(counted.runs)
    calls: list[int] = []
    run(progress=calls.append)
    assert calls == list(range(kept + 1, 10))
    assert dict(sweep.results) == {seed: seed for seed in range(9)}
    assert sum(counted.runs.values()) == sum(before.values()) + 9 - kept
    if name == "serial":
        assert set(counted.runs.values()) == {1}
    whole = Sweep(Counted(9).cells)
    whole.run()
    assert whole.digest() == sweep.digest()
    run()
    assert sum(counted.runs.values()) == sum(before.values()) + 9 - kept


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)])
def test_a_cell_that_is_interrupted_ends_the_sweep(executor: Executor | None) -> None:
    interrupted: list[int] = []

    def cell(seed: int) -> int:
        if seed == 2 and not interrupted:
            interrupted.append(seed)
            raise KeyboardInterrupt
        return seed

    sweep = Sweep({seed: partial(cell, seed) for seed in range(5)})
    with pytest.raises(KeyboardInterrupt):
        sweep.run(executor)
    assert {0, 1} <= set(sweep.results)
    assert 2 not in sweep.results
    assert dict(sweep.run(executor)) == {seed: seed for seed in range(5)}


@FORK
@pytest.mark.parametrize("name", ["serial", "threads", "fork"])
def test_a_cell_that_raises_is_named_and_the_others_are_kept(name: str) -> None:
    sweep = Sweep(grid(sweep_cells.broken, seed=range(4)))
    message = "cell 2 failed: ValueError: seed 2 is broken"
    with (
        nullcontext() if name == "serial" else EXECUTORS[name]() as executor,
        pytest.raises(SweepFailed, match=message) as failed,
    ):
        sweep.run(executor)
    assert list(failed.value.errors) == [2]
    assert isinstance(failed.value.__cause__, ValueError)
    assert dict(sweep.results) == {0: 0, 1: 1, 3: 3}


def test_many_cells_that_raise() -> None:
    def cell(number: int) -> None:
        raise LookupError(number)

    sweep = Sweep({f"ü{number}": partial(cell, number) for number in range(5)})
    message = "cell 'ü0' failed, and 4 more cells: LookupError: 0"
    with pytest.raises(SweepFailed, match=message):
        sweep.run()
    with ThreadPoolExecutor(3) as executor, pytest.raises(SweepFailed, match=message) as failed:
        sweep.run(executor)
    assert list(failed.value.errors) == [f"ü{number}" for number in range(5)]
    huge = Sweep({10**5000: partial(cell, 1)})
    with pytest.raises(SweepFailed, match="cell of the type int failed"):
        huge.run()


@FORK
def test_a_process_that_ends_keeps_what_is_finished() -> None:
    sweep = Sweep(grid(sweep_cells.exits, seed=range(4)))
    context = multiprocessing.get_context("fork")
    with (
        ProcessPoolExecutor(1, mp_context=context) as executor,
        pytest.raises(BrokenProcessPool) as broken,
    ):
        sweep.run(executor)
    assert "cannot import functions of a notebook" in "".join(broken.value.__notes__)
    assert 2 not in sweep.results


@FORK
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_cell_that_cannot_be_pickled(method: str) -> None:
    counted: list[int] = []
    cells: dict[Any, Callable[[], Any]] = {"good": list, "bad": lambda: counted.append(1)}
    sweep = Sweep(cells)
    with processes(method) as executor:
        with pytest.raises(
            InvalidSetting, match=r"cell 'bad' cannot be pickled .*functools.partial"
        ):
            sweep.run(executor)
        assert dict(sweep.results) == {}
    sweep.run()
    assert counted == [1]


class Pickling(Executor):
    """An executor of another library, which pickles."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(self.error)
        return future


@pytest.mark.parametrize(
    "error",
    [
        pickle.PicklingError("no"),
        AttributeError("Can't pickle local object 'x.<locals>.<lambda>'"),
        TypeError("cannot pickle '_thread.lock' object"),
    ],
)
def test_another_executor_that_cannot_pickle(error: Exception) -> None:
    with pytest.raises(SweepFailed, match=r"cell 'a', or its result, cannot be .*partial"):
        Sweep({"a": list}).run(Pickling(error))
    with pytest.raises(SweepFailed, match="TypeError: other"):
        Sweep({"a": list}).run(Pickling(TypeError("other")))


class AtOnce(Executor):
    """An executor that runs a task in the thread that submits it."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_an_interrupt_while_tasks_are_submitted() -> None:
    interrupted: list[int] = []

    def cell(seed: int) -> int:
        if seed == 3 and not interrupted:
            interrupted.append(seed)
            raise KeyboardInterrupt
        return seed

    sweep = Sweep({seed: partial(cell, seed) for seed in range(5)})
    with pytest.raises(KeyboardInterrupt):
        sweep.run(AtOnce())
    assert dict(sweep.results) == {0: 0, 1: 1, 2: 2}
    assert dict(sweep.run(AtOnce())) == {seed: seed for seed in range(5)}


@pytest.mark.parametrize("executor", [5, "threads", ThreadPoolExecutor])
def test_what_is_no_executor(executor: Any) -> None:
    with pytest.raises(TypeError, match=r"executor must be an executor of concurrent.futures"):
        Sweep({"a": list}).run(executor)


def test_progress_bars_of_tqdm(capsys: pytest.CaptureFixture[str]) -> None:
    tqdm = pytest.importorskip("tqdm").tqdm
    interrupted = Sweep(Counted(4).cells)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(progress=Interrupts(1))
    interrupted.run(progress=tqdm)
    assert "4/4" in capsys.readouterr().err
    Sweep(Counted(4).cells).run(progress=partial(tqdm, desc="cells"))
    assert "cells: 100%" in capsys.readouterr().err
    with tqdm(total=4) as bar:
        Sweep(Counted(4).cells).run(progress=bar)
        assert bar.n == 4
    capsys.readouterr()


class Bar:
    """A class like tqdm."""

    made: "list[Bar]" = []  # noqa: RUF012 - each test begins with an empty list

    def __init__(self, *, total: int, initial: int) -> None:
        self.total, self.n, self.closed = total, initial, False
        Bar.made.append(self)

    def update(self, n: int) -> None:
        self.n += n

    def close(self) -> None:
        self.closed = True


def test_a_progress_bar_is_closed_after_an_interrupt() -> None:
    def cell() -> None:
        raise KeyboardInterrupt

    Bar.made.clear()
    cells: dict[str, Callable[[], object]] = {"a": list, "b": cell}
    with pytest.raises(KeyboardInterrupt):
        Sweep(cells).run(progress=Bar)
    [bar] = Bar.made
    assert (bar.total, bar.n, bar.closed) == (2, 1, True)


@pytest.mark.parametrize("progress", [5, "tqdm", True])
def test_bad_progress(progress: Any) -> None:
    counted = Counted(2)
    with pytest.raises(TypeError, match="progress must be"):
        Sweep(counted.cells).run(progress=progress)
    assert not counted.runs


def test_a_sweep_can_be_pickled_half_way() -> None:
    sweep = Sweep(grid(sweep_cells.broken, seed=range(2)))
    with pytest.raises(KeyboardInterrupt):
        sweep.run(progress=Interrupts(1))
    same: Sweep[int] = pickle.loads(pickle.dumps(sweep))  # noqa: S301 - made here
    assert same.done == 1
    assert dict(same.run()) == {0: 0, 1: 1}
    assert sweep.done == 1


def test_what_a_sweep_shows() -> None:
    cells: dict[str, Callable[[], Any]] = {"b": list, "a": dict}
    sweep = Sweep(cells)
    assert (len(sweep), sweep.done, repr(sweep)) == (2, 0, "<Sweep: 0 of 2 cells finished>")
    results = sweep.run()
    assert list(results.items()) == [("b", []), ("a", {})]
    assert sweep.done == 2
    with pytest.raises(TypeError):
        results["c"] = []  # type: ignore[index]  # read-only


@pytest.mark.parametrize("cells", [None, [list], "ab", list])
def test_cells_are_a_mapping(cells: Any) -> None:
    with pytest.raises(TypeError, match="cells must be a mapping"):
        Sweep(cells)


def test_no_cells() -> None:
    cells: dict[str, Callable[[], int]] = {}
    with pytest.raises(InvalidSetting, match="at least one cell"):
        Sweep(cells)


def test_the_cells_of_a_grid() -> None:
    cells: dict[Any, Callable[[], dict[str, Any]]] = grid(dict, a=[1, 2], b={"x": [3]})
    assert {name: cell() for name, cell in cells.items()} == {
        (1, "x"): {"a": 1, "b": [3]},
        (2, "x"): {"a": 2, "b": [3]},
    }
    assert list(grid(dict, a=range(3))) == [0, 1, 2]
    assert list(grid(dict, a=(name for name in "xy"))) == ["x", "y"]


@pytest.mark.parametrize(
    ("axes", "error"),
    [
        ({}, InvalidSetting),
        ({"a": []}, InvalidSetting),
        ({"a": {}}, InvalidSetting),
        ({"a": [1, 1]}, InvalidSetting),
        ({"a": [1], "b": ["x", "x"]}, InvalidSetting),
        ({"a": [[1]]}, TypeError),
        ({"a": 5}, TypeError),
        ({"a": "xy"}, TypeError),
    ],
)
def test_bad_grids(axes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        grid(dict, **axes)
