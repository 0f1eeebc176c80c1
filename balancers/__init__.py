"""Provides load-balancing algorithms as a typed library that performs no I/O.

>>> from balancers import Pool, WeightedLeastConnections
>>> pool = Pool(WeightedLeastConnections({"10.0.0.1:80": 1, "10.0.0.2:80": 3}))
>>> with pool.lease(clock=lambda: 0.0) as lease:
...     lease.backend
'10.0.0.2:80'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from balancers.algorithms import IPHash as IPHash
from balancers.algorithms import LeastConnections as LeastConnections
from balancers.algorithms import PowerOfTwoChoices as PowerOfTwoChoices
from balancers.algorithms import RandomChoice as RandomChoice
from balancers.algorithms import RoundRobin as RoundRobin
from balancers.algorithms import WeightedLeastConnections as WeightedLeastConnections
from balancers.algorithms import WeightedRoundRobin as WeightedRoundRobin
from balancers.balancer import Balancer as Balancer
from balancers.balancer import Key as Key
from balancers.errors import BalancersError as BalancersError
from balancers.errors import NoBackendAvailable as NoBackendAvailable
from balancers.event import Event as Event
from balancers.gate import Gate as Gate
from balancers.gates import ConnectionLimit as ConnectionLimit
from balancers.gates import Drain as Drain
from balancers.gates import HealthChecks as HealthChecks
from balancers.gates import SlowStart as SlowStart
from balancers.load import Load as Load
from balancers.outcome import FAILURE as FAILURE
from balancers.outcome import SUCCESS as SUCCESS
from balancers.outcome import UNKNOWN as UNKNOWN
from balancers.outcome import Outcome as Outcome
from balancers.pool import Lease as Lease
from balancers.pool import Pool as Pool

if TYPE_CHECKING:
    from balancers.hashing import HashRing as HashRing
    from balancers.hashing import Maglev as Maglev
    from balancers.hashing import Rendezvous as Rendezvous

__version__ = "0.2.0"
"""The version of the package, as in its metadata."""

_LAZY = {"HashRing", "Maglev", "Rendezvous"}
"""Names that are imported on first use, because :mod:`balancers.hashing` loads numpy and mmh3."""


if not TYPE_CHECKING:  # a type checker would accept every attribute name

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module("balancers.hashing"), name)
        return value


def __dir__() -> list[str]:
    hidden = {"TYPE_CHECKING", "import_module"}
    return sorted({*globals(), *_LAZY} - hidden)
