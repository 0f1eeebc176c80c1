"""The reason that a refusal reports."""

from collections.abc import Mapping

__all__ = ["shared_reason"]


def shared_reason(counts: Mapping[str, int], members: int) -> str:
    """Return the first reason that closes every member, "empty" without members, else "mixed".

    >>> shared_reason({"draining": 1, "unhealthy": 2}, members=2), shared_reason({}, members=0)
    ('unhealthy', 'empty')
    """
    for reason, count in counts.items():
        if count == members:
            return reason
    return "mixed" if members else "empty"
