"""Finds the optional methods of balancers and gates."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from balancers.balancer import Balancer
from balancers.outcome import UNKNOWN

__all__ = ["call_rest", "hook", "hooks", "undo_start"]


def hook(part: Any, protocol: Any, name: str) -> Callable[..., None] | None:
    """Return a method of the part.  Return None if calling the method would do nothing.

    This is the case if the part has no such method, or only the default of the protocol.
    """
    method: Callable[..., None] | None = getattr(part, name, None)
    return None if getattr(method, "__func__", None) is getattr(protocol, name) else method


def hooks(parts: Iterable[Any], protocol: Any, name: str) -> list[Callable[..., None]]:
    """Return the methods that :func:`hook` finds for the parts.

    Parts without such a method are left out.
    """
    methods = [hook(part, protocol, name) for part in parts]
    return [method for method in methods if method is not None]


def has_state(balancer: Any) -> bool:
    """Return whether a balancer knows more about its members than their weights."""
    reports = hook(balancer, Balancer, "started"), hook(balancer, Balancer, "finished")
    optional = (getattr(balancer, name, None) for name in ("charged", "condition_changed"))
    return any((*reports, *optional))


def undo_start(
    finished: Callable[..., None] | None,
    gates: Iterable[Any],
    failed: Callable[..., None] | None,
    backend: object,
    in_flight: int,
    now: float,
) -> None:
    """Report the end of a request to the balancer and to the gates that have counted its start.

    It is called when ``started`` of the balancer or of a gate raised an exception.  ``failed`` is
    the ``started`` method of this gate.  It is None if the balancer raised the exception; then
    nothing is reported.
    """
    if failed is None:
        return
    if finished is not None:
        with suppress(Exception):
            finished(backend, UNKNOWN, now)
    for gate in gates:
        if getattr(gate, "started", None) == failed:
            return
        with suppress(Exception):
            gate.finished(backend, UNKNOWN, in_flight, now, now)


def call_rest(
    methods: Iterable[Callable[..., None]],
    failed: Callable[..., None] | None,
    *arguments: object,
) -> None:
    """Call the methods after the one that failed, or all of them if ``failed`` is None.

    Exceptions of these methods are suppressed, because the first one is raised.
    """
    rest = iter(methods)
    if failed is not None:
        any(method == failed for method in rest)
    for method in rest:
        with suppress(Exception):
            method(*arguments)
