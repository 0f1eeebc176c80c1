"""Defines the type variables for backends.

They have the default ``Any`` (PEP 696), so that ``Drain()`` needs no annotation.  Type checkers
know the module ``typing_extensions`` without its package, and nothing imports it at run time.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    B = TypeVar("B", default=Any)
    S = TypeVar("S", default=Any)
    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    B = TypeVar("B")
    """The type of the backends.  A backend is any hashable object of the caller, for example
    ``"10.0.0.1:80"``."""
    S = TypeVar("S")
    """The type of the object that a class stores per backend, for example its state."""
    T = TypeVar("T")
    """The type of any other object of the caller, for example of one that waits in a queue."""

__all__ = ["B", "S", "T"]
