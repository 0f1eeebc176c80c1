"""Defines what a law is: a function, and the subjects that it applies to."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

__all__ = ["Law", "law"]


@dataclass(frozen=True, slots=True)
class Law:
    """A law: a function that tests one example, and the traits that it applies to.

    ``once`` is True if one run tests everything, so that more examples would repeat it.  ``share``
    is the part of the requested examples that are run; it is below 1 for laws whose examples take
    long and are worth many.

    >>> from balancers.testing import laws
    >>> law = laws.BALANCER_LAWS[1]
    >>> law.name, law.applies(["keyed"]), law.page[:20]
    ('touches_no_clock_and_no_global_random', True, 'Time and random numb')
    """

    test: Callable[[Any], None]
    needs: frozenset[str]
    without: frozenset[str]
    once: bool
    share: float

    @property
    def name(self) -> str:
        """The name of the law, which is the name of its function."""
        return self.test.__name__

    @property
    def page(self) -> str:
        """The description of the law, which is the docstring of its function."""
        return getdoc(self.test) or ""

    def applies(self, traits: Collection[str]) -> bool:
        """Return whether the law applies to a subject with these traits."""
        return self.needs <= set(traits) and not self.without & set(traits)


def law(
    *, needs: str = "", without: str = "", once: bool = False, share: float = 1
) -> Callable[[Callable[[Any], None]], Law]:
    """Turn a function into a law.  ``needs`` and ``without`` are traits, separated by spaces."""

    def decorate(test: Callable[[Any], None]) -> Law:
        return Law(test, frozenset(needs.split()), frozenset(without.split()), once, share)

    return decorate
