"""Compares failure detectors on the same heartbeats: ``python -m tests.redundancy.heartbeats``.

Prints the table of docs/redundancy.md, and fails if the page has another one.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from balancers.redundancy import FailureDetector, PhiDetector, TimeoutDetector
from tests.redundancy.heartbeat_traces import TRACES, arrivals

__all__ = ["DETECTORS", "Figures", "measured", "table"]

PAGE = Path(__file__).parents[2] / "docs" / "redundancy.md"
DETECTORS: dict[str, Callable[[], FailureDetector[str]]] = {
    "time-out of 2 s": lambda: TimeoutDetector(timeout=2.0),
    "time-out of 4.6 s": lambda: TimeoutDetector(timeout=4.6),
    "phi 8, no pause": lambda: PhiDetector(pause=0.0),
    "phi 8, pause of 3 s": PhiDetector,
}


@dataclass(frozen=True)
class Figures:
    """What one detector does on one trace, in seconds."""

    false_alarms: int
    detection: float
    """The mean time from the last heartbeat until a member that then dies is suspected."""
    longest: float
    """The longest such time, except for the first 100 heartbeats."""


def measured(detector: FailureDetector[str], times: list[float]) -> Figures:
    """Return the figures of one trace, in which the member is always healthy."""
    detector.add("lb2", now=0.0)
    false_alarms, waits = 0, list[float]()
    for time in times:
        while detector.due < time:
            false_alarms += len(detector.tick(detector.due))
        detector.heartbeat("lb2", now=time)
        waits.append(detector.due - time)
    return Figures(false_alarms, sum(waits) / len(waits), max(waits[100:]))


def table() -> list[str]:
    """Return the table in Markdown: for each trace, one row per detector."""
    lines = ["| heartbeats | detector | false alarms | detection, mean | detection, longest |"]
    lines.append("|---|---|---|---|---|")
    for trace in TRACES:
        times = arrivals(trace)
        for name, create in DETECTORS.items():
            found = measured(create(), times)
            lines.append(
                f"| {trace} | {name} | {found.false_alarms} "
                f"| {found.detection:.2f} s | {found.longest:.2f} s |"
            )
    return lines


def main() -> None:
    """Print the table, and exit with 1 if a line of it is not on the page."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    missing = 0
    for line in table():
        known = line in page
        missing += not known
        print(line, "" if known else "  <- not on the page")  # noqa: T201 - the table
    sys.exit(missing > 0)


if __name__ == "__main__":
    main()
