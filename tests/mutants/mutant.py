"""A mutant: one method of the library, written as it is plausibly written wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["MUTANTS", "Mutant", "genuine", "mutant"]


@dataclass(frozen=True)
class Mutant:
    """``replacement`` stands in for ``owner.attribute``; the test ``caught_by`` must fail then."""

    name: str
    owner: type
    attribute: str
    replacement: object
    caught_by: str


MUTANTS: list[Mutant] = []


def mutant(owner: type, attribute: str, caught_by: str) -> Callable[[Any], Any]:
    """Enter a function, which bears the mutant's name, for a method of a class."""

    def enter(replacement: Any) -> Any:
        entry = Mutant(replacement.__name__, owner, attribute, replacement, f"tests/{caught_by}")
        MUTANTS.append(entry)
        return replacement

    return enter


def genuine(owner: Any, attribute: str) -> Any:
    """Give the method as it is, for a mutant that is nearly right."""
    return getattr(owner, attribute)
