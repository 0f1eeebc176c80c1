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
        return self.first((self.peer() for _ in range(1000 + 50 * lap)), avoid)


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
SMOOTH_TRAITS = ("weighted", "smooth", "rotating")
AGAIN = Finding(
    title="each change begins again",
    verdict="contract",
    laws=("no_backend_starves", "a_flip_keeps_the_others_places"),
    reason="""\
The function takes all members at once, and its result cannot be changed. The adapter calls it again
after each change, and the new selector begins with the first member. If there is a change before
each request, the first member gets all of them. The library promises nothing about changes; for
them it has `smooth_stateful`.""",
    alone="""
import roundrobin

members = ["a", "b", "c"]
print(*(roundrobin.basic(members)() for _ in range(6)))
""",
)
COPIED = Finding(
    title="a copy is the same object",
    verdict="contract",
    laws=(
        "copies_and_pickles_go_on_alike",
        "leaves_its_arguments_alone",
        "explains_what_acquire_does",
    ),
    reason="""\
A selector is a function with its state in its variables. A deep copy of a function is the function
itself, so a pick of the copy is a pick of the original, and a local function cannot be pickled.
The library does not say that selectors can be copied. The other two laws use copies.""",
    alone="""
import copy

import roundrobin

selector = roundrobin.basic(["a", "b", "c"])
print(copy.deepcopy(selector) is selector)
""",
)
SUBJECTS = [
    Subject(
        "roundrobin", "`basic`", 'Documented as "plain round-robin (A, B, C, A, B, C, ...)".',
        Basic, ("rotating",), WHOLE, (AGAIN, COPIED),
    ),
    Subject(
        "roundrobin", "`weighted`", 'Documented as "weighted round-robin (classic LVS-style)".',
        Weighted, ("weighted", "rotating"), WHOLE, (AGAIN, COPIED),
    ),
    Subject(
        "roundrobin", "`smooth`",
        'Documented as "smooth weighted round-robin (Nginx-style; avoids long clumps)".',
        Smooth, SMOOTH_TRAITS, WHOLE, (AGAIN, COPIED),
    ),
    Subject(
        "roundrobin", "`smooth_stateful`",
        """\
Documented as "smooth weighted RR with runtime controls (health checks / slow-start)". Weights
change in place, with `set`.""",
        SmoothStateful, SMOOTH_TRAITS, WHOLE,
        (
            Finding(
                title="members cannot join or leave",
                verdict="contract",
                laws=("no_backend_starves",),
                reason="""\
The class changes weights in place, and all laws about flips and weights hold. It has no method to
add or remove a member, so the adapter makes a new object, which begins with the first member. If a
member joins or leaves before each request, the first member gets all of them. The documentation
says: "If you want a clean slate after changes, create a new selector instance".""",
            ),
        ),
    ),
]  # fmt: skip
