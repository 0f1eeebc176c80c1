"""The registry of gates: usual settings, and further rows where other settings behave otherwise."""

from functools import partial
from random import Random
from typing import Any

from balancers import ConnectionLimit, Drain, HealthChecks, SlowStart
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    CostLimit,
    CostRateLimit,
    DynamicLimit,
    FailurePercentage,
    MedianGap,
    OutlierEjection,
    PassiveChecks,
    RequestRateLimit,
    SlidingWindow,
    SuccessRate,
    WarmUp,
)
from tests.kinds.kind import Event, GateKind

__all__ = ["GATES", "PLAIN_GATES", "gate_named"]


def health(*thresholds: Any, **settings: Any) -> Any:
    return HealthChecks[str](*thresholds or (1, 1), **settings)


def active(*thresholds: Any, **settings: Any) -> Any:
    settings.setdefault("rng", Random(1))
    return ActiveChecks[str](*thresholds or (1, 1), **settings)


def active_that_restores(**settings: Any) -> Any:
    usual: dict[str, Any] = {"slow_after": 20.0, "restores": ejection()}
    return active(3, 2, **(usual | settings))


def passive(**settings: Any) -> Any:
    settings.setdefault("max_fails", 1)
    return PassiveChecks[str](**settings)


def ejection(**settings: Any) -> Any:
    settings.setdefault("rng", Random(1))
    return OutlierEjection[str](1, **settings)


def ejection_by_rules(**settings: Any) -> Any:
    rules = [
        SuccessRate(minimum_hosts=2, request_volume=3),
        FailurePercentage(minimum_hosts=2, request_volume=2),
        MedianGap(minimum_hosts=2, request_volume=2),
    ]
    usual: dict[str, Any] = {
        "consecutive_gateway_failures": 2,
        "consecutive_local_failures": 2,
        "interval": 4.0,
        "base_ejection_time": 3.0,
        "max_ejection_time": 7.0,
        "max_ejected_share": 0.5,
        "rng": Random(1),
    }
    return OutlierEjection[str](3, rules, **(usual | settings))


def cool_down(**settings: Any) -> Any:
    usual: dict[str, Any] = {"consecutive_failures": 1, "rng": Random(1)}
    return CoolDown[str](**(usual | settings))


def dynamic_limit(**settings: Any) -> Any:
    usual: dict[str, Any] = {"minconn": 1, "maxconn": 3, "fullconn": 9}
    return DynamicLimit[str](**(usual | settings))


OFTEN: dict[str, Any] = {
    "interval": 4.0,
    "timeout": 1.5,
    "fast_interval": 1.0,
    "slow_after": 6.0,
    "jitter": 0.0,
}
"""Settings of active checks that send a probe in most intervals of a few seconds."""

OBSERVE: dict[str, Event] = {
    "observe success": lambda gate, backend, now: gate.observe(backend, True, now),
    "observe failure": lambda gate, backend, now: gate.observe(backend, False, now),
    "observe immediate failure": lambda gate, backend, now: gate.observe(
        backend, False, now, immediate=True
    ),
    "observe early failure": lambda gate, backend, now: gate.observe(
        backend, False, now, started_at=now - 1
    ),
}
PROBE: dict[str, Event] = {
    "send probes": lambda gate, _, now: len(gate.probes(now)),
    "answer with success": lambda gate, _, now: [
        gate.answer(probe, True, now) for probe in gate.probes(now)
    ],
    "answer with failure": lambda gate, _, now: [
        gate.answer(probe, False, now) for probe in gate.probes(now)
    ],
}
EJECT: dict[str, Event] = {
    "restore": lambda gate, backend, now: gate.restore(backend, now),
    "probe passed": lambda gate, backend, now: gate.probe_passed(backend, now),
}
DRAIN: dict[str, Event] = {
    "begin drain": lambda gate, backend, now: gate.begin(backend, now),
    "cancel drain": lambda gate, backend, now: gate.cancel(backend, now),
    "read drained": lambda gate, _, now: gate.drained(now),
}
LIMIT: dict[str, Event] = {
    "set limit 1": lambda gate, backend, now: gate.set(backend, 1, now),
    "set limit 3": lambda gate, backend, now: gate.set(backend, 3, now),
    "unset limit": lambda gate, backend, now: gate.set(backend, None, now),
}
CHARGE: dict[str, Event] = {
    "costs 1 more": lambda gate, backend, now: gate.charged(backend, 1, now),
    "costs 5 more": lambda gate, backend, now: gate.charged(backend, 5, now),
    "costs 2 less": lambda gate, backend, now: gate.charged(backend, -2, now),
}
RISE = {name: call for name, call in CHARGE.items() if "more" in name}
RATE: dict[str, Event] = {
    "set limit 1": lambda gate, backend, now: gate.set(backend, 1, now),
    "set limit 3, burst 9": lambda gate, backend, now: gate.set(backend, 3, now, burst=9),
    "unset limit": lambda gate, backend, now: gate.set(backend, None, now),
}
WAIT: dict[str, Event] = {
    "nothing waits": lambda gate, _, now: gate.set_waiting(0, now),
    "5 wait": lambda gate, _, now: gate.set_waiting(5, now),
}
RAMP: dict[str, Event] = {"begin ramp": lambda gate, backend, now: gate.begin(backend, now)}


