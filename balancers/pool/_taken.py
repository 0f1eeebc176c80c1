"""A balancer or gate belongs to one pool."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from balancers.errors import AlreadyInUse

__all__ = ["taking"]


@contextmanager
def taking(*parts: Any) -> Generator[None]:
    """Mark each part as taken by a pool, and free all of them again if the block raises.

    An object that cannot have attributes is not marked.  Raises AlreadyInUse.
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
