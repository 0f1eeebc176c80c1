"""Finds out whether a subject can be driven at all, before the laws are tested."""

from inspect import iscoroutinefunction

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._choices import Choices
from balancers.testing._program import Breach
from balancers.testing._runner import Runner
from balancers.testing.report import LawBroken

__all__ = ["preflight"]

_MEMBERS = ("keyed", "fractional", "weights", "put", "discard", "pick", "started", "finished")


def preflight(runner: Runner) -> None:
    """Insert two backends, pick, quiesce and discard.  Raises LawBroken with the law "preflight".

    A subject that raises an exception here would break most laws with the same message.
    """
    laboratory = BalancerLaboratory(runner.settings, Choices(), recording=True)
    try:
        laboratory.make_balancer("lb")
        _check_members(laboratory)
        _check_keyed(laboratory)
        laboratory.make("other")
        laboratory.check("other is not lb", "the factory must return a new balancer at each call")
        laboratory.put("a", 1)
        laboratory.pick(laboratory.key())
        if laboratory.settings.max_members > 1:
            laboratory.put("b", 1)
            laboratory.pick(laboratory.key(), ["a"])
            laboratory.put("b", 0)
        laboratory.pick(laboratory.key())
        laboratory.start("a")
        laboratory.finish("a")
        laboratory.discard([*laboratory.weights][-1])
    except Breach as breach:
        why = f"no law can be tested, because {breach.why}"
        program = laboratory.program.text(runner.preamble())
        raise LawBroken("preflight", why, program) from None


def _check_members(laboratory: BalancerLaboratory) -> None:
    """Name all missing members at once, and all methods that would have to be awaited."""
    lb = laboratory.program.namespace["lb"]
    missing = ", ".join(name for name in _MEMBERS if not hasattr(lb, name))
    line = "[name for name in members if not hasattr(lb, name)] == []"
    laboratory.check(line, f"the balancer has no {missing}", members=_MEMBERS)
    found = ", ".join(name for name in _MEMBERS if iscoroutinefunction(getattr(lb, name)))
    line = "[name for name in members if iscoroutinefunction(getattr(lb, name))] == []"
    laboratory.check(
        line, f"a pool awaits no method, so none may be async: {found}", members=_MEMBERS
    )


def _check_keyed(laboratory: BalancerLaboratory) -> None:
    keyed = laboratory.keyed
    why = f"keyed must be {keyed}, because the traits {'contain' if keyed else 'lack'} 'keyed'"
    laboratory.check("lb.keyed == keyed", why, keyed=keyed)
    laboratory.check("len(lb.weights) == 0", "the factory must return a balancer without members")
