"""The registry of loads."""

from balancers.loads import InFlight
from tests.kinds.kind import LoadKind

__all__ = ["LOADS"]

LOADS = [LoadKind("InFlight", InFlight[str])]
