"""Checks balancers, gates and loads of any author against laws.

>>> from balancers import RoundRobin
>>> from balancers.testing import check_balancer
>>> print(check_balancer(RoundRobin, ["rotating"], laws=["once_in_n"], examples=100))
RoundRobin (rotating), seed 0
once_in_n  holds, 30 examples
"""

from typing import TYPE_CHECKING

from balancers.testing._law import Law as Law
from balancers.testing.balancer_checks import TRAITS as TRAITS
from balancers.testing.balancer_checks import balancer_laws as balancer_laws
from balancers.testing.balancer_checks import check_balancer as check_balancer
from balancers.testing.gate_checks import check_gate as check_gate
from balancers.testing.gate_checks import gate_laws as gate_laws
from balancers.testing.load_checks import check_load as check_load
from balancers.testing.load_checks import load_laws as load_laws
from balancers.testing.recorder import Recorder as Recorder
from balancers.testing.replay import Diverged as Diverged
from balancers.testing.replay import Header as Header
from balancers.testing.replay import InvalidLog as InvalidLog
from balancers.testing.replay import Replayed as Replayed
from balancers.testing.replay import replay as replay
from balancers.testing.report import LawBroken as LawBroken
from balancers.testing.report import LawReport as LawReport
from balancers.testing.report import LawResult as LawResult
from balancers.testing.vectors import Vector as Vector
from balancers.testing.vectors import vectors as vectors

if TYPE_CHECKING:
    from balancers.testing.machine import BalancerMachine as BalancerMachine
else:

    def __getattr__(name: str) -> object:
        """Import what needs Hypothesis on first use."""
        if name != "BalancerMachine":
            raise AttributeError(f"module 'balancers.testing' has no attribute {name!r}")
        from balancers.testing.machine import BalancerMachine  # noqa: PLC0415 - needs hypothesis

        return BalancerMachine
