"""A row of the table."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.measure import Effort, Measured, Run, measure

__all__ = ["SIZES", "Row"]

SIZES = (10, 100, 1000, 10_000)


@dataclass(frozen=True)
class Row:
    """One operation at one size, what it is held against, and the ratio to reach."""

    name: str
    n: int
    unit: str
    """U, H, or what it is held against."""
    reach: float
    """At most so many units, ``inf`` to be read only; negative: at least so many times faster."""
    prepare: Callable[[], tuple[Run, Run]]
    """Assert that the results are right, and give ours and the other's operation."""
    timed: Callable[[Run, Run, Effort], Measured] = measure

    def measured(self, effort: Effort) -> Measured:
        """Prepare and time it."""
        return self.timed(*self.prepare(), effort)

    def figure(self, found: Measured) -> float:
        """Give what is held against the reach: units, or times faster."""
        return found.ratio if self.reach > 0 else 1 / found.ratio

    def met(self, found: Measured) -> bool:
        """Whether the reach was reached."""
        return found.ratio <= self.reach if self.reach > 0 else 1 / found.ratio >= -self.reach

    def told(self, found: Measured) -> str:
        """Give the row as a line."""
        sign, figure = ("<=", self.figure(found)) if self.reach > 0 else (">=", self.figure(found))
        off = figure / abs(self.reach)
        verdict = "met" if self.met(found) else f"missed: {off:.2f} of the reach"
        return (
            f"{self.name:<44} {self.n:>6} {found.ours:>12,.0f} {found.other:>14,.0f} "
            f"{figure:>8.1f} {self.unit:<18} {sign} {abs(self.reach):<6g} {verdict}"
        )
