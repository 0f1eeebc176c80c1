"""Defines the changes that a failure detector returns."""

from typing import Any, Literal, NamedTuple

__all__ = ["Drop", "MemberChange", "MemberReason"]

Drop = Literal["unknown member", "old incarnation", "old number", "same time"]
"""Why a heartbeat was dropped.  It changes nothing then."""
MemberReason = Literal["silent", "left", "heartbeat", "restarted"]
"""Why a member changed: "silent" and "left" end its life, "heartbeat" and "restarted" begin it."""


class MemberChange(NamedTuple):
    """Describes that a member is suspected now, is alive again, or has restarted.

    >>> from balancers.redundancy import TimeoutDetector
    >>> detector = TimeoutDetector(timeout=3.0)
    >>> detector.add("lb2", now=0.0)
    >>> detector.tick(now=3.0)
    (MemberChange(at=3.0, member='lb2', alive=False, reason='silent'),)
    """

    at: float
    """The time in seconds.  For "silent" it is the time that :attr:`FailureDetector.due` announced,
    also if the call of :meth:`FailureDetector.tick` came later."""
    member: Any
    alive: bool
    """Whether the member counts as alive from now on."""
    reason: MemberReason
