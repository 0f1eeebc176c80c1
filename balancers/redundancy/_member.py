"""Stores what a failure detector knows about one member."""

from typing import Protocol

__all__ = ["History", "Member"]


class _Nothing:
    """An object that is no incarnation.  The class itself is used, so that pickles can be read."""


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
    which it is suspected.  ``measured`` is the incarnation if the member is alive and ``since`` is
    the time of a heartbeat, so that the next one completes an interval; else it is another object.
    ``excused`` is True if a pause of this process has moved ``since``.
    """

    __slots__ = (
        "alive", "deadline", "excused", "history", "incarnation", "measured", "number",
        "since",
    )  # fmt: skip

    def __init__(self, history: History, since: float) -> None:
        self.history: History = history
        self.incarnation: int | None = None
        self.number: int | None = None
        self.begin(since, measured=False)

    def begin(self, since: float, *, measured: bool = True) -> bool:
        """Count the silence from a heartbeat, and return whether the member was alive before."""
        was_alive = measured and self.alive
        self.alive: bool = True
        self.since: float = since
        self.deadline: float = since + self.history.patience()
        self.measured: object = self.incarnation if measured else _Nothing
        self.excused: bool = False
        return was_alive

    def excuse(self, since: float) -> None:
        """Count the silence from the end of a pause of this process."""
        self.begin(since, measured=False)
        self.excused = True

    def end(self) -> None:
        """Called when the member is suspected or leaves."""
        self.alive = False
        self.measured = _Nothing

    @property
    def is_measured(self) -> bool:
        """Whether the next heartbeat completes an interval."""
        return self.measured is not _Nothing
