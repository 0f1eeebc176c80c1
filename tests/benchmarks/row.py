"""A row of the benchmark table."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.measure import Effort, Measured, Run, measure

__all__ = ["SIZES", "Row"]

SIZES = (10, 100, 1000, 10_000)


@dataclass(frozen=True)
class Row:
    """One operation at one size, its reference, and the target ratio."""

    name: str
    n: int
    unit: str
    """U, H, or the name of the reference."""
    reach: float
    """The greatest allowed ratio, ``inf`` for no target; if negative, the least speed-up."""
    prepare: Callable[[], tuple[Run, Run]]
    """Checks that both results are correct, and returns our operation and the reference."""
    timed: Callable[[Run, Run, Effort], Measured] = measure

    def measured(self, effort: Effort) -> Measured:
        """Prepare and time the row."""
        return self.timed(*self.prepare(), effort)

    def figure(self, found: Measured) -> float:
        """Return the value to compare with the target: the ratio or the speed-up."""
        return found.ratio if self.reach > 0 else 1 / found.ratio

    def met(self, found: Measured) -> bool:
        """Return whether the target was met."""
        return found.ratio <= self.reach if self.reach > 0 else 1 / found.ratio >= -self.reach

    def line(self, found: Measured) -> str:
        """Return the row as a line of text."""
        sign, figure = ("<=", self.figure(found)) if self.reach > 0 else (">=", self.figure(found))
        off, places = figure / abs(self.reach), 1 if figure >= 1 else 2
        verdict = "met" if self.met(found) else f"missed: {off:.2f} of the target"
        return (
            f"{self.name:<44} {self.n:>6} {found.ours:>12,.0f} {found.other:>14,.0f} "
            f"{figure:>8.{places}f} {self.unit:<18} {sign} {abs(self.reach):<6g} {verdict}"
        )
