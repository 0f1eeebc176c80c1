"""Runs tasks one after the other, or with an executor of :mod:`concurrent.futures`."""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from itertools import count
from pickle import PicklingError, dumps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from uuid import uuid4

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = ["Bar", "Progress", "execute"]

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Bar(Protocol):
    """What is used of the progress bars of tqdm."""

    def update(self, n: int, /) -> object:
        """Count finished tasks."""
        ...


_BROKEN = (
    "A process that starts afresh cannot import functions of a notebook or of an interactive "
    "session. Put them into a module, or use functools.partial of a class."
)

Progress = Callable[..., Any] | Bar
"""A function that is called with the number of finished tasks, a class of progress bars like
``tqdm``, or a progress bar."""


def execute(
    tasks: Mapping[K, Callable[[], R]],
    finished: Callable[[K, R], object],
    *,
    kind: str,
    executor: "Executor | None",
    progress: Progress | None,
    done: int = 0,
) -> dict[K, Exception]:
    """Run all tasks, and return the exceptions of those that failed, in the order of the tasks.

    ``finished`` is called in this thread with the name and the result of each task, as soon as it
    is finished.  ``kind`` describes a task in messages.  ``done`` is the number of tasks that were
    finished before.  After an interrupt, and after an error of the executor or of ``progress``, the
    tasks that have not begun are cancelled, ``finished`` is called for the others that have ended,
    and the exception is raised.
    """
    step, close = _steps(progress, done, done + len(tasks))
    try:
        if executor is None:
            errors = _one_by_one(tasks, finished, step)
        else:
            errors = _submitted(tasks, finished, step, executor, kind)
    finally:
        close()
    return {name: errors[name] for name in tasks if name in errors}


def _one_by_one(
    tasks: Mapping[K, Callable[[], R]],
    finished: Callable[[K, R], object],
    step: Callable[[], object],
) -> dict[K, Exception]:
    errors: dict[K, Exception] = {}
    for name, task in tasks.items():
        try:
            result = task()
        except Exception as error:  # noqa: BLE001 - the error of a task is returned
            errors[name] = error
        else:
            finished(name, result)
        step()
    return errors


def _submitted(
    tasks: Mapping[K, Callable[[], R]],
    finished: Callable[[K, R], object],
    step: Callable[[], object],
    executor: "Executor",
    kind: str,
) -> dict[K, Exception]:
    from concurrent.futures import (  # noqa: PLC0415 - loaded only with an executor
        BrokenExecutor,
        Executor,
        ProcessPoolExecutor,
        as_completed,
    )

    if not isinstance(executor, Executor):
        raise TypeError(
            f"executor must be an executor of concurrent.futures, for example "
            f"client.get_executor() of Dask, not {shown(executor)}"
        )
    if isinstance(executor, ProcessPoolExecutor):
        for name, task in tasks.items():
            _check_pickle(f"{kind} {shown(name)}", task)
    errors: dict[K, Exception] = {}
    futures: dict[Future[R], K] = {}
    try:
        for name, task in tasks.items():
            futures[executor.submit(_call, task, uuid4().hex)] = name
        for future in as_completed(list(futures)):
            name = futures.pop(future)
            try:
                result = future.result()
            except BrokenExecutor as error:
                error.add_note(_BROKEN)
                raise
            except Exception as error:  # noqa: BLE001 - the error of a task is returned
                errors[name] = _explained(f"{kind} {shown(name)}, or its result,", error)
            else:
                finished(name, result)
            step()
    except BaseException:
        _cancel(futures, finished)
        raise
    return errors


def _call(task: Callable[[], R], attempt: str) -> R:  # noqa: ARG001 - it makes calls differ
    """Return the result of a task.

    Dask computes calls with equal arguments once.  So a task that was cancelled could not be run
    again, if ``attempt`` were not another one each time.
    """
    return task()


def _cancel(futures: "Mapping[Future[R], K]", finished: Callable[[K, R], object]) -> None:
    """Cancel the tasks that have not begun, and keep the results of those that have ended."""
    for future, name in futures.items():
        if not future.cancel() and future.done() and future.exception() is None:
            finished(name, future.result())


def _check_pickle(name: str, task: object) -> None:
    """Raise InvalidSetting if a task cannot be sent to another process."""
    try:
        dumps(task)
    except (PicklingError, AttributeError, TypeError) as error:
        raise InvalidSetting(_unpicklable(name, error)) from error


def _explained(name: str, error: Exception) -> Exception:
    """Return the error, or one that explains it if an executor could not pickle a task."""
    about_pickle = isinstance(error, AttributeError | TypeError) and "pickle" in str(error)
    if not isinstance(error, PicklingError) and not about_pickle:
        return error
    explained = InvalidSetting(_unpicklable(name, error))
    explained.__cause__ = error
    return explained


def _unpicklable(name: str, error: Exception) -> str:
    return (
        f"{name} cannot be pickled for another process ({error}): use functools.partial of "
        "a class or of a function of a module, not a lambda or a local function"
    )


def _nothing() -> None:
    """Do nothing."""


def _steps(
    progress: Progress | None, done: int, total: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what is called after each task, and at the end."""
    if progress is None:
        return _nothing, _nothing
    given: Any = cast("object", progress)
    if isinstance(getattr(given, "func", given), type):  # a class, or a partial of one
        bar = given(total=total, initial=done)
        return partial(bar.update, 1), bar.close
    if hasattr(given, "update"):
        return partial(given.update, 1), _nothing
    if not callable(given):
        raise TypeError(f"progress must be a function or a class like tqdm, not {shown(progress)}")
    counts = count(done + 1)
    return lambda: given(next(counts)), _nothing
