"""Checks a load of any author against the laws of loads."""

from collections.abc import Callable, Collection, Mapping
from typing import Any
from unittest import TestCase

from balancers.testing._choices import Choices
from balancers.testing._laboratory import Settings
from balancers.testing._load_laboratory import LoadLaboratory
from balancers.testing._program import Breach
from balancers.testing._runner import Runner
from balancers.testing._suite import Suite, takes_rng
from balancers.testing.laws import LOAD_LAWS
from balancers.testing.report import LawBroken, LawReport

__all__ = ["check_load", "load_laws"]


def check_load(
    factory: Callable[..., Any],
    *,
    laws: Collection[str] | None = None,
    excuses: Mapping[str, str] | None = None,
    examples: int = 1000,
    seed: int = 0,
) -> LawReport:
    """Check a load against the laws, and return a report.

    ``factory`` returns a new load each time.  If it has a parameter ``rng``, it gets a
    ``random.Random``.  ``laws`` names the laws to test, by default all.  ``excuses`` maps the name
    of a law to the reason why the load breaks it.  ``examples`` is the number of histories for each
    law.  They depend on ``seed`` only.

    >>> from balancers.loads import InFlight
    >>> from balancers.testing import check_load
    >>> check_load(InFlight, laws=["removed_forgets"], examples=10).results[0]
    LawResult(law='removed_forgets', examples=10, excuse='', note='')

    Raises LawBroken for the first law that is broken and has no excuse, and for an excuse whose law
    is not broken.  Raises InvalidSetting or TypeError for an argument that is not valid.
    """
    return _suite(factory, laws, excuses, examples, seed).report()


def load_laws(
    factory: Callable[..., Any],
    *,
    laws: Collection[str] | None = None,
    excuses: Mapping[str, str] | None = None,
    examples: int = 1000,
    seed: int = 0,
) -> type[TestCase]:
    """Return a class with one test for each law, which pytest and unittest collect.

    The arguments are those of :func:`check_load`.

    >>> from balancers.loads import InFlight
    >>> TestInFlight = load_laws(InFlight, laws=["removed_forgets"], examples=9)
    >>> [name for name in dir(TestInFlight) if name.startswith("test")]
    ['test_removed_forgets']
    """
    return _suite(factory, laws, excuses, examples, seed).test_case()


def _suite(
    factory: Callable[..., Any],
    laws: Collection[str] | None,
    excuses: Mapping[str, str] | None,
    examples: int,
    seed: int,
) -> Suite:
    settings = Settings(factory, frozenset(), takes_rng(factory))
    return Suite(LoadLaboratory, settings, LOAD_LAWS, laws, excuses, examples, seed, _preflight)


def _preflight(runner: Runner) -> None:
    """Let a request start and end.  Raises LawBroken with the law "preflight".

    A load that raises an exception here would break most laws with the same message.
    """
    lab = LoadLaboratory(runner.settings, Choices(), recording=True)
    try:
        lab.make("load")
        lab.run("load.value(backend, now)", backend="a", now=0.0)
        lab.run("load.started(backend, now)", backend="a", now=0.0)
        lab.run("load.finished(backend, SUCCESS, now)", backend="a", now=0.0)
        lab.run("load.removed(backend)", backend="a")
    except Breach as breach:
        why = f"no law can be tested, because {breach.why}"
        program = lab.program.text(runner.preamble())
        raise LawBroken("preflight", why, program) from None
