"""The laws of two balancers, as tests that pytest and unittest collect."""

from collections.abc import Callable, Collection
from random import Random
from typing import Any

from tree_choice import TreeChoice

from balancers import Key
from balancers.testing import balancer_laws

TRAITS = ["weighted", "random"]

TestTreeChoice = balancer_laws(TreeChoice, TRAITS, examples=100)


class ReportingTreeChoice(TreeChoice):
    """Calls a function with each picked backend.  It cannot be pickled, because a lambda cannot."""

    def __init__(self, *, rng: Random) -> None:
        self.report: Callable[[Any], None] = lambda _: None
        super().__init__(rng=rng)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        backend = super().pick(key, now, avoid)
        self.report(backend)
        return backend


EXCUSES = {"copies_and_pickles_go_on_alike": "a lambda cannot be pickled"}
TestReportingTreeChoice = balancer_laws(ReportingTreeChoice, TRAITS, excuses=EXCUSES, examples=100)
