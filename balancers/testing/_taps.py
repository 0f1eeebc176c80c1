"""Observes the calls of one object, by giving it a subclass of its own class.

Every reference to the object stays valid, so no call is missed.  The class of the object is
restored at the end.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

from balancers._internal.checks import shown
from balancers.errors import AlreadyInUse
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    CostLimit,
    CostRateLimit,
    Drain,
    DynamicLimit,
    HealthChecks,
    MemberGate,
    OutlierEjection,
    RequestRateLimit,
    SlowStart,
)

__all__ = ["UNCHANGING", "Tap", "methods_of"]

Replace = Callable[[str, Callable[..., Any]], Callable[..., Any]]
"""Takes the name of a method and the method.  Returns the function to call instead."""
_MARK = "_recorded_object"
_OPERATORS = {
    "__call__", "__setitem__", "__delitem__", "__iadd__", "__iand__", "__ifloordiv__",
    "__ilshift__", "__imatmul__", "__imod__", "__imul__", "__ior__", "__ipow__", "__irshift__",
    "__isub__", "__itruediv__", "__ixor__",
}  # fmt: skip
"""The methods with double underscores that are recorded."""
_READS: set[Any] = {
    MemberGate.state_of,
    MemberGate.find_state,
    MemberGate.clamp,
    MemberGate.in_flight_on,
    HealthChecks.healthy,
    HealthChecks.unproven,
    ActiveChecks.unproven,
    Drain.draining,
    OutlierEjection.ejections,
    CoolDown.until,
    DynamicLimit.limit_at,
    SlowStart.share,
    CostLimit.cost_on,
    CostLimit.without_room,
    CostRateLimit.level,
    CostRateLimit.without_room,
    RequestRateLimit.level,
}
"""The methods of this package's gates that change nothing, so a log does not need them."""
UNCHANGING = ("factor", "value")
"""The methods that change nothing according to the protocols of gates and loads."""
_BALANCER_CALLS = {"put", "discard", "pick", "started", "finished"}


class Tap:
    """Gives an object a subclass in which some attributes are replaced.

    These are the methods of the given names and, with ``assignments``, the assignments to public
    attributes.  Copies and pickles of the object behave as if it had its own class.

    Raises AlreadyInUse if the object is recorded already, and TypeError if its class cannot have
    such a subclass.
    """

    def __init__(
        self,
        target: Any,
        names: Iterable[str],
        replace: Replace,
        *,
        assignments: bool = False,
    ) -> None:
        base = class_of(target)
        self._target, self._base = target, base
        if _static(base, _MARK) is target:
            raise AlreadyInUse(f"recorded already: {shown(target)}")
        parts: dict[str, Any] = {_MARK: target, "__slots__": (), "__doc__": self._base.__doc__}
        parts |= {n: getattr(self._base, n) for n in ("__module__", "__qualname__")}
        own = getattr(target, "__dict__", ())
        for name in names:
            if name in own or _static(base, name) is not None:  # else __getattr__ finds it
                parts[name] = self._tapped(name, replace)
        if assignments:
            parts["__setattr__"] = self._tapped_assignment(replace)
            if hasattr(self._base, "__getattr__"):
                parts["__getattr__"] = self._tapped_lookup(replace)
        parts["__reduce_ex__"] = self._reducer()
        try:
            subclass = class_of(base)(base.__name__, (base,), parts)
            object.__setattr__(target, "__class__", subclass)
        except Exception as error:  # __init_subclass__ may raise anything
            raise TypeError(f"cannot be recorded: {shown(target)}: {error}") from error

    def remove(self) -> None:
        """Restore the class of the object."""
        with suppress(TypeError):
            object.__setattr__(self._target, "__class__", self._base)

    def _tapped(self, name: str, replace: Replace) -> Any:
        target, base = self._target, self._base
        static = _static(base, name)
        if name in getattr(target, "__dict__", ()):
            return _tapped_attribute(target, name, replace)
        if isinstance(static, FunctionType):
            recorded = replace(name, static.__get__(target))

            def method(self: Any, *args: Any, **kwargs: Any) -> Any:
                if self is target:
                    return recorded(*args, **kwargs)
                return static(self, *args, **kwargs)

            return method

        if isinstance(static, property):

            def read(self: Any) -> Any:
                reading: Callable[[], Any] = partial(static.__get__, self)
                return replace(name, reading)() if self is target else reading()

            return property(read)

        def bound(self: Any) -> Any:
            value = static.__get__(self, base) if hasattr(static, "__get__") else static
            return replace(name, value) if self is target and callable(value) else value

        return property(bound)

    def _tapped_assignment(self, replace: Replace) -> Any:
        target, assign = self._target, self._base.__setattr__
        assigned = replace("__setattr__", assign.__get__(target))

        def set_attribute(self: Any, name: str, value: Any) -> None:
            if self is target and not name.startswith("_"):
                assigned(name, value)
            else:
                assign(self, name, value)

        return set_attribute

    def _tapped_lookup(self, replace: Replace) -> Any:
        target, look_up = self._target, self._base.__getattr__

        def get_attribute(self: Any, name: str) -> Any:
            value = look_up(self, name)
            recorded = self is target and callable(value) and not name.startswith("_")
            return replace(name, value) if recorded else value

        return get_attribute

    def _reducer(self) -> Any:
        base = self._base

        def reduce_ex(self: Any, protocol: Any) -> Any:
            parts: Any = base.__reduce_ex__(self, protocol)
            if isinstance(parts, str):
                return parts
            function, arguments, *rest = parts
            own = tuple(base if argument is type(self) else argument for argument in arguments)
            if getattr(function, "__name__", "") == "__newobj__":  # it refuses another class
                function = base.__new__
            return (function, own, *rest)

        return reduce_ex


def methods_of(target: Any, *, balancer: bool = False) -> frozenset[str]:
    """Return the names of the methods of a gate, balancer or load that may change its state."""
    return frozenset(_methods_of(target, balancer=balancer))


def _methods_of(target: Any, *, balancer: bool) -> Iterator[str]:
    own: dict[str, Any] = getattr(target, "__dict__", {})
    names: list[str] = [*dir(class_of(target)), *own]
    for name in dict.fromkeys(names):
        static = own[name] if name in own else _static(class_of(target), name)
        if name in UNCHANGING or not (name in _OPERATORS or not name.startswith("_")):
            continue
        if isinstance(static, type | property) or not _is_method(static):
            continue
        if static in _READS if isinstance(static, FunctionType) else False:
            continue
        ours = str(getattr(static, "__module__", "")).startswith("balancers.")
        if balancer and ours and name not in _BALANCER_CALLS:
            continue
        yield name


def _static(kind: Any, name: str) -> Any:
    """Return the attribute of a class as it was defined.  No descriptor is called."""
    parts: list[Mapping[str, Any]] = [vars(base) for base in kind.__mro__]
    return next((part[name] for part in parts if name in part), None)


def class_of(target: object) -> Any:
    """Return the class of an object."""
    return type(target)


def _is_method(static: Any) -> bool:
    return callable(static) or isinstance(static, staticmethod | classmethod)


def _tapped_attribute(target: Any, name: str, replace: Replace) -> Any:
    """Return a property for a function that the object has as an attribute of its own."""

    def get(self: Any) -> Any:
        value = self.__dict__[name]
        return replace(name, value) if self is target and callable(value) else value

    def assign(self: Any, value: Any) -> None:
        self.__dict__[name] = value

    return property(get, assign)
