"""Marks balancers and gates that belong to a pool."""

from contextlib import suppress
from typing import Any

from balancers.errors import AlreadyInUse

__all__ = ["free", "take"]


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
    """Mark a balancer or gate as part of a pool.

    The mark is the attribute ``taken``.  An object that cannot have this attribute, or that uses
    the name for something else, is not marked.  Raises AlreadyInUse for a marked part.
    """
    mark = getattr(part, "taken", False)
    if mark is _TAKEN:
        raise AlreadyInUse(f"this {type(part).__name__} belongs to a pool already: {part!r}")
    if mark is False:
        with suppress(AttributeError):
            part.taken = _TAKEN


def free(part: Any) -> None:
    """Remove the mark."""
    if getattr(part, "taken", False) is _TAKEN:
        part.taken = False
