"""Defines what all failure detectors share: members, their heartbeats, and who is suspected."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from math import inf
from typing import Generic

from balancers._internal.checks import duration, shown, valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.errors import DuplicateBackend, InvalidSetting, UnknownBackend
from balancers.redundancy._member import History, Member
from balancers.redundancy.member_change import Drop, MemberChange

__all__ = ["FailureDetector"]


class FailureDetector(SharesBackends, ABC, Generic[B]):
    """The base class of failure detectors: it decides from heartbeats which members are alive.

    Each member sends heartbeats.  The caller receives them, passes each to :meth:`heartbeat`, and
    calls :meth:`tick` when :attr:`due` is reached.  Both return the changes.  Nothing else changes
    which members are alive.  Pass the heartbeats that have arrived before you call ``tick``.

    A subclass decides how long the silence of a member may last: see :class:`PhiDetector` and
    :class:`TimeoutDetector`.

    *A member that was added* counts as alive.  It is suspected if its first heartbeat does not come
    in time.  So a process that has just started does not believe that all others are dead.

    *Restarts.*  A member may send an ``incarnation``, an int that is higher after each restart.
    After a higher one, what was learned about the member is forgotten.  A lower one is dropped.

    *Duplicates.*  A member may number its heartbeats.  A number that is not higher than the last
    one of the same incarnation is dropped.  Without numbers, a second heartbeat at the same time is
    dropped.

    *Pauses of this process.*  If ``tick`` is called more than ``own_pause`` seconds after ``due``,
    this process was paused, and perhaps no member was silent.  Then the silence of each member
    counts from now, but only once until its next heartbeat.  With ``own_pause=inf``, a late
    ``tick`` suspects every member that is due.

    >>> from balancers.redundancy import TimeoutDetector
    >>> detector = TimeoutDetector(timeout=3.0)
    >>> detector.add("lb2", now=0.0)
    >>> detector.heartbeat("lb2", now=1.0)
    ()
    >>> detector.due, detector.alive
    (4.0, ('lb2',))
    >>> detector.tick(now=4.0)
    (MemberChange(at=4.0, member='lb2', alive=False, reason='silent'),)
    >>> detector.heartbeat("lb2", now=5.0)
    (MemberChange(at=5.0, member='lb2', alive=True, reason='heartbeat'),)

    A time that is earlier than that of a previous call counts as that time.
    Every method is O(1) unless it says otherwise.  A deep copy shares the members.
    """

    def __init__(self, own_pause: float) -> None:
        self._own_pause: float = duration("own_pause", own_pause, endless=True)
        self._members: dict[B, Member] = {}
        self._now: float = -inf
        self._earliest: float = inf  # no member is due before this time
        self._drops: dict[Drop, int] = {}

    @abstractmethod
    def new_history(self) -> History:
        """Return what is known about a member before its first heartbeat."""

    def add(self, member: B, now: float) -> None:
        """Add a member, which counts as alive.

        Raises DuplicateBackend for a member that was added already, InvalidTime, and TypeError for
        an unhashable member.
        """
        if member in self._members:
            raise DuplicateBackend(f"member {shown(member)} was added already")
        self._now = now = self._checked(now)
        state = self._members[member] = Member(self.new_history(), now)
        self._earliest = min(self._earliest, state.deadline)

    def remove(self, member: B) -> None:
        """Remove a member and forget it.  Raises UnknownBackend."""
        self._state_of(member)
        del self._members[member]

    def heartbeat(
        self, member: B, now: float, incarnation: int = 0, number: int | None = None
    ) -> tuple[MemberChange, ...]:
        """Record a heartbeat that arrived at ``now``, and return the change if there is one.

        A heartbeat of an unknown member, an old one and a repeated one are counted in
        :attr:`drops`.  An interval that ended after the member was due is not learned, because it
        is not an interval between two heartbeats of a healthy member.

        Raises InvalidTime.  Raises InvalidSetting for an incarnation or a number that is not an
        int.
        """
        try:
            state = self._members[member]
        except KeyError:
            return self._heartbeat(member, now, incarnation, number)
        if (
            (
                incarnation is state.measured
                or (type(incarnation) is int and incarnation == state.measured)
            )
            and type(now) is float
            and self._now <= now < state.deadline
        ):  # nearly every heartbeat
            interval = now - state.since
            if number is not None:
                last = state.number
                if not interval or type(number) is not int or (last is not None and number <= last):
                    return self._heartbeat(member, now, incarnation, number)
                state.number = number
            if interval:
                self._now = state.since = now
                state.deadline = deadline = now + state.history.add(interval)
                if deadline < self._earliest:  # noqa: PLR1730 - a call of min() is slower
                    self._earliest = deadline
                return ()
        return self._heartbeat(member, now, incarnation, number)

    def leave(
        self, member: B, now: float, incarnation: int = 0, number: int | None = None
    ) -> tuple[MemberChange, ...]:
        """Record the goodbye of a member that stops on purpose, and return the change.

        The member is not alive from now on, until its next heartbeat.  Number the heartbeats, so
        that one that was sent before the goodbye and arrives after it is dropped.  A goodbye is
        dropped for the same reasons as a heartbeat.  Raises InvalidTime, InvalidSetting.
        """
        now = self._checked(now)
        state = self._members.get(member)
        drop, restarted = self._compared(state, incarnation, number)
        if state is None or drop is not None:
            return self._dropped(drop, now)
        self._now = now
        if restarted:
            state.history = self.new_history()
        if not state.alive:
            return ()
        state.end()
        return (MemberChange(now, member, False, "left"),)

    def tick(self, now: float) -> tuple[MemberChange, ...]:
        """Return the members that are suspected from now on, in the order in which they were due.

        O(1) before the earliest time at which a member can be due, else O(members).  Raises
        InvalidTime.
        """
        now = self.advance(now)
        if now < self._earliest:
            return ()
        first = self.due
        if now - first > self._own_pause:
            for state in self._members.values():
                if state.alive and not state.excused:
                    state.excuse(now)
        late = [
            (state.deadline, member)
            for member, state in self._members.items()
            if state.alive and state.deadline <= now
        ]
        late.sort(key=lambda pair: pair[0])
        for _, member in late:
            self._members[member].end()
        self._earliest = self.due
        return tuple(MemberChange(deadline, member, False, "silent") for deadline, member in late)

    @property
    def due(self) -> float:
        """The time in seconds when the next member will be suspected; O(members).

        It is ``inf`` if no member is alive.  A heartbeat usually moves it to a later time.
        """
        return min((state.deadline for state in self._members.values() if state.alive), default=inf)

    @property
    def members(self) -> tuple[B, ...]:
        """All members in the order in which they were added; O(members)."""
        return tuple(self._members)

    @property
    def alive(self) -> tuple[B, ...]:
        """The members that are not suspected, in the order in which they were added; O(members)."""
        return tuple(member for member, state in self._members.items() if state.alive)

    @property
    def drops(self) -> dict[Drop, int]:
        """The number of dropped heartbeats and goodbyes by reason."""
        return dict(self._drops)

    def is_alive(self, member: B) -> bool:
        """Return whether the member is not suspected.  Raises UnknownBackend."""
        return self._state_of(member).alive

    def advance(self, now: float) -> float:
        """Record that it is ``now``, and return it as a float.

        Raises InvalidTime.
        """
        self._now = now = self._checked(now)
        return now

    def silence(self, member: B, now: float) -> float:
        """Return for how many seconds the member has been silent.

        A pause of this process does not count.  Raises UnknownBackend, InvalidTime.
        """
        return self._checked(now) - self._state_of(member).since

    def _state_of(self, member: B) -> Member:
        try:
            return self._members[member]
        except KeyError:
            raise UnknownBackend(member) from None

    def _checked(self, now: float) -> float:
        """Return the time as a float, or the latest time if that is later."""
        return float(valid_now(now, self._now))

    def _compared(
        self, state: Member | None, incarnation: int, number: int | None
    ) -> tuple[Drop | None, bool]:
        """Return why the message is dropped, and whether the member has restarted."""
        if type(incarnation) is not int:
            raise InvalidSetting(f"incarnation must be an int, not {shown(incarnation)}")
        if number is not None and type(number) is not int:
            raise InvalidSetting(f"number must be an int or None, not {shown(number)}")
        if state is None:
            return "unknown member", False
        known, last = state.incarnation, state.number
        if known is not None and incarnation < known:
            return "old incarnation", False
        same = known == incarnation
        if same and number is not None and last is not None and number <= last:
            return "old number", False
        state.incarnation = incarnation
        if number is not None or not same:
            state.number = number
        return None, not same and known is not None

    def _dropped(self, reason: Drop | None, now: float) -> tuple[()]:
        self._now = now
        if reason is not None:
            self._drops[reason] = self._drops.get(reason, 0) + 1
        return ()

    def _heartbeat(
        self, member: B, now: float, incarnation: int, number: int | None
    ) -> tuple[MemberChange, ...]:
        """Record any heartbeat, as :meth:`heartbeat` does."""
        now = self._checked(now)
        state = self._members.get(member)
        drop, restarted = self._compared(state, incarnation, number)
        if state is None or drop is not None:
            return self._dropped(drop, now)
        self._now = now
        if restarted:
            state.history = self.new_history()
        elif state.is_measured and now == state.since:
            return () if number is not None else self._dropped("same time", now)
        if state.is_measured and not restarted and now < state.deadline:
            state.history.add(now - state.since)
        was_alive = state.begin(now)
        self._earliest = min(self._earliest, state.deadline)
        if restarted:
            return (MemberChange(now, member, True, "restarted"),)
        return () if was_alive else (MemberChange(now, member, True, "heartbeat"),)

    def _known_backends(self) -> Iterable[object]:
        return self._members
