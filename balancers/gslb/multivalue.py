"""Implements multivalue answers: some healthy members at random."""

from collections.abc import Iterable
from math import inf
from random import Random

from balancers._internal.checks import at_least, checked_rng, valid_now
from balancers.gslb._merge import merged
from balancers.gslb._policy import Policy
from balancers.gslb.answer import Answer, Skipped
from balancers.gslb.client import Client
from balancers.gslb.ranking import Part, Ranking

__all__ = ["Multivalue"]


class Multivalue(Policy):
    """Answers up to ``limit`` members of the healthy parts, at random and in random order.

    >>> from random import Random
    >>> from balancers.gslb import Client, Region
    >>> regions = [Region(f"r{i}", [f"192.0.2.{i}"]) for i in range(12)]
    >>> policy = Multivalue(regions, rng=Random(1))
    >>> len(policy.answer(Client(), now=0.0).members)
    8
    >>> for i in range(10):
    ...     regions[i].set_up(f"192.0.2.{i}", False, now=1.0)
    >>> sorted(policy.answer(Client(), now=1.0).members)
    ['192.0.2.10', '192.0.2.11']

    Every member has the same odds.  If there are fewer than ``limit``, all are answered.  If no
    part is healthy, up to ``limit`` members of all parts are, or of those that are up and only held
    back.  The rules and the default are those of Route 53.  The limit keeps an answer in one
    datagram.

    :meth:`rank` returns one random order of the parts.  As a part of another policy, it is one part
    and draws at each answer.

    Every method is O(members).  Raises InvalidSetting for a limit below 1 and a part that occurs
    twice, and TypeError for parts that are no regions or policies or an ``rng`` that is not a
    ``random.Random``.
    """

    draws = True

    def __init__(
        self, parts: Iterable[Part], *, rng: Random, limit: int = 8, name: str | None = None
    ) -> None:
        super().__init__(parts, name)
        at_least(1, limit=limit)
        self._rng = checked_rng(rng)
        self._limit = limit

    def rank(self, client: Client, now: float) -> Ranking:
        valid_now(now, -inf)
        draw = self._rng.random
        parts = sorted(self.parts, key=lambda _: draw())
        return Ranking(client, parts, ["drawn at random"] * len(parts))

    def healthy(self, now: float, client: Client | None = None) -> bool:
        valid_now(now, -inf)
        return any(part.healthy(now, client) for part in self.parts)

    def held(self, now: float, client: Client | None = None) -> bool:
        valid_now(now, -inf)
        return any(part.held(now, client) for part in self.parts)

    def answer(self, client: Client, now: float) -> Answer:
        if self.healthy(now, client):
            return self.answer_of(client, now, False, "")
        return self.answer_of(client, now, True, "everything is down, so health is ignored")

    def answer_of(
        self,
        client: Client,
        now: float,
        everything: bool,
        reason: str,
        skipped: tuple[Skipped, ...] = (),
    ) -> Answer:
        parts = [part for part in self.parts if part.healthy(now, client)]
        if everything:
            held = [] if parts else [part for part in self.parts if part.held(now, client)]
            parts = held or [*self.parts]
        answer = merged(
            (part.answer_of(client, now, everything, "healthy") for part in parts),
            reason,
            skipped,
            everything,
        )
        draw = self._rng.random
        members = sorted(answer.members, key=lambda _: draw())
        chosen = tuple(members[: self._limit])
        counted = f"{len(chosen)} of {len(members)} members at random"
        return answer._replace(members=chosen, reason=f"{reason}; {counted}" if reason else counted)
