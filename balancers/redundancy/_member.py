"""Stores what a failure detector knows about one member."""

from typing import Protocol

__all__ = ["History", "Member"]


class History(Protocol):
    """What a detector has learned about one member."""

    def add(self, seconds: float) -> float:
        """Called with the time between two heartbeats that came in time.  Return the patience."""
        ...

    def patience(self) -> float:
        """Return the seconds of silence after which the member is suspected."""
        ...


class Member:
    """Stores what a detector knows about one member.

    ``since`` is the time in seconds from which its silence counts, and ``deadline`` is the time at
    which it is suspected.  ``measured`` is True if ``since`` is the time of a heartbeat, so that
    the next one completes an interval.  ``excused`` is True if a pause of this process has moved
    ``since``.
    """

    __slots__ = (
        "alive", "deadline", "excused", "history", "incarnation", "measured", "number",
        "since",
    )  # fmt: skip

    def __init__(self, history: History, since: float) -> None:
        self.history: History = history
        self.incarnation: int | None = None
        self.number: int | None = None
        self.alive: bool = True
        self.restart_silence(since)

    def restart_silence(self, since: float, *, excused: bool = False) -> None:
        """Count the silence from ``since``, which is not the time of a heartbeat."""
        self.since: float = since
        self.deadline: float = since + self.history.patience()
        self.measured: bool = False
        self.excused: bool = excused
