"""A mutant: a plausible wrong version of one method of the library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["MUTANTS", "Mutant", "genuine", "mutant"]


@dataclass(frozen=True)
class Mutant:
    """``replacement`` replaces ``owner.attribute``; the test ``caught_by`` must fail then."""

    name: str
    owner: type
    attribute: str
    replacement: object
    caught_by: str


MUTANTS: list[Mutant] = []


def mutant(owner: type, attribute: str, caught_by: str) -> Callable[[Any], Any]:
    """Register the decorated function as a mutant of a method; its name is the mutant's name."""

    def register(replacement: Any) -> Any:
        entry = Mutant(replacement.__name__, owner, attribute, replacement, f"tests/{caught_by}")
        MUTANTS.append(entry)
        return replacement

    return register


def genuine(owner: Any, attribute: str) -> Any:
    """Return the original method, for a mutant that calls it."""
    return getattr(owner, attribute)
