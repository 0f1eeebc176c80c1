"""Defines a scenario: figures of simulated traffic, each with its bar."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Row", "Scenario"]


@dataclass(frozen=True)
class Row:
    """A measured value and the bar that it must reach."""

    name: str
    value: float
    bar: float
    unit: str = ""
    at_most: bool = True
    """Whether the value must be at most the bar.  If False, it must be at least the bar."""

    @property
    def met(self) -> bool:
        """Whether the value reaches the bar.  NaN never does."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    def __str__(self) -> str:
        """Show the row as a line of the table in docs/scenarios.md."""
        sign, verdict = "≤" if self.at_most else "≥", "met" if self.met else "MISSED"
        unit = f" {self.unit}" if self.unit else ""
        return f"| {self.name} | {self.value:.4g}{unit} | {sign} {self.bar:g}{unit} | {verdict} |"


class Scenario(Protocol):
    """A module of tests/scenarios."""

    NAME: str
    WHAT: str
    """What the scenario shows, in one sentence."""

    def rows(self) -> Iterator[Row]:
        """Simulate, and yield the figures."""
        ...
