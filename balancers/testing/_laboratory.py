"""Provides what the laws work with: drawn values, and lines that are executed and printed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from balancers.testing._choices import Choices
from balancers.testing._program import Program
from balancers.testing._statistics import count_bounds

__all__ = ["Laboratory", "NotTested", "Settings"]

T = TypeVar("T")


class NotTested(Exception):
    """Raised by a law that cannot be tested with these settings.  The report shows the reason."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of a check, after they were validated."""

    factory: Callable[..., Any]
    traits: frozenset[str]
    takes_rng: bool
    keys: Callable[[int], Any] | Sequence[Any] | None = None
    weights: Sequence[float] | None = None
    max_members: int = 64
    bound: float | None = None
    events: Any = None


class Laboratory:
    """Runs one example of a law.

    Names in lines: ``make`` is the factory; every value that a line needs is passed by keyword.
    The methods ``run``, ``let``, ``check`` and ``check_raises`` are those of
    :class:`~balancers.testing._program.Program`.
    """

    assertions_only_read = False
    """Whether the lines of ``check`` change nothing, so that the program may leave them out."""

    def __init__(self, settings: Settings, choices: Choices, *, recording: bool = False) -> None:
        self.settings = settings
        self.choices = choices
        self.program = Program({"make": settings.factory}, recording=recording)
        self.run = self.program.run
        self.let = self.program.let
        self.check = self.program.check
        self.check_raises = self.program.check_raises
        self.comparisons = 0
        self._number: int | None = None

    def close(self, namespace: dict[str, Any] | None = None) -> None:
        """Called at the end of an example.  Undo what could change the next one.

        ``namespace`` contains the variables of the program if it was executed once more.
        """
        return

    def below(self, count: int) -> int:
        """Return a drawn number from 0 to ``count`` - 1; 0 is the simplest."""
        return self.choices.below(count)

    def one_of(self, values: Sequence[T]) -> T:
        """Return one of the values; the first is the simplest."""
        return values[self.choices.below(len(values))]

    def some_of(self, values: Sequence[T]) -> list[T]:
        """Return some of the values, in their order; none is the simplest."""
        return [value for value in values if self.choices.below(2)]

    def more(self, mean: int = 16, most: int = 200) -> Iterator[int]:
        """Yield numbers from 0, for a drawn number of steps: ``mean`` on average."""
        for number in range(most):
            if not self.choices.below(mean + 1):
                return
            yield number

    def make(self, name: str) -> None:
        """Call the factory, and give the result this name in later lines.

        All objects of one example get generators with the same seed.
        """
        if self.settings.takes_rng:
            if self._number is None:
                self._number = self.choices.below(1000)
            self.run(f"{name} = make(rng=Random(number))", number=self._number)
        else:
            self.run(f"{name} = make()")

    def check_count(
        self, count: str, trials: int, share: float, why: str, /, *, slack: int = 0, **values: Any
    ) -> None:
        """Compare a count with its expected share of the trials.  Raises Breach.

        ``count`` is an expression.  The comparison is statistical: it fails by chance with a
        probability of at most 5·10⁻¹³.  The count may be out of the range by ``slack``.
        """
        self.comparisons += 1
        low, high = count_bounds(trials, share)
        values |= {"low": max(0, low - slack), "high": min(trials, high + slack)}
        self.check(f"low <= {count} <= high", why, **values)
