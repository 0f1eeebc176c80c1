"""The laws of TreeChoice, as tests that pytest collects."""

from threading import Lock
from typing import Any

from balancers.testing import balancer_laws
from tree_choice import TreeChoice

TestTreeChoice = balancer_laws(TreeChoice, ["weighted", "random"], examples=100)


class LockedTreeChoice(TreeChoice):
    """A TreeChoice for threads.  It cannot be copied, because a lock cannot be copied."""

    def __init__(self, **arguments: Any) -> None:
        self.lock = Lock()
        super().__init__(**arguments)
