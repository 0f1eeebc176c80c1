"""Defines what all policies have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from math import inf
from typing import Any, NamedTuple, cast

from balancers._internal.checks import shown, valid_now
from balancers.errors import InvalidSetting
from balancers.gslb.client import Client
from balancers.gslb.networks import narrowest
from balancers.gslb.ranking import Part, Ranking
from balancers.gslb.region import Region

__all__ = ["Policy", "checked_parts"]

_NAMED = 3
"""How many parts the name of a policy names."""


class Policy(Part):
    """A policy over parts, each of which is a region or another policy."""

    def __init__(self, parts: Iterable[Part], name: str | None) -> None:
        self.parts: tuple[Part, ...] = checked_parts(parts)
        """The regions and policies, in the order in which they were given."""
        if name is not None and not isinstance(cast("object", name), str):
            raise TypeError(f"name must be a text or None, not {shown(name)}")
        self.name: str = _name(type(self).__name__, self.parts) if name is None else name
        self._is_flat = all(part.draws or isinstance(part, Region) for part in self.parts)

    def healthy(self, now: float, client: Client | None = None) -> bool:
        valid_now(now, -inf)
        return any(part.healthy(now, client) for part in self._parts_for(now, client))

    def held(self, now: float, client: Client | None = None) -> bool:
        valid_now(now, -inf)
        return any(part.held(now, client) for part in self._parts_for(now, client))

    def scope(self, client: Client) -> int:
        return narrowest(*(part.scope(client) for part in self.parts))

    def status(self, now: float) -> str:
        healthy = sum(part.healthy(now) for part in self.parts)
        return f"{healthy} of {len(self.parts)} parts healthy"

    def share(self, now: float) -> int | Fraction:
        return sum(part.share(now) for part in self.parts)

    @property
    def total(self) -> int | Fraction:
        return sum(part.total for part in self.parts)

    def _parts_for(self, now: float, client: Client | None) -> Sequence[Part]:
        return self.parts if client is None else self.rank(client, now).parts

    def _ranking(
        self,
        client: Client,
        now: float,
        parts: Sequence[Part],
        facts: Sequence[Any],
        describe: Callable[[Any], str] = str,
    ) -> Ranking:
        """Return the ranking, in which the rankings of the parts replace these parts.

        Raises InvalidTime.
        """
        valid_now(now, -inf)
        if self._is_flat:
            return Ranking(client, parts, facts, describe)
        return _flattened(client, now, parts, facts, describe)


def _flattened(
    client: Client,
    now: float,
    parts: Sequence[Part],
    facts: Sequence[Any],
    describe: Callable[[Any], str],
) -> Ranking:
    """Return the ranking of the parts of all parts.  A part keeps the first of its positions."""
    found: dict[Part, Any] = {}
    inner: dict[Part, Callable[[Any], str]] = {}
    for part, fact in zip(parts, facts, strict=True):
        if part.draws or isinstance(part, Region):
            found.setdefault(part, fact)
            continue
        ranking = part.rank(client, now)
        inner[part] = ranking.describe
        for inside, fact_inside in zip(ranking.parts, ranking.facts, strict=True):
            found.setdefault(inside, _Inside(fact, part, fact_inside))
    described = partial(_described, describe, inner)
    return Ranking(client, tuple(found), tuple(found.values()), described)


class _Inside(NamedTuple):
    """The fact of a part of a policy within another policy."""

    outer: Any
    policy: Part
    inner: Any


def _described(
    describe: Callable[[Any], str], inner: Mapping[Part, Callable[[Any], str]], fact: Any
) -> str:
    if type(fact) is not _Inside:
        return describe(fact)
    outer, policy, fact_inside = fact
    return f"{describe(outer)}; in {policy.name}: {inner[policy](fact_inside)}"


def checked_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Return the parts as a tuple.

    Raises TypeError for anything but an iterable of regions and policies, and InvalidSetting for a
    part that occurs twice and for two regions with the same name.
    """
    given: Any = parts
    if isinstance(given, str | bytes | Part) or not hasattr(given, "__iter__"):
        raise TypeError(f"parts must be an iterable of regions and policies, not {shown(parts)}")
    found = tuple(parts)
    names: set[object] = set()
    for part in found:
        if not isinstance(cast("object", part), Part):
            raise TypeError(f"a part must be a region or a policy, not {shown(part)}")
        name = part.name if isinstance(part, Region) else part
        if name in names:
            raise InvalidSetting(f"{part.name} is a part twice; regions need different names")
        names.add(name)
    return found


def _name(kind: str, parts: tuple[Part, ...]) -> str:
    names = [part.name for part in parts[:_NAMED]]
    more = [f"{len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
    return f"{kind} of {', '.join(names + more)}" if parts else kind
