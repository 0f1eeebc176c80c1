"""Finds the reason that a NoBackendAvailable error reports."""

from collections.abc import Mapping

__all__ = ["USUAL_REASONS", "shared_reason"]

USUAL_REASONS = frozenset(("", "avoided", "empty", "mixed", "quiesced"))
"""The reasons of balancers that know only weights.  Their owner knows better reasons."""


def shared_reason(counts: Mapping[str, int], members: int) -> str:
    """Return the first reason that applies to every member.

    ``counts`` is the number of members for each reason.  The result is "empty" if there are no
    members.  It is "mixed" if no reason applies to every member.

    >>> shared_reason({"draining": 1, "unhealthy": 2}, members=2), shared_reason({}, members=0)
    ('unhealthy', 'empty')
    """
    for reason, count in counts.items():
        if count == members:
            return reason
    return "mixed" if members else "empty"