GATES = [
    GateKind("HealthChecks", health, OBSERVE, closes_at_once=True),
    GateKind("HealthChecks-3-2", partial(health, 3, 2), OBSERVE),
    GateKind(
        "HealthChecks-time",
        partial(health, 2, 2, 3.0, promotion="time"),
        OBSERVE,
    ),
    GateKind(
        "HealthChecks-down",
        partial(health, 2, 2, 3.0, initial="down", promotion="probes"),
        OBSERVE,
    ),
    GateKind("HealthChecks-unknown", partial(health, 2, 2, initial="unknown"), OBSERVE),
    GateKind(
        "HealthChecks-window",
        partial(health, 3, 2, rule=SlidingWindow(3, 2, 2)),
        OBSERVE,
    ),
    GateKind("ActiveChecks", active, OBSERVE | PROBE, closes_at_once=True),
    GateKind(
        "ActiveChecks-3-2-restores",
        active_that_restores,
        OBSERVE | PROBE,
    ),
    GateKind("ActiveChecks-often", partial(active, 2, 2, **OFTEN), OBSERVE | PROBE),
    GateKind("ActiveChecks-down", partial(active, 2, 2, initial="down", **OFTEN), OBSERVE | PROBE),
    GateKind(
        "ActiveChecks-down-time",
        partial(active, 2, 2, initial="down", promotion="time", recovery_time=3.0, **OFTEN),
        OBSERVE | PROBE,
    ),
    GateKind("PassiveChecks", passive, closes_at_once=True),
    GateKind("PassiveChecks-2-trials", partial(passive, max_fails=2, max_trials=2)),
    GateKind("OutlierEjection", ejection, EJECT, closes_at_once=True),
    GateKind("OutlierEjection-rules", ejection_by_rules, EJECT),
    GateKind("OutlierEjection-all", partial(ejection_by_rules, max_ejected_share=1.0), EJECT),
    GateKind("OutlierEjection-dry-run", partial(ejection_by_rules, dry_run=True), EJECT),
    GateKind("CoolDown", cool_down, closes_at_once=True),
    GateKind(
        "CoolDown-2-last-resort",
        partial(cool_down, consecutive_failures=2, max_time=9.0, last_resort=True),
    ),
    GateKind("Drain", Drain[str], DRAIN),
    GateKind(
        "Drain-quiet-last-resort",
        partial(Drain[str], timeout=4.0, quiet=1.0, last_resort=True),
        DRAIN,
    ),
    GateKind("ConnectionLimit", partial(ConnectionLimit[str], 2), LIMIT),
    GateKind("DynamicLimit", dynamic_limit, WAIT),
    GateKind("CostLimit", partial(CostLimit[str], 3), LIMIT | CHARGE),
    GateKind("RequestRateLimit", partial(RequestRateLimit[str], 2, 3.0), RATE),
    GateKind("RequestRateLimit-thirds", partial(RequestRateLimit[str], 3, 1.0, 1), RATE),
    GateKind("CostRateLimit", partial(CostRateLimit[str], 4, 3.0), RATE | RISE),
    GateKind("CostRateLimit-burst-7", partial(CostRateLimit[str], 3, 0.7, 7), RATE | RISE),
    GateKind("SlowStart", partial(SlowStart[str], 30.0), RAMP),
    GateKind("SlowStart-2-steps", partial(SlowStart[str], 4.0, steps=2), RAMP),
    GateKind("WarmUp", partial(WarmUp[str], 30.0), RAMP),
    GateKind("WarmUp-2-steps", partial(WarmUp[str], 4.0, steps=2), RAMP),
]
PLAIN_GATES = {kind.name: kind for kind in GATES if "-" not in kind.name}
"""One row per class, with the usual settings."""


def gate_named(name: str) -> GateKind:
    """Return the row of this name."""
    return next(kind for kind in GATES if kind.name == name)
