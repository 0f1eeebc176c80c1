"""The defaults of the core: another default changes what its users get."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from math import inf
from types import FunctionType
from typing import Any

from balancers.gates import SuccessRate
from balancers.keys import name_of
from balancers.outcome import SUCCESS, count_capacity_as_unknown

PACKAGES = ("pool", "algorithms", "hashing", "gates", "loads", "sessions")

USUAL: dict[str, object] = {
    "aggression": 1.0,
    "among": None,
    "attributes": None,
    "avoid": (),
    "backends": None,
    "base_ejection_time": 30.0,
    "base_time": 1.0,
    "bound": False,
    "burst": None,
    "c": 1.25,
    "calm": None,
    "choices": 2,
    "clients": None,
    "clock_skew": 60.0,
    "consecutive_failures": 5,
    "consecutive_gateway_failures": None,
    "consecutive_local_failures": None,
    "context": b"",
    "cost": 0,
    "detail": "",
    "domain": None,
    "dry_run": False,
    "elapsed": None,
    "enforcing": 1.0,
    "events": None,
    "fail_timeout": 10.0,
    "failover": "rebind",
    "fast_interval": None,
    "first": None,
    "gap": 20.0,
    "gates": (),
    "hasher": None,
    "healthy_threshold": 2,
    "http_only": True,
    "identity": name_of,
    "idle_timeout": 600.0,
    "immediate": False,
    "initial": "up",
    "ipv4_prefix": 32,
    "ipv6_prefix": 64,
    "issued_at": None,
    "keep": None,
    "key": None,
    "last_resort": False,
    "lifetime": 86400.0,
    "limit": None,
    "load": None,
    "local": None,
    "local_rules": (),
    "max_age": None,
    "max_ejected_share": 0.1,
    "max_ejection_time": 300.0,
    "max_fails": 1,
    "max_points": 8388608,
    "max_sessions": 100000,
    "max_time": 60.0,
    "max_trials": 1,
    "min_remaining": 1,
    "min_share": 0.1,
    "minimum_hosts": 5,
    "now": 0.0,
    "offset": 0,
    "ok": True,
    "ok_threshold": 10,
    "outcome": SUCCESS,
    "over": None,
    "overflow": True,
    "panic": 0.0,
    "partitioned": False,
    "path": "/",
    "percentage": 85.0,
    "period": 60.0,
    "prefer": None,
    "probes": 21,
    "quiet": 0.0,
    "reason": "",
    "recovery_time": 10.0,
    "restores": None,
    "results": 10,
    "retry_after": None,
    "rule": None,
    "rules": (SuccessRate(),),
    "same_site": "Lax",
    "secure": True,
    "size": 65537,
    "slack": 0,
    "slow_after": 60.0,
    "slow_interval": None,
    "started_at": None,
    "status": None,
    "stdev_factor": 1.9,
    "steps": 8,
    "strict": False,
    "tokens": None,
    "trusted": False,
    "unhealthy_threshold": 3,
    "verdict": count_capacity_as_unknown,
    "wall": 0.0,
    "weight": 1,
    "weights": None,
}
"""The default of a parameter, by its name."""

OTHER: dict[str, object] = {
    "ActiveChecks.jitter": 0.1,
    "ActiveChecks.interval": 5.0,
    "ActiveChecks.promotion": "probes",
    "ActiveChecks.timeout": 3.0,
    "Circle.points": (),
    "CookieSessions.name": None,
    "CoolDown.factor": 2.0,
    "CoolDown.jitter": 0.2,
    "Drain.timeout": 30.0,
    "Ewma.default": 0.01,
    "Ewma.tau": 10.0,
    "HashRing.points": 160,
    "HeaderSessions.name": "X-Session-Server",
    "HealthChecks.promotion": "either",
    "Leaky.healthy_threshold": 20,
    "Leaky.unhealthy_threshold": 10,
    "Lease.panic": False,
    "Group.members": (),
    "Group.plan.n": 3,
    "LeastConnections.ties": None,
    "MedianGap.factor": 3.0,
    "MedianGap.minimum_hosts": 3,
    "OutlierEjection.interval": 10.0,
    "PeakEwma.first": False,
    "PeakEwma.max_age": 30.0,
    "PeakEwma.penalty": 10.0,
    "PeakEwma.probes": 1,
    "PeakEwma.tau": 5.0,
    "OutlierEjection.jitter": 0.0,
    "OutlierEjection.rng": None,
    "SessionTokens.idle_timeout": 1800.0,
    "SlidingWindow.healthy_threshold": 8,
    "SlidingWindow.unhealthy_threshold": 5,
    "SuccessRate.request_volume": 100,
    "FailurePercentage.request_volume": 50,
    "MedianGap.request_volume": 50,
    "PrefixAffinity.block": 16,
    "PrefixAffinity.capacity": 31_250,
    "PrefixAffinity.shared": False,
    "PrefixAffinity.observe.after": b"",
    "PrefixAffinity.observe.cleared": False,
    "PrefixAffinity.observe.removed": b"",
    "PrefixAffinity.observe.stored": b"",
    "Tiers.factor": 1.4,
    "WeightedLeastConnections.rule": "wlc",
    "Zones.factor": 1.4,
    "Pool.admits.now": None,
    "Pool.group.members": (),
    "Pool.plan.n": 3,
    "Pool.progress.cost": None,
    "Pool.full.now": None,
    "Pool.state.now": None,
    "SessionTokens.needs_renewal.max_age": inf,
}
"""What differs, by the name of the class, of the method unless it is the constructor, and of the
parameter."""

UNCHECKED = {"SessionTokens.rng"}
"""It is a ``SystemRandom``, which equals no other."""


def public_classes() -> Iterator[type[Any]]:
    for package in PACKAGES:
        module = import_module(f"balancers.{package}")
        for name, value in vars(module).items():
            if isinstance(value, type) and not name.startswith("_"):
                yield value


def defaults() -> Iterator[tuple[str, str, object]]:
    """Return class, method and parameter, the parameter alone, and its default."""
    for kind in public_classes():
        for name in dir(kind):
            method = getattr(inspect.getattr_static(kind, name), "__func__", None)
            method = method or inspect.getattr_static(kind, name)
            if not isinstance(method, FunctionType) or not method.__module__.startswith("bal"):
                continue
            if name.startswith("_") and name != "__init__":
                continue
            called = kind.__name__ if name == "__init__" else f"{kind.__name__}.{name}"
            for parameter in inspect.signature(method).parameters.values():
                if parameter.default is not parameter.empty:
                    yield f"{called}.{parameter.name}", parameter.name, parameter.default


DEFAULTS = {name: (short, default) for name, short, default in defaults()}


def test_every_exception_is_used() -> None:
    assert DEFAULTS.keys() >= OTHER.keys() | UNCHECKED
    assert {short for name, (short, _) in DEFAULTS.items() if name not in OTHER} >= USUAL.keys()


def test_the_defaults_are_those_of_the_contract() -> None:
    assert len(DEFAULTS) > 300
    for name, short, default in defaults():
        if name not in UNCHECKED:
            expected = OTHER.get(name, USUAL.get(short, KeyError))
            assert (default, type(default)) == (expected, type(expected)), name
