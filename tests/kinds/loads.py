"""The registry of loads."""

from operator import add

from balancers.loads import Combined, Ewma, InFlight, InFlightCost, PeakEwma
from tests.kinds.kind import LoadKind

__all__ = ["LOADS"]


def combined() -> Combined[str]:
    return Combined(add, InFlight[str](), PeakEwma[str](max_age=5.0))


def first_only() -> PeakEwma[str]:
    return PeakEwma(tau=0.5, penalty=3, probes=2, first=True)


LOADS = [
    LoadKind("InFlight", InFlight[str]),
    LoadKind("InFlightCost", InFlightCost[str]),
    LoadKind("PeakEwma", PeakEwma[str]),
    LoadKind("PeakEwma-first", first_only),
    LoadKind("Ewma", Ewma[str]),
    LoadKind("Combined", combined),
]
