"""Checks of the names in a case: a name that no preset supports is an error, not ignored."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

__all__ = ["check_names", "policy_in"]

T = TypeVar("T")


def check_names(known: Iterable[str], used: Collection[str], where: str) -> None:
    """Raise LookupError if a used name is not known."""
    unknown = sorted(set(used) - set(known))
    if unknown:
        raise LookupError(f"no such setting of {where}: {', '.join(map(repr, unknown))}")


def policy_in(policies: Mapping[str, T], case: Mapping[str, Any]) -> T:
    """Return the value for the policy of a case; raise LookupError for an unknown policy."""
    policy: str = case["policy"]
    if policy not in policies:
        raise LookupError(f"no such policy: {policy!r}")
    return policies[policy]
