"""Presents the backends without a result as closed by a hard gate."""

from collections.abc import Callable
from typing import Generic

from balancers._internal.types import B
from balancers.gate import Gate

__all__ = ["UnprovenGate", "unproven_gate"]


class UnprovenGate(Generic[B]):
    """Closes the backends that have had no result, also while soft gates are ignored.

    It has the reason of the soft gate that it belongs to.
    """

    soft = spares_bound = fractional = False

    def __init__(self, reason: str, unproven: Callable[[B, float], bool]) -> None:
        self.reason = reason
        self._unproven = unproven

    def factor(self, backend: B, now: float) -> float:
        """Return 0 for a backend without a result at ``now``, else 1."""
        return 0 if self._unproven(backend, now) else 1


def unproven_gate(gate: Gate[B]) -> UnprovenGate[B] | None:
    """Return the second gate of a soft gate that has the method ``unproven``, else None."""
    unproven: Callable[[B, float], bool] | None = getattr(gate, "unproven", None)
    return None if unproven is None or not gate.soft else UnprovenGate(gate.reason, unproven)
