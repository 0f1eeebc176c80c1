"""Defines what a check returns and raises: reports, and errors with a program."""

from dataclasses import dataclass
from typing import Any

from balancers.testing._statistics import FALSE_ALARM

__all__ = ["LawBroken", "LawReport", "LawResult"]


class LawBroken(AssertionError):
    """Raised when a balancer, a gate or a load breaks a law.

    ``law`` is the name of the law, ``why`` a sentence that describes the breach, and ``program`` a
    short Python program that runs as it stands and fails because of the breach.

    >>> from balancers import RoundRobin
    >>> from balancers.testing import check_balancer
    >>> class Stuck(RoundRobin):
    ...     def pick(self, key=None, now=0.0, avoid=()):
    ...         return next(iter(self.weights))
    >>> check_balancer(Stuck, laws=["picks_only_eligible_backends"], examples=50)
    Traceback (most recent call last):
    balancers.testing.report.LawBroken: picks_only_eligible_backends: ...
    """

    def __init__(self, law: str, why: str, program: str) -> None:
        super().__init__(law, why, program)
        self.law = law
        self.why = why
        self.program = program

    def __str__(self) -> str:
        return f"{self.law}: {self.why}" + (f"\n\n{self.program}" if self.program else "")


@dataclass(frozen=True, slots=True)
class LawResult:
    """Describes how one law was tested.

    ``examples`` is the number of examples that were run.  Laws whose examples are long run only a
    part of the requested number, and some run once.  It is lower if the time for the law was over;
    the note says so then.  ``excuse`` is the reason of a law that is broken and excused, or "".
    ``note`` says what a reader must know about the result, or is "".

    >>> LawResult("picks_only_eligible_backends", 1000)
    LawResult(law='picks_only_eligible_backends', examples=1000, excuse='', note='')
    """

    law: str
    examples: int
    excuse: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class LawReport:
    """Describes a check in which no law was broken, except those with an excuse.

    ``results`` has one row for each law, in the order in which they were tested.  ``comparisons``
    is the number of statistical comparisons.  A correct balancer fails one of them by chance with a
    probability of at most 5·10⁻¹³, whatever its distribution is.

    >>> result = LawResult("last_put_wins", 20)
    >>> LawReport("RoundRobin", (), 0, (result,), comparisons=40).false_alarm
    2e-11
    """

    subject: str
    traits: tuple[str, ...]
    seed: int
    results: tuple[LawResult, ...]
    comparisons: int = 0

    @property
    def false_alarm(self) -> float:
        """An upper bound of the probability that this check accuses a correct subject."""
        return self.comparisons * FALSE_ALARM

    def __str__(self) -> str:
        width = max(len(result.law) for result in self.results) if self.results else 0
        rows = [f"{r.law:<{width}}  {_row(r)}" for r in self.results]
        traits = ", ".join(self.traits) or "no traits"
        return "\n".join([f"{self.subject} ({traits}), seed {self.seed}", *rows])


def _row(result: LawResult) -> str:
    texts: list[Any] = ["excused: " + result.excuse if result.excuse else "holds"]
    texts.append(f"{result.examples} example{'s' * (result.examples != 1)}")
    return ", ".join([*texts, *([result.note] if result.note else [])])
