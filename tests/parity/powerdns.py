"""Replay what a name server answered."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.parity.recordings import Tally

__all__ = ["replay"]


def replay(recording: Mapping[str, Any]) -> Iterable[Tally]:
    """Return one tally per kind of comparison."""
    tally = Tally("powerdns")
    for place, _ in enumerate(recording["cases"]):
        tally.leave(str(place), "not replayed yet")
    return [tally]
