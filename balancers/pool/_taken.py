"""Ensures that a balancer or gate belongs to one pool only."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from balancers.errors import AlreadyInUse

__all__ = ["taking"]


@contextmanager
def taking(*parts: Any) -> Generator[None]:
    """Mark each part as used by a pool.  If the block raises an exception, remove all these marks.

    An object that cannot have attributes is not marked.  Raises AlreadyInUse if a part is already
    marked.
    """
    taken: list[Any] = []
    try:
        for part in parts:
            _take(part)
            taken.append(part)
        yield
    except BaseException:
        for part in taken:
            with suppress(AttributeError):
                part.taken = False
        raise


def _take(part: Any) -> None:
    if getattr(part, "taken", False):
        raise AlreadyInUse(f"this {type(part).__name__} belongs to a pool already: {part!r}")
    with suppress(AttributeError):
        part.taken = True
