"""Runs many simulations, with any executor, and goes on after an interrupt."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting, SweepFailed
from balancers.simulation._digest import digest
from balancers.simulation._execution import Progress, execute
from balancers.simulation._factories import check_factory

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["Sweep", "grid"]

R = TypeVar("R")


class Sweep(Generic[R]):
    """Runs the cells of a comparison, each of them once, and keeps their results.

    ``cells`` is a mapping from names to functions without arguments.  :func:`grid` makes one.  Each
    function returns a result, for example a :class:`Simulation` or :class:`Replications`.  It must
    make its balancers itself: a balancer, a pool or a generator in a cell would be copied to other
    processes, or shared by several cells.

    >>> from balancers import PowerOfTwoChoices, RandomChoice
    >>> from balancers.simulation import Exponential, Poisson, replicate
    >>> run = partial(replicate, service=Exponential(1.0), requests=5000, seeds=range(4))
    >>> policies = {"random": RandomChoice, "two": PowerOfTwoChoices}
    >>> sweep = Sweep(grid(
    ...     run,
    ...     make={name: partial(policy, range(10)) for name, policy in policies.items()},
    ...     arrivals={0.5: Poisson(5.0), 0.8: Poisson(8.0)},
    ... ))
    >>> sweep
    <Sweep: 0 of 4 cells finished>
    >>> for (policy, load), runs in sweep.run().items():
    ...     print(policy, load, round(runs.mean, 1))
    random 0.5 2.0
    random 0.8 5.0
    two 0.5 1.3
    two 0.8 2.1

    The results do not depend on the executor, nor on the order in which cells are finished.  A
    sweep can be pickled if its cells and results can.

    Raises InvalidSetting if there are no cells, and for a cell that contains an object with a
    state.  Raises TypeError if ``cells`` is not a mapping, or a cell cannot be called.
    """

    def __init__(self, cells: Mapping[Any, Callable[[], R]]) -> None:
        given: object = cells
        if not isinstance(given, Mapping):
            raise TypeError(f"cells must be a mapping from names to functions, not {shown(cells)}")
        if not cells:
            raise InvalidSetting("cells must contain at least one cell")
        for name, cell in cells.items():
            check_factory(f"cell {shown(name)}", cell)
        self._cells = dict(cells)
        self._results: dict[Any, R] = {}

    def run(
        self, executor: "Executor | None" = None, progress: Progress | None = None
    ) -> Mapping[Any, R]:
        """Run the cells that are not finished yet, and return all results.

        Without an executor, the cells run one after the other in this thread.  Otherwise it is any
        executor of :mod:`concurrent.futures`: threads, processes, or ``client.get_executor()`` of a
        Dask cluster.  It is not shut down.

        ``progress`` is the class ``tqdm``, a progress bar of it, or a function.  The function is
        called with the number of finished cells after each cell.

        After an interrupt (Ctrl-C), the cells that are finished are kept, and the next call runs
        only the others.  So it is after an error of the executor, or of ``progress``.

        Raises SweepFailed after all other cells if some have raised exceptions.  Call it again to
        run these again.  Raises InvalidSetting for a cell that cannot be pickled, if the executor
        needs this, and TypeError for another executor or ``progress``.
        """
        waiting = {name: cell for name, cell in self._cells.items() if name not in self._results}
        errors = execute(
            waiting,
            self._results.__setitem__,
            kind="cell",
            executor=executor,
            progress=progress,
            done=len(self._results),
        )
        if errors:
            raise SweepFailed(errors) from next(iter(errors.values()))
        return self.results

    @property
    def done(self) -> int:
        """The number of cells that are finished."""
        return len(self._results)

    @property
    def results(self) -> Mapping[Any, R]:
        """The results of the finished cells, in the order of the cells, read-only."""
        ordered = {name: self._results[name] for name in self._cells if name in self._results}
        return MappingProxyType(ordered)

    def digest(self) -> str:
        """Return one SHA-256, in hexadecimal, of the names and results of all finished cells.

        It is the same in every process and with every executor.  Raises TypeError for a result that
        contains an object that cannot be pickled.
        """
        return digest(dict(self.results)).hex()

    def __len__(self) -> int:
        return len(self._cells)

    def __repr__(self) -> str:
        return f"<Sweep: {self.done} of {len(self)} cells finished>"


def grid(
    run: Callable[..., R], /, **axes: Mapping[Any, Any] | Iterable[Any]
) -> dict[Any, Callable[[], R]]:
    """Return the cells of a :class:`Sweep`: ``run`` with every combination of arguments; O(cells).

    Each keyword is an argument of ``run``, and gets the values to try: a mapping from names to
    values, or an iterable of values that are their own names.  The name of a cell is the tuple of
    the names of its values, or the one name if there is one keyword.  Set the other arguments by
    :func:`functools.partial`.

    >>> cells = grid(max, default={"none": 0, "one": 1})
    >>> list(cells), list(grid(pow, base=[2, 3], exp=[4]))
    (['none', 'one'], [(2, 4), (3, 4)])
    >>> grid(pow, base=[2, 3], exp=[4])[3, 4]()
    81

    Raises InvalidSetting if there is no keyword, if one has no values, and for equal names.  Raises
    TypeError for values that are not iterable, and for names that cannot be hashed.
    """
    if not axes:
        raise InvalidSetting("grid needs at least one argument with the values to try")
    columns = [_column(argument, values) for argument, values in axes.items()]
    cells: dict[Any, Callable[[], R]] = {}
    for pairs in product(*columns):
        names = tuple(name for name, _ in pairs)
        name: Hashable = names if len(axes) > 1 else names[0]
        if name in cells:
            raise InvalidSetting(
                f"two cells have the name {shown(name)}: pass a mapping from names"
            )
        values = (value for _, value in pairs)
        cells[name] = partial(run, **dict(zip(axes, values, strict=True)))
    return cells


def _column(argument: str, values: object) -> list[tuple[Any, Any]]:
    """Return the names and values of one argument."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{argument} must be values to try, not {shown(values)}")
    if isinstance(values, Mapping):
        named: Any = cast("object", values)
        column = [*named.items()]
    else:
        listed: Any = cast("object", values)
        column = [(value, value) for value in listed]
    if not column:
        raise InvalidSetting(f"{argument} must have at least one value")
    return column
