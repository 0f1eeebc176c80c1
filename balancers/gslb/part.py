"""Defines what regions and policies have in common: each can be a part of a policy."""

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import TYPE_CHECKING

from balancers.gslb.ranking import Answer, Ranking, Skipped

if TYPE_CHECKING:
    from balancers.gslb.client import Client

__all__ = ["Part"]


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
    def rank(self, client: "Client", now: float) -> Ranking:
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
        if not everything:
            answer = ranking.answer(now)
        elif not ranking:
            answer = Answer((), (), "no region for this client")
        else:
            answer = ranking.parts[0].answer_of(client, now, True, ranking.reason(0))
        return answer._replace(
            reason=f"{reason}; in {self.name}: {answer.reason}",
            skipped=(*skipped, *answer.skipped),
            health_ignored=everything,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
