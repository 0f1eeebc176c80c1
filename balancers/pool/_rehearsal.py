"""Copies a balancer, so that a change can be tried before the balancer itself forgets anything."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from balancers._internal.copying import share

__all__ = ["copy_to_try"]


def copy_to_try(balancer: Any, joiners: Iterable[object] = ()) -> Any | None:
    """Return a copy with the same backends, or None if the balancer cannot be copied.

    The copy can be given ``joiners`` too, which are not copied either.
    """
    memo: dict[int, Any] = {}
    share(memo, (*balancer.weights, *joiners))
    try:
        copied = deepcopy(balancer, memo)
    except Exception:  # noqa: BLE001 - an object of another author
        return None
    methods = copied.put, copied.discard
    if any(getattr(method, "__self__", None) is not copied for method in methods):
        return None  # its methods would change the original
    return copied
