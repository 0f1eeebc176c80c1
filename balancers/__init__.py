"""Load-balancing algorithms as a pure, typed library.

>>> from balancers import Pool, WeightedLeastConnections
>>> pool = Pool(WeightedLeastConnections({"10.0.0.1:80": 1, "10.0.0.2:80": 3}))
>>> with pool.lease(clock=lambda: 0.0) as lease:
...     lease.backend
'10.0.0.2:80'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from balancers.algorithms.least_connections import LeastConnections
from balancers.algorithms.round_robin import RoundRobin
from balancers.algorithms.weighted_least_connections import WeightedLeastConnections
from balancers.algorithms.weighted_round_robin import WeightedRoundRobin
from balancers.balancer import Balancer, Key
from balancers.errors import (
    AlreadyReleased,
    BalancersError,
    DuplicateBackend,
    ForeignLease,
    GateInUse,
    IncompatibleGate,
    InvalidKey,
    InvalidSetting,
    InvalidTime,
    InvalidWeight,
    MissingKey,
    NoBackendAvailable,
    QueueFull,
    RingTooLarge,
    UnknownBackend,
)
from balancers.event import Event
from balancers.gate import Gate
from balancers.lease import FAILURE, SUCCESS, UNKNOWN, Lease, Outcome
from balancers.load import Load
from balancers.loads.in_flight import InFlight
from balancers.membership import Membership
from balancers.pool import Pool

if TYPE_CHECKING:
    from balancers.admission_queue import AdmissionQueue, Waiting
    from balancers.algorithms.ip_hash import IPHash
    from balancers.algorithms.power_of_two import PowerOfTwoChoices
    from balancers.algorithms.random_choice import RandomChoice
    from balancers.gates.cool_down import CoolDown
    from balancers.gates.drain import Drain, Drained
    from balancers.gates.dynamic_limit import DynamicLimit
    from balancers.gates.health import HealthChecks, HealthStateMachine
    from balancers.gates.health_rules import Consecutive, HealthRule, Leaky, OfTheLast
    from balancers.gates.limits import ConnectionLimit
    from balancers.gates.outlier_rules import (
        FailurePercentage,
        MedianGap,
        OutlierRule,
        SuccessRate,
    )
    from balancers.gates.outliers import Ejection, OutlierEjection
    from balancers.gates.passive import PassiveChecks
    from balancers.gates.probes import ActiveChecks, Probe
    from balancers.gates.slow_start import SlowStart
    from balancers.gates.warm_up import WarmUp
    from balancers.hashing.anchor import Anchor
    from balancers.hashing.bounded import BoundedLoad
    from balancers.hashing.hashed import HashedBalancer
    from balancers.hashing.jump import Jump
    from balancers.hashing.keys import KeyedBlake2, Murmur3, XXHash64
    from balancers.hashing.maglev import Maglev
    from balancers.hashing.memento import Memento
    from balancers.hashing.multi_probe import MultiProbe
    from balancers.hashing.rendezvous import Rendezvous
    from balancers.hashing.ring import HashRing
    from balancers.health_report import CheckResult, HealthReport
    from balancers.request import Request
    from balancers.retry_budget import RetryBudget
    from balancers.routing.client_address import ClientAddress, TrustedProxies
    from balancers.routing.flow_table import FlowCounts, FlowTable
    from balancers.routing.flows import FlowKey
    from balancers.routing.forwarded import Node
    from balancers.routing.networks import Networks
    from balancers.routing.paths import Path, read_target
    from balancers.routing.proxy_header import Endpoint, ProxyHeader, Tlv
    from balancers.routing.proxy_protocol import ReadHeader, read_proxy_header
    from balancers.routing.router import Match, Router
    from balancers.routing.routes import Route
    from balancers.routing.split import Split
    from balancers.sessions.address import AddressSessions
    from balancers.sessions.binding import Binding
    from balancers.sessions.cookie import CookieSessions
    from balancers.sessions.cookies import cookies, set_cookie
    from balancers.sessions.header import HeaderSessions
    from balancers.sessions.learned import LearnedSessions
    from balancers.sessions.skew import SessionShare, SessionSkew, session_skew
    from balancers.sessions.tokens import SessionTokens

__all__ = [
    "FAILURE",
    "SUCCESS",
    "UNKNOWN",
    "ActiveChecks",
    "AddressSessions",
    "AdmissionQueue",
    "AlreadyReleased",
    "Anchor",
    "Balancer",
    "BalancersError",
    "Binding",
    "BoundedLoad",
    "CheckResult",
    "ClientAddress",
    "ConnectionLimit",
    "Consecutive",
    "CookieSessions",
    "CoolDown",
    "Drain",
    "Drained",
    "DuplicateBackend",
    "DynamicLimit",
    "Ejection",
    "Endpoint",
    "Event",
    "FailurePercentage",
    "FlowCounts",
    "FlowKey",
    "FlowTable",
    "ForeignLease",
    "Gate",
    "GateInUse",
    "HashRing",
    "HashedBalancer",
    "HeaderSessions",
    "HealthChecks",
    "HealthReport",
    "HealthRule",
    "HealthStateMachine",
    "IPHash",
    "InFlight",
    "IncompatibleGate",
    "InvalidKey",
    "InvalidSetting",
    "InvalidTime",
    "InvalidWeight",
    "Jump",
    "Key",
    "KeyedBlake2",
    "Leaky",
    "LearnedSessions",
    "Lease",
    "LeastConnections",
    "Load",
    "Maglev",
    "Match",
    "MedianGap",
    "Membership",
    "Memento",
    "MissingKey",
    "MultiProbe",
    "Murmur3",
    "Networks",
    "NoBackendAvailable",
    "Node",
    "OfTheLast",
    "Outcome",
    "OutlierEjection",
    "OutlierRule",
    "PassiveChecks",
    "Path",
    "Pool",
    "PowerOfTwoChoices",
    "Probe",
    "ProxyHeader",
    "QueueFull",
    "RandomChoice",
    "ReadHeader",
    "Rendezvous",
    "Request",
    "RetryBudget",
    "RingTooLarge",
    "RoundRobin",
    "Route",
    "Router",
    "SessionShare",
    "SessionSkew",
    "SessionTokens",
    "SlowStart",
    "Split",
    "SuccessRate",
    "Tlv",
    "TrustedProxies",
    "UnknownBackend",
    "Waiting",
    "WarmUp",
    "WeightedLeastConnections",
    "WeightedRoundRobin",
    "XXHash64",
    "cookies",
    "read_proxy_header",
    "read_target",
    "session_skew",
    "set_cookie",
]

_LATER = {
    "AdmissionQueue": "admission_queue",
    "Waiting": "admission_queue",
    "IPHash": "algorithms.ip_hash",
    "PowerOfTwoChoices": "algorithms.power_of_two",
    "RandomChoice": "algorithms.random_choice",
    "CoolDown": "gates.cool_down",
    "Drain": "gates.drain",
    "Drained": "gates.drain",
    "DynamicLimit": "gates.dynamic_limit",
    "HealthChecks": "gates.health",
    "HealthStateMachine": "gates.health",
    "Consecutive": "gates.health_rules",
    "HealthRule": "gates.health_rules",
    "Leaky": "gates.health_rules",
    "OfTheLast": "gates.health_rules",
    "ConnectionLimit": "gates.limits",
    "FailurePercentage": "gates.outlier_rules",
    "MedianGap": "gates.outlier_rules",
    "OutlierRule": "gates.outlier_rules",
    "SuccessRate": "gates.outlier_rules",
    "Ejection": "gates.outliers",
    "OutlierEjection": "gates.outliers",
    "PassiveChecks": "gates.passive",
    "ActiveChecks": "gates.probes",
    "Probe": "gates.probes",
    "SlowStart": "gates.slow_start",
    "WarmUp": "gates.warm_up",
    "Anchor": "hashing.anchor",
    "BoundedLoad": "hashing.bounded",
    "HashedBalancer": "hashing.hashed",
    "Jump": "hashing.jump",
    "KeyedBlake2": "hashing.keys",
    "Murmur3": "hashing.keys",
    "XXHash64": "hashing.keys",
    "Maglev": "hashing.maglev",
    "Memento": "hashing.memento",
    "MultiProbe": "hashing.multi_probe",
    "Rendezvous": "hashing.rendezvous",
    "HashRing": "hashing.ring",
    "CheckResult": "health_report",
    "HealthReport": "health_report",
    "Request": "request",
    "RetryBudget": "retry_budget",
    "ClientAddress": "routing.client_address",
    "TrustedProxies": "routing.client_address",
    "FlowCounts": "routing.flow_table",
    "FlowTable": "routing.flow_table",
    "FlowKey": "routing.flows",
    "Node": "routing.forwarded",
    "Networks": "routing.networks",
    "Path": "routing.paths",
    "read_target": "routing.paths",
    "Endpoint": "routing.proxy_header",
    "ProxyHeader": "routing.proxy_header",
    "Tlv": "routing.proxy_header",
    "ReadHeader": "routing.proxy_protocol",
    "read_proxy_header": "routing.proxy_protocol",
    "Match": "routing.router",
    "Router": "routing.router",
    "Route": "routing.routes",
    "Split": "routing.split",
    "AddressSessions": "sessions.address",
    "Binding": "sessions.binding",
    "CookieSessions": "sessions.cookie",
    "cookies": "sessions.cookies",
    "set_cookie": "sessions.cookies",
    "HeaderSessions": "sessions.header",
    "LearnedSessions": "sessions.learned",
    "SessionShare": "sessions.skew",
    "SessionSkew": "sessions.skew",
    "session_skew": "sessions.skew",
    "SessionTokens": "sessions.tokens",
}
"""Imported when first named: what loads another package, and what not every user needs."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
