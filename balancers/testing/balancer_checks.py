"""Checks a balancer of any author against the laws of balancers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Any
from unittest import TestCase

from balancers import Key
from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._laboratory import Settings
from balancers.testing._preflight import preflight
from balancers.testing._suite import Suite, takes_rng
from balancers.testing.laws import BALANCER_LAWS
from balancers.testing.report import LawReport

__all__ = ["TRAITS", "balancer_laws", "check_balancer"]

TRAITS = {
    "weighted": "The traffic of a backend is proportional to its weight.",
    "keyed": "The balancer picks by key.",
    "smooth": "A backend is never more than 1 - 1/n requests ahead of its share.",
    "rotating": "With equal weights, each of n backends is picked once in n picks.",
    "least_loaded": "With equal weights, no backend is picked that is busier than another.",
    "random": "Each pick is an independent draw; the weights are the probabilities.",
    "minimal_disruption": "A change of the members moves only the keys of the changed backend.",
    "bounded": "No backend has more requests in flight than a bound allows.",
    "historical": "The map of keys depends on earlier changes, not on the members alone.",
    "stacked": "Only the member that joined last can leave.",
}
"""The traits of balancers: what a balancer promises beyond the laws for all balancers."""

_WHOLE = (1, 2, 3, 5, 10, 25)
_LARGEST = 100_000


def check_balancer(
    factory: Callable[..., Any],
    traits: Collection[str] = (),
    *,
    laws: Collection[str] | None = None,
    excuses: Mapping[str, str] | None = None,
    examples: int = 1000,
    seed: int = 0,
    keys: Sequence[Key] | Callable[[int], Key] | None = None,
    weights: str | Sequence[float] | None = None,
    max_members: int = 64,
    bound: float | None = None,
) -> LawReport:
    """Check a balancer against the laws, and return a report.

    ``factory`` returns a new balancer without members each time.  If it has a parameter ``rng``, it
    gets a ``random.Random``.  ``traits`` contains names of :data:`TRAITS`: each of them adds laws
    that the balancer must keep.  ``laws`` names the laws to test, by default all that apply.
    ``excuses`` maps the name of a law to the reason why the balancer breaks it.

    ``examples`` is the number of histories for each law.  They depend on ``seed`` only.  ``keys``
    are the keys to pick by, or a function that returns a key for a number.  ``weights`` are the
    weights to use: "whole" for whole numbers only, or a sequence of positive numbers.  There are at
    most ``max_members`` members; most histories have fewer than 13.  ``bound`` is required for the
    trait "bounded": no backend may have more than ``bound`` times its share of the requests in
    flight, rounded up.

    >>> from balancers import LeastConnections
    >>> from balancers.testing import check_balancer
    >>> report = check_balancer(LeastConnections, ["least_loaded"], examples=100)
    >>> report.results[0]
    LawResult(law='is_a_balancer', examples=30, excuse='', note='')

    Raises LawBroken for the first law that is broken and has no excuse, and for an excuse whose law
    is not broken.  Raises InvalidSetting or TypeError for an argument that is not valid.
    """
    return _suite(
        factory, traits, laws, excuses, examples, seed, keys, weights, max_members, bound
    ).report()


def balancer_laws(
    factory: Callable[..., Any],
    traits: Collection[str] = (),
    *,
    laws: Collection[str] | None = None,
    excuses: Mapping[str, str] | None = None,
    examples: int = 1000,
    seed: int = 0,
    keys: Sequence[Key] | Callable[[int], Key] | None = None,
    weights: str | Sequence[float] | None = None,
    max_members: int = 64,
    bound: float | None = None,
) -> type[TestCase]:
    """Return a class with one test for each law, which pytest and unittest collect.

    The arguments are those of :func:`check_balancer`.

    >>> from balancers import RoundRobin
    >>> TestRoundRobin = balancer_laws(RoundRobin, ["rotating"], laws=["once_in_n"], examples=9)
    >>> [name for name in dir(TestRoundRobin) if name.startswith("test")]
    ['test_once_in_n']
    """
    return _suite(
        factory, traits, laws, excuses, examples, seed, keys, weights, max_members, bound
    ).test_case()


def _suite(
    factory: Callable[..., Any],
    traits: Collection[str],
    laws: Collection[str] | None,
    excuses: Mapping[str, str] | None,
    examples: int,
    seed: int,
    keys: Any,
    weights: Any,
    max_members: int,
    bound: Any,
) -> Suite:
    if isinstance(traits, str | bytes) or not isinstance(traits, Collection):  # pyright: ignore[reportUnnecessaryIsInstance] - a caller may be wrong
        raise TypeError(f"traits must be a collection of names, not {shown(traits)}")
    for trait in traits:
        if trait not in [*TRAITS]:
            raise InvalidSetting(f"{shown(trait)} is no trait; choose from {', '.join(TRAITS)}")
    if not isinstance(max_members, int) or not 1 <= max_members <= _LARGEST:
        raise InvalidSetting(f"max_members must be from 1 to {_LARGEST}, not {shown(max_members)}")
    if ("bounded" in traits) != (bound is not None):
        raise InvalidSetting(f"bound and the trait 'bounded' go together, not {shown(bound)}")
    if bound is not None and not (isinstance(bound, int | float) and 1 <= bound < inf):
        raise InvalidSetting(f"bound must be a number, 1 or more, not {shown(bound)}")
    settings = Settings(
        factory,
        frozenset(traits),
        takes_rng(factory),
        keys=_keys(keys),
        weights=_weights(weights),
        max_members=max_members,
        bound=bound,
    )
    return Suite(
        BalancerLaboratory, settings, BALANCER_LAWS, laws, excuses, examples, seed, preflight
    )


def _keys(keys: Any) -> Any:
    if keys is None or callable(keys):
        return keys
    given: object = keys
    if isinstance(given, str | bytes) or not isinstance(given, Collection):
        raise TypeError(f"keys must be a sequence of keys or a function, not {shown(keys)}")
    found: list[Any] = [*keys]
    if not found:
        raise InvalidSetting("keys must not be empty")
    return tuple(found)


def _weights(weights: Any) -> Sequence[float] | None:
    if weights is None:
        return None
    if isinstance(weights, str) and weights == "whole":
        return _WHOLE
    if isinstance(weights, str | bytes) or not isinstance(weights, Collection):
        raise TypeError(f"weights must be 'whole' or a sequence of numbers, not {shown(weights)}")
    found: list[Any] = [*weights]
    for weight in found:
        known = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (known and 0 < weight < inf):
            raise InvalidSetting(f"weights must be finite and above 0, not {shown(weight)}")
    if not found:
        raise InvalidSetting("weights must not be empty")
    return tuple(found)
