"""The optional methods of balancers and gates."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from balancers.outcome import UNKNOWN

__all__ = ["hook", "hooks", "undo_start"]


def hook(part: Any, protocol: Any, name: str) -> Callable[..., None] | None:
    """Return a method of the part, None if it is missing or the protocol's, which does nothing."""
    method: Callable[..., None] | None = getattr(part, name, None)
    return None if getattr(method, "__func__", None) is getattr(protocol, name) else method


def hooks(parts: Iterable[Any], protocol: Any, name: str) -> list[Callable[..., None]]:
    """Return the :func:`hook` of each part that has one."""
    methods = [hook(part, protocol, name) for part in parts]
    return [method for method in methods if method is not None]


def undo_start(
    finished: Callable[..., None] | None,
    gates: Iterable[Any],
    failed: Callable[..., None] | None,
    backend: object,
    in_flight: int,
    now: float,
) -> None:
    """Report the end of a request whose start was refused, to those that accepted it.

    ``failed`` is the ``started`` of the gate that raised, None if the balancer raised.
    """
    if failed is None:
        return
    if finished is not None:
        with suppress(Exception):
            finished(backend, UNKNOWN, now)
    for gate in gates:
        if gate.started == failed:
            return
        with suppress(Exception):
            gate.finished(backend, UNKNOWN, in_flight, now, now)
