"""The words of a case: those that no preset was told of are an error, not ignored."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

__all__ = ["only", "policy_in"]

T = TypeVar("T")


def only(known: Iterable[str], told: Collection[str], where: str) -> None:
    """Raise LookupError for a word that is not known."""
    strange = sorted(set(told) - set(known))
    if strange:
        raise LookupError(f"no such setting of {where}: {', '.join(map(repr, strange))}")


def policy_in(policies: Mapping[str, T], case: Mapping[str, Any]) -> T:
    """Give what a policy is replayed by; raise LookupError for another one."""
    policy: str = case["policy"]
    if policy not in policies:
        raise LookupError(f"no such policy: {policy!r}")
    return policies[policy]
