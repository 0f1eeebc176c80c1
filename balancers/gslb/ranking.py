"""Defines the parts of policies, and their order for a client, from which the answer follows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from balancers._internal.checks import valid_now
from balancers.gslb.answer import Answer, Skipped

if TYPE_CHECKING:
    from balancers.gslb.client import Client

__all__ = ["Part", "Ranked", "Ranking"]


class Part(ABC):
    """A region, or a policy over regions.  Policies consist of parts.

    Define ``rank``, ``healthy``, ``held``, ``status``, ``share`` and ``total``, and set ``name``.
    A policy with ``draws`` is one part of the ranking of another policy and draws at each answer.
    The ranking of a policy without it becomes part of the ranking of the other policy.

    >>> from balancers.gslb import Client, Distance, Failover, Place, Region
    >>> paris = Region("paris", ["a"], place=Place(latitude=48.9, longitude=2.4))
    >>> berlin = Region("berlin", ["b"], place=Place(latitude=52.5, longitude=13.4))
    >>> client = Client(place=Place(latitude=50.1, longitude=8.7))
    >>> eu_first = Failover([Distance([paris, berlin], name="eu"), Region("us", ["c"])])
    >>> for ranked in eu_first.rank(client, now=0.0):
    ...     print(ranked.part.name, "-", ranked.reason)
    berlin - number 1 of 2; in eu: 422 km away
    paris - number 1 of 2; in eu: 474 km away
    us - number 2 of 2
    """

    name: str
    draws: bool = False
    """Whether each answer is drawn at random."""
    down: bool = False
    """Whether the part is known to be unhealthy at every time until it changes."""

    @abstractmethod
    def rank(self, client: "Client", now: float) -> "Ranking":
        """Return the order of the regions for a client.  Raises InvalidTime."""

    @abstractmethod
    def healthy(self, now: float, client: "Client | None" = None) -> bool:
        """Return whether the part can serve the client.  Raises InvalidTime."""

    @abstractmethod
    def held(self, now: float, client: "Client | None" = None) -> bool:
        """Return whether the part is up, or would be if it were not held back after a failure."""

    @abstractmethod
    def status(self, now: float) -> str:
        """Return the state of the part as text."""

    @abstractmethod
    def share(self, now: float) -> int | Fraction:
        """Return the sum of the weights of what is up in the part."""

    @property
    @abstractmethod
    def total(self) -> int | Fraction:
        """The sum of all weights in the part."""

    def answer(self, client: "Client", now: float) -> Answer:
        """Return what to answer to a client, and why.  Raises InvalidTime."""
        return self.rank(client, now).answer(now)

    def scope(self, client: "Client") -> int:
        """Return the scope to announce: within it, all clients have the same ranking now.

        It is the length of a prefix of the client's address.  Pass it to
        :meth:`ClientSubnet.answer`.  It can be longer than it must be: by default, it is
        :attr:`Client.longest_scope`.  :meth:`NetworkTable.combined` finds the shortest.
        """
        return client.longest_scope

    def answer_of(
        self,
        client: "Client",
        now: float,
        everything: bool,
        reason: str,
        skipped: tuple[Skipped, ...] = (),
    ) -> Answer:
        """Return the answer of this part in the ranking of another one.

        With ``everything``, health is ignored.
        """
        ranking = self.rank(client, now)
        part = ranking.first(now) if everything else None
        if part is None:
            answer = ranking.answer(now)
        else:
            reason_of_part = ranking.reason(ranking.parts.index(part))
            answer = part.answer_of(client, now, True, reason_of_part)
        return answer._replace(
            reason=f"{reason}; in {self.name}: {answer.reason}",
            skipped=(*skipped, *answer.skipped),
            health_ignored=everything,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Ranked(NamedTuple):
    """Describes one place of a ranking.

    >>> from balancers.gslb import Client, Failover, Region
    >>> for ranked in Failover([Region("eu", ["192.0.2.1"])]).rank(Client(), now=0.0):
    ...     print(ranked.part.name, "-", ranked.reason)
    eu - number 1 of 1
    """

    part: "Part"
    """The region, or a policy that draws at each answer."""
    reason: str
    """Why the part has this place."""


class Ranking(Sequence[Ranked]):
    """The parts of a policy in the order for one client, with reasons.  It does not change.

    The answer is the first healthy part.  A ranking can be kept, for example per network of
    clients: :meth:`first` and :meth:`answer` read the health of the regions when they are called.
    Rankings are equal if their parts are the same in the same order.

    >>> from balancers.gslb import Client, Failover, Region
    >>> eu, us = Region("eu", ["192.0.2.1"]), Region("us", ["192.0.2.2"])
    >>> ranking = Failover([eu, us]).rank(Client(), now=0.0)
    >>> ranking.names, ranking.first(now=0.0).name
    (('eu', 'us'), 'eu')
    >>> eu.set_up("192.0.2.1", False, now=1.0)
    >>> ranking.first(now=1.0).name
    'us'
    >>> print(ranking.explain(now=1.0))
    1. eu: number 1 of 2; skipped: 0 of 1 up, needs 1
    2. us: number 2 of 2; answered: 1 of 1 up, needs 1

    The reasons are kept as values, :attr:`facts`, and written as text when they are read.

    >>> from balancers.gslb import Latency
    >>> ranking = Latency([eu, us]).rank(Client(latencies={"eu": 0.09, "us": 0.02}), now=1.0)
    >>> [*zip(ranking.names, ranking.facts)]
    [('us', (0.02, True)), ('eu', (0.09, True))]
    >>> ranking.reason(0)
    '0.02 s, measured'
    """

    __slots__ = ("client", "describe", "facts", "parts")

    def __init__(
        self,
        client: "Client",
        parts: Sequence["Part"],
        facts: Sequence[Any],
        describe: Callable[[Any], str] = str,
    ) -> None:
        self.client: Client = client
        """The client that the ranking is for."""
        self.parts: Sequence[Part] = parts
        """The parts in order."""
        self.facts: Sequence[Any] = facts
        """Why each of the parts has its place, as values.

        They are, for :class:`Distance`, the kilometres, or the pair of the kilometres that the
        region counts as and its bias; for :class:`Latency`, the pair of the seconds and whether
        they were measured; for :class:`Geolocation`, the code or the network (version of IP, first
        address and length of the prefix), the number in its list, and the length of the list; for
        :class:`Weighted`, the weight and the sum of all weights.  Others are texts.  The fact of a
        part of a policy within another policy is a triple: the fact of the inner policy, this
        policy, and the fact in it.  The fact of a part that :class:`SpillOver` moves is a pair: the
        text of its reason, and the fact that it had.
        """
        self.describe: Callable[[Any], str] = describe
        """A function that writes one of these facts as text."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts in order; O(n)."""
        return tuple(part.name for part in self.parts)

    def reason(self, at: int) -> str:
        """Return why the part at a position has this place.  Raises IndexError."""
        return self.describe(self.facts[at])

    def first(self, now: float) -> "Part | None":
        """Return the first healthy part; O(n), and O(1) if the first one is healthy.

        If no part is healthy, return the first one that is up and only held back after a failure
        (:class:`Region` has the setting ``hold``), else the first one.  Return None if the ranking
        is empty.  Raises InvalidTime.
        """
        for part in self.parts:
            if not part.down and part.healthy(now, self.client):
                return part
        valid_now(now, -inf)
        return self._fallback(now)

    def answer(self, now: float) -> Answer:
        """Return what to answer, and why; O(n).

        If nothing is healthy, the answer is all members of the part that :meth:`first` returns, of
        a region that is only held back those that are up, and says so.  Raises InvalidTime.
        """
        client = self.client
        for at, part in enumerate(self.parts):
            if not part.down and part.healthy(now, client):
                skipped = self._skipped(at, now) if at else ()
                return part.answer_of(client, now, False, self.reason(at), skipped)
        valid_now(now, -inf)
        last = self._fallback(now)
        if last is None:
            return Answer((), (), "no region for this client")
        at = self.parts.index(last)
        reason = f"everything is down, so health is ignored: {self.reason(at)}"
        return last.answer_of(client, now, True, reason, self._skipped(at, now))

    def explain(self, now: float) -> str:
        """Return the order, its reasons and the health of each part as lines of text; O(n)."""
        first = self.first(now)
        lines: list[str] = []
        for number, (part, reason) in enumerate(self, 1):
            after = "skipped" if first is not None else "not needed"
            if part is first:
                after, first = "answered", None
            lines.append(f"{number}. {part.name}: {reason}; {after}: {part.status(now)}")
        return "\n".join(lines)

    def _fallback(self, now: float) -> "Part | None":
        for part in self.parts:
            if part.held(now, self.client):
                return part
        return self.parts[0] if self.parts else None

    def _skipped(self, end: int, now: float) -> tuple[Skipped, ...]:
        return tuple(Skipped(part.name, part.status(now)) for part in self.parts[:end])

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Ranked]:
        describe = self.describe
        for part, fact in zip(self.parts, self.facts, strict=True):
            yield Ranked(part, describe(fact))

    @overload
    def __getitem__(self, index: int) -> Ranked: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Ranked, ...]: ...
    def __getitem__(self, index: int | slice) -> "Ranked | tuple[Ranked, ...]":
        if isinstance(index, slice):
            return tuple(self)[index]
        return Ranked(self.parts[index], self.reason(index))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranking):
            return NotImplemented
        return len(self) == len(other) and all(map(_same, self.parts, other.parts))

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"<Ranking: {', '.join(self.names) or 'empty'}>"


def _same(one: object, other: object) -> bool:
    return one is other
