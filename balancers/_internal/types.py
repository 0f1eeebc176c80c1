"""Defines the type variable for backends."""

from typing import TypeVar

__all__ = ["B"]

B = TypeVar("B")
"""The type of the backends.  A backend is any hashable object of the caller, for example
``"10.0.0.1:80"``."""
