"""Ensures that a balancer or gate belongs to one pool only."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from balancers._internal.taken import free, take

__all__ = ["take", "taking"]


@contextmanager
def taking(*parts: Any) -> Generator[None]:
    """Mark each part as used by a pool.  If the block raises an exception, remove these marks.

    Raises AlreadyInUse if a part is already marked.
    """
    taken: list[Any] = []
    try:
        for part in parts:
            take(part)
            taken.append(part)
        yield
    except BaseException:
        for part in taken:
            free(part)
        raise
