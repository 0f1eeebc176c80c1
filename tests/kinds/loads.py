"""The registry of loads."""

from balancers.loads import InFlight, InFlightCost
from tests.kinds.kind import LoadKind

__all__ = ["LOADS"]

LOADS = [LoadKind("InFlight", InFlight[str]), LoadKind("InFlightCost", InFlightCost[str])]
