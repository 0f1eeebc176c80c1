"""Adapters of roundrobin, with its three functions and its class."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from balancers import Key
from tests.other_libraries.adapter import Adapter, Finding, Subject

__all__ = ["SUBJECTS", "Basic", "Smooth", "SmoothStateful", "Weighted"]


class Smooth(Adapter):
    """Makes a new selector after each change of the members, because a selector has no update."""

    function = "smooth"
    peer: Any = None

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        weights = {**self.weights, backend: new}
        items = [(member, int(weight)) for member, weight in weights.items() if weight]
        make = getattr(import_module("roundrobin"), self.function)
        self.peer = make(self.items(items)) if items else None

    def items(self, items: list[tuple[Any, int]]) -> list[Any]:
        return items

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        lap = sum(int(weight) for weight in self.weights.values())
        return self.first(self.peer, 1000 + 50 * lap, avoid)


class Weighted(Smooth):
    function = "weighted"


class Basic(Smooth):
    function = "basic"

    def items(self, items: list[tuple[Any, int]]) -> list[Any]:
        return [member for member, _ in items]


class SmoothStateful(Smooth):
    """Changes the weight of a member in place; only joining and leaving make a new selector."""

    function = "smooth_stateful"

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if self.peer and any(item.key == backend for item in self.peer.items) and new is not None:
            self.peer.set(backend, weight=int(new), effective=int(new))
        else:
            super().update_index(backend, old, new)


WHOLE = {"weights": "whole"}
SMOOTH = ("weighted", "smooth", "rotating")
SUBJECTS = [
    Subject("roundrobin", "basic", "", Basic, ("rotating",), WHOLE),
    Subject("roundrobin", "weighted", "", Weighted, ("weighted", "rotating"), WHOLE),
    Subject("roundrobin", "smooth", "", Smooth, SMOOTH, WHOLE),
    Subject("roundrobin", "smooth_stateful", "", SmoothStateful, SMOOTH, WHOLE),
]
