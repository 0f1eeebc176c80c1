"""Implements weighted random answers, with one item or with several."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import inf, log
from random import Random
from typing import cast

from balancers._internal.checks import check_flags, checked_rng, valid_now, valid_weight
from balancers._internal.exact import exact
from balancers.gslb._merge import merged
from balancers.gslb._policy import Policy
from balancers.gslb.answer import Answer, Skipped
from balancers.gslb.client import Client
from balancers.gslb.ranking import Part, Ranking
from balancers.gslb.region import up_share

__all__ = ["Weighted"]


class Weighted(Policy):
    """Draws a part at random for each answer, by weight.

    ``parts`` is a mapping of parts to weights.  The odds of each healthy part are its weight
    divided by the sum of the weights of the healthy parts.

    >>> from random import Random
    >>> from balancers.gslb import Client, Region
    >>> old, new = Region("old", ["192.0.2.1"]), Region("new", ["192.0.2.2"])
    >>> policy = Weighted({old: 90, new: 10}, rng=Random(1))
    >>> answers = [policy.answer(Client(), now=0.0).regions for _ in range(1000)]
    >>> 870 < answers.count(("old",)) < 930
    True

    With ``multi``, each healthy part is in the answer with the odds weight / greatest weight of the
    healthy parts.  So at least one part is in it.

    ``parts`` can also be an iterable.  Then the weight of a part is the sum of the weights in it:
    all of them count as configured, and those of what is up in healthy parts for the draw.  This
    makes the groups
    of gdnsd: ``Weighted([Weighted({a: 10, b: 20}, multi=True, rng=rng), ...], rng=rng)``.

    If the weights of the healthy parts have a sum below ``ceil(up_thresh · total)``, the policy is
    not healthy.  If it must answer all the same, health is ignored, and the configured weights
    count; but if enough parts are up and only held back, those are drawn.  With the default 0, one
    healthy part is enough.  gdnsd's default is 0.5.

    Parts with weight 0 are drawn only while no other part is healthy.  If all weights are 0, they
    are equal.  This is the rule of Route 53.

    :meth:`rank` returns one draw of an order: the first part is drawn by weight, the next among the
    rest, and so on.  So rank again for each answer.  As a part of another policy, it is one part
    and draws at each answer, also from a kept ranking.

    Every method is O(n).  Raises InvalidWeight, InvalidSetting for a threshold outside 0 to 1, and
    TypeError for parts that are no regions or policies or an ``rng`` that is not a
    ``random.Random``.
    """

    draws = True

    def __init__(
        self,
        parts: Mapping[Part, float] | Iterable[Part],
        *,
        rng: Random,
        multi: bool = False,
        up_thresh: float = 0.0,
        name: str | None = None,
    ) -> None:
        super().__init__(parts, name)
        check_flags(multi=multi)
        self._rng = checked_rng(rng)
        self._multi = multi
        self._up_thresh = up_share(up_thresh)
        self._weights: tuple[int | Fraction, ...] | None = None
        if isinstance(parts, Mapping):
            given = cast("Mapping[Part, float]", parts)
            self._weights = tuple(exact(valid_weight(given[p], p.name)) for p in self.parts)

    def rank(self, client: Client, now: float) -> Ranking:
        valid_now(now, -inf)
        weights, total = self._configured(), self.total
        draw = self._rng.random
        keys = [
            (not weight, -log(1 - draw()) / float(weight or 1), at)
            for at, weight in enumerate(weights)
        ]
        keys.sort()
        order = [at for _, _, at in keys]
        facts = [(weights[at], total) for at in order]
        return Ranking(client, [self.parts[at] for at in order], facts, _drawn)

    def healthy(self, now: float, client: Client | None = None) -> bool:
        valid_now(now, -inf)
        if not any(part.healthy(now, client) for part in self.parts):
            return False
        return sum(self._dynamic(now, client)) >= self._up_thresh * self.total

    def held(self, now: float, client: Client | None = None) -> bool:
        if not any(part.held(now, client) for part in self.parts):
            return False
        return sum(self._dynamic(now, client, held=True)) >= self._up_thresh * self.total

    def status(self, now: float) -> str:
        up, total = sum(self._dynamic(now, None)), self.total
        needed = self._up_thresh * total
        return f"weight {float(up):g} of {float(total):g} up, needs {float(needed):g}"

    def share(self, now: float) -> int | Fraction:
        return sum(self._dynamic(now, None))

    @property
    def total(self) -> int | Fraction:
        return sum(self._configured())

    def answer(self, client: Client, now: float) -> Answer:
        if self.healthy(now, client):
            return self.answer_of(client, now, False, "")
        return self.answer_of(client, now, True, f"health is ignored: {self.status(now)}")

    def answer_of(
        self,
        client: Client,
        now: float,
        everything: bool,
        reason: str,
        skipped: tuple[Skipped, ...] = (),
    ) -> Answer:
        held = everything and not self.healthy(now, client) and self.held(now, client)
        if everything and not held:
            weights: Sequence[int | Fraction] = self._configured()
            if not any(weights):
                weights = [1] * len(self.parts)
        else:
            weights = self._dynamic(now, client, held=held)
            if not any(weights):
                weights = [int(up) for up in self._up(now, client, held=held)]
        chosen = self._several(weights) if self._multi else self._one(weights)
        base = max(weights, default=0) if self._multi else sum(weights)
        answers = [
            self.parts[at].answer_of(client, now, everything, _drawn((weights[at], base)))
            for at in chosen
        ]
        return merged(answers, reason, skipped, everything)

    def _configured(self) -> tuple[int | Fraction, ...]:
        return tuple(part.total for part in self.parts) if self._weights is None else self._weights

    def _dynamic(
        self, now: float, client: Client | None, *, held: bool = False
    ) -> list[int | Fraction]:
        """Return the weight of each part, which is 0 if the part is not healthy, or not held."""
        weights = self._weights
        if weights is None:
            weights = tuple(part.share(now) for part in self.parts)
        ups = self._up(now, client, held=held)
        return [weight if up else 0 for weight, up in zip(weights, ups, strict=True)]

    def _up(self, now: float, client: Client | None, *, held: bool) -> list[bool]:
        return [(part.held if held else part.healthy)(now, client) for part in self.parts]

    def _one(self, weights: Sequence[int | Fraction]) -> list[int]:
        """Return the position that is drawn; none if all weights are 0."""
        left = self._rng.random() * float(sum(weights))
        drawn: list[int] = []
        for at, weight in enumerate(weights):
            if weight:
                drawn = [at]
                left -= float(weight)
                if left < 0:
                    break
        return drawn

    def _several(self, weights: Sequence[int | Fraction]) -> list[int]:
        """Return the positions that are drawn, each with the odds weight / greatest weight."""
        draw, most = self._rng.random, float(max(weights, default=0))
        return [at for at, weight in enumerate(weights) if draw() * most < weight]


def _drawn(fact: tuple[int | Fraction, int | Fraction]) -> str:
    weight, base = fact
    return f"drawn with weight {float(weight):g} of {float(base):g}"
