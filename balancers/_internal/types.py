"""The type variable of backends."""

from typing import TypeVar

__all__ = ["B"]

B = TypeVar("B")
"""Any hashable object of the caller, for example ``"10.0.0.1:80"``."""
