"""Marks balancers, gates and loads that belong to a pool or to another balancer."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from balancers._internal.checks import shown
from balancers.errors import AlreadyInUse

__all__ = ["free", "take", "wrapping"]


class _Taken:
    """The mark.  A copy or a pickle of the mark is False, so a copied part is free."""

    def __bool__(self) -> bool:
        return True

    def __deepcopy__(self, memo: dict[int, Any]) -> bool:
        return False

    def __reduce__(self) -> tuple[type[bool], tuple[()]]:
        return bool, ()

    def __repr__(self) -> str:
        return "<taken>"


_TAKEN = _Taken()


def take(part: Any) -> None:
    """Mark a balancer, gate or load as part of a pool or of a balancer.

    The mark is the attribute ``taken``.  An object that cannot have this attribute, or that uses
    the name for something else, is not marked.  Raises AlreadyInUse for a marked part.
    """
    mark = getattr(part, "taken", False)
    if mark is _TAKEN:
        name = type(part).__name__
        raise AlreadyInUse(f"this {name} belongs to a pool or a balancer already: {shown(part)}")
    if mark is False:
        with suppress(AttributeError):
            part.taken = _TAKEN


def free(part: Any) -> None:
    """Remove the mark."""
    if getattr(part, "taken", False) is _TAKEN:
        part.taken = False


@contextmanager
def wrapping(inner: Any) -> Generator[None]:
    """Mark the inner balancer of a balancer that the block constructs.

    If the block raises an exception, remove the mark, and restore the members of the inner balancer
    and their weights.  Raises AlreadyInUse if the inner balancer is marked already.
    """
    take(inner)
    before: dict[Any, float] = {}
    try:
        before.update(inner.weights)
        yield
    except BaseException:
        for backend in reversed([*inner.weights]):
            if backend not in before:
                inner.discard(backend)
        for backend, weight in before.items():
            inner.put(backend, weight)
        free(inner)
        raise
