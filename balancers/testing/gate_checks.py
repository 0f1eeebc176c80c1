"""Checks a gate of any author against the laws of gates."""

from collections.abc import Callable, Collection, Mapping
from typing import Any
from unittest import TestCase

from balancers._internal.checks import shown
from balancers.testing._choices import Choices
from balancers.testing._gate_events import EventLines
from balancers.testing._gate_laboratory import GateLaboratory
from balancers.testing._laboratory import Settings
from balancers.testing._program import Breach
from balancers.testing._runner import Runner
from balancers.testing._suite import Suite, takes_rng
from balancers.testing.laws import GATE_LAWS
from balancers.testing.report import LawBroken, LawReport

__all__ = ["Event", "check_gate", "gate_laws"]

Event = Callable[[Any, Any, float], object]
"""A call of one of a gate's own methods, as a function of the gate, a member and the time."""


def check_gate(
    factory: Callable[..., Any],
    *,
    laws: Collection[str] | None = None,
    excuses: Mapping[str, str] | None = None,
    examples: int = 1000,
    seed: int = 0,
    events: Mapping[str, Event] | None = None,
) -> LawReport:
    """Check a gate against the laws, and return a report.

    ``factory`` returns a new gate each time.  If it has a parameter ``rng``, it gets a
    ``random.Random``.  ``events`` contains the calls of the gate's own methods by name.  Each of
    them is a function of a gate, a member and the time in seconds, and should be a ``lambda``: a
    program then shows its body.

    ``laws`` names the laws to test, by default all.  ``excuses`` maps the name of a law to the
    reason why the gate breaks it.  ``examples`` is the number of histories for each law.  They
    depend on ``seed`` only.

    >>> from balancers import Drain
    >>> from balancers.testing import check_gate
    >>> begin = {"begin": lambda gate, backend, now: gate.begin(backend, now)}
    >>> report = check_gate(Drain, events=begin, examples=10)
    >>> report.results[0]
    LawResult(law='reading_changes_nothing', examples=10, excuse='', note='')

    Raises LawBroken for the first law that is broken and has no excuse, and for an excuse whose law
    is not broken.  Raises InvalidSetting or TypeError for an argument that is not valid.
    """
    return _suite(factory, laws, excuses, examples, seed, events).report()


def gate_laws(
    factory: Callable[..., Any],
    *,
    laws: Collection[str] | None = None,
    excuses: Mapping[str, str] | None = None,
    examples: int = 1000,
    seed: int = 0,
    events: Mapping[str, Event] | None = None,
) -> type[TestCase]:
    """Return a class with one test for each law, which pytest and unittest collect.

    The arguments are those of :func:`check_gate`.

    >>> from balancers import Drain
    >>> TestDrain = gate_laws(Drain, laws=["changes_settle"], examples=9)
    >>> [name for name in dir(TestDrain) if name.startswith("test")]
    ['test_changes_settle']
    """
    return _suite(factory, laws, excuses, examples, seed, events).test_case()


def _suite(
    factory: Callable[..., Any],
    laws: Collection[str] | None,
    excuses: Mapping[str, str] | None,
    examples: int,
    seed: int,
    events: Mapping[str, Event] | None,
) -> Suite:
    settings = Settings(factory, frozenset(), takes_rng(factory), events=_lines(events))
    return Suite(GateLaboratory, settings, GATE_LAWS, laws, excuses, examples, seed, _preflight)


def _lines(events: Any) -> EventLines | None:
    if events is None:
        return None
    if not isinstance(events, Mapping):
        raise TypeError(f"events must be a mapping from names to functions, not {shown(events)}")
    given: dict[Any, Any] = dict(events)  # pyright: ignore[reportUnknownArgumentType] - checked
    for name, call in given.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of events must be texts, not {shown(name)}")
        if not callable(call):
            raise TypeError(f"the event {shown(name)} must be a function, not {shown(call)}")
    return EventLines(given) if given else None


def _preflight(runner: Runner) -> None:
    """Let a backend join, and let a request fail.  Raises LawBroken with the law "preflight".

    A gate that raises an exception here would break most laws with the same message.
    """
    lab = GateLaboratory(runner.settings, Choices(), recording=True)
    try:
        lab.make_gate("gate")
        for name in ("reason", "soft", "spares_bound", "fractional", "due"):
            lab.run(f"gate.{name}")
        lab.run("gate.added(backend, now)", backend="a", now=0.0)
        lab.run("gate.factor(backend, now)", backend="a", now=0.0)
        lab.run("list(gate.changes(now))", now=0.0)
        lab.run("gate.removed(backend, now)", backend="a", now=0.0)
    except Breach as breach:
        why = f"no law can be tested, because {breach.why}"
        program = lab.program.text(runner.preamble())
        raise LawBroken("preflight", why, program) from None
