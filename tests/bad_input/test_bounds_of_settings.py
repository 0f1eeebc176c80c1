"""The first and the last valid number of each setting, and the errors of the numbers beyond."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan, nextafter
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    IPHash,
    Maglev,
    Pool,
    PowerOfTwoChoices,
    Rendezvous,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.errors import InvalidSetting
from balancers.gates import (
    ActiveChecks,
    Consecutive,
    CoolDown,
    DynamicLimit,
    FailurePercentage,
    HealthStateMachine,
    Leaky,
    MedianGap,
    OutlierEjection,
    PassiveChecks,
    SlidingWindow,
    SuccessRate,
    WarmUp,
)
from balancers.hashing import Anchor, BoundedLoad, MultiProbe
from balancers.sessions import AddressSessions, LearnedSessions, SessionTokens

LATEST, TINY, KEY = 1e300, 5e-324, b"0123456789abcdef0123456789abcdef"
AFTER = nextafter(LATEST, inf)


@dataclass(slots=True)
class Setting:
    """A setting, values at the edge of what is valid, and values just beyond."""

    name: str
    make: Callable[[Any], object]
    valid: list[Any]
    invalid: list[Any]
    also: str = ""
    """Another text of the error: the value that the setting is compared with."""


def count(name: str, make: Callable[[Any], object], first: int = 1) -> Setting:
    """Return the setting of a whole number without an upper limit."""
    return Setting(name, make, [first, first + 1], [first - 1, -1, 1.0, True, nan], f"{first} or")


def share(name: str, make: Callable[[Any], object]) -> Setting:
    """Return the setting of a share, 0 and 1 included."""
    return Setting(name, make, [0, 0.0, 0.5, 1.0, 1], [-TINY, nextafter(1, 2), nan, inf, True])


def seconds(name: str, make: Callable[[Any], object], *valid: float) -> Setting:
    """Return the setting of a duration that must not be 0."""
    return Setting(name, make, [1.0, *valid], [0, 0.0, -TINY, nan, -inf, AFTER, True])


def active(**settings: Any) -> ActiveChecks[str]:
    return ActiveChecks(rng=Random(1), **settings)


def cool(**settings: Any) -> CoolDown[str]:
    return CoolDown(rng=Random(1), **settings)


def ejection(**settings: Any) -> OutlierEjection[str]:
    return OutlierEjection(rng=Random(1), **settings)


def pool(**settings: Any) -> Pool[str]:
    return Pool(RoundRobin(), **settings)


def ramp(make: Callable[..., object]) -> list[Setting]:
    """Return the settings of a gate that raises weights in steps."""
    above_zero = [0, 0.0, -TINY, nan, True]
    return [
        seconds("window", make, TINY, LATEST),
        Setting("steps", lambda x: make(9.0, x), [2], [1, 0, 2.0, True], "2 or"),
        Setting(
            "aggression", lambda x: make(9.0, aggression=x), [TINY, 1, 1e300], [*above_zero, inf]
        ),
        Setting("min_share", lambda x: make(9.0, min_share=x), [TINY, 1], [*above_zero, ROUND]),
    ]


ROUND = nextafter(1, 2)
SETTINGS = [
    share("panic", lambda x: pool(panic=x)),
    Setting("calm", lambda x: pool(panic=0.5, calm=x), [0.5, 1.0, 1], [0.49, ROUND, nan], "0.5"),
    Setting("calm", lambda x: pool(calm=x), [], [0.0, 0.5, 1.0], "0.0"),
    Setting("calm", lambda x: pool(panic=None, calm=x), [], [0.0, 0.5, 1.0], "None"),
    Setting("calm", lambda x: pool(panic=0.5, calm=x), [], [True, "1"], "number"),
    count("limit", lambda x: pool(limit=x)),
    Setting("keep", lambda x: pool().update([], 0.0, x), [0, 0.0, LATEST], [-TINY, inf, nan, True]),
    count("limit", ConnectionLimit),
    count("minconn", lambda x: DynamicLimit(x, 9, 9)),
    count("maxconn", lambda x: DynamicLimit(1, x, 9)),
    count("fullconn", lambda x: DynamicLimit(1, 9, x)),
    Setting("minconn", lambda x: DynamicLimit(x, 9, 9), [9], [10], "maxconn, 9"),
    count("unhealthy_threshold", Consecutive),
    count("healthy_threshold", lambda x: Consecutive(1, x)),
    count("unhealthy_threshold", HealthStateMachine),
    count("healthy_threshold", lambda x: HealthStateMachine(1, x)),
    count("unhealthy_threshold", HealthChecks),
    count("healthy_threshold", lambda x: HealthChecks(1, x)),
    count("unhealthy_threshold", lambda x: active(unhealthy_threshold=x)),
    count("healthy_threshold", lambda x: active(healthy_threshold=x)),
    count("unhealthy_threshold", lambda x: Leaky(x, 1, 1)),
    count("ok_threshold", lambda x: Leaky(1, x, 1)),
    count("healthy_threshold", lambda x: Leaky(1, 1, x)),
    count("results", lambda x: SlidingWindow(x, 1, 1)),
    count("unhealthy_threshold", lambda x: SlidingWindow(9, x, 1)),
    count("healthy_threshold", lambda x: SlidingWindow(9, 1, x)),
    Setting("unhealthy_threshold", lambda x: SlidingWindow(9, x, 1), [9], [10], "results, 9"),
    Setting("healthy_threshold", lambda x: SlidingWindow(9, 1, x), [9], [10], "results, 9"),
    seconds("recovery_time", lambda x: HealthChecks(recovery_time=x), LATEST, TINY),
    seconds("recovery_time", lambda x: active(recovery_time=x), LATEST, TINY),
    seconds("interval", lambda x: active(interval=x, timeout=TINY), LATEST),
    seconds("timeout", lambda x: active(interval=LATEST, timeout=x), TINY, nextafter(LATEST, 0)),
    seconds("fast_interval", lambda x: active(fast_interval=x), TINY, 5.0),
    seconds("slow_interval", lambda x: active(interval=0.9, timeout=0.5, slow_interval=x), LATEST),
    seconds("slow_after", lambda x: active(slow_after=x), TINY, LATEST),
    Setting("fast_interval", lambda x: active(fast_interval=x), [5.0], [5.1], "interval, 5.0"),
    Setting("slow_interval", lambda x: active(slow_interval=x), [5.0], [4.9], "interval, 5.0"),
    Setting("timeout", lambda x: active(timeout=x), [4.9], [5.0, 6.0], "interval, 5.0"),
    Setting("jitter", lambda x: active(jitter=x), [0, nextafter(1, 0)], [-TINY, 1, 1.0, nan]),
    count("max_fails", PassiveChecks),
    count("max_trials", lambda x: PassiveChecks(max_trials=x)),
    seconds("fail_timeout", lambda x: PassiveChecks(fail_timeout=x), TINY, LATEST),
    count("consecutive_failures", lambda x: cool(consecutive_failures=x)),
    seconds("base_time", lambda x: cool(base_time=x, max_time=LATEST), TINY, LATEST),
    seconds("max_time", lambda x: cool(base_time=TINY, max_time=x), TINY, LATEST),
    Setting("base_time", lambda x: cool(base_time=x), [60.0], [60.1], "max_time, 60.0"),
    Setting("factor", lambda x: cool(factor=x), [1, 1.0, 1e300], [nextafter(1, 0), inf, nan]),
    share("jitter", lambda x: cool(jitter=x)),
    count("consecutive_failures", OutlierEjection),
    count("consecutive_gateway_failures", lambda x: ejection(consecutive_gateway_failures=x)),
    count("consecutive_local_failures", lambda x: ejection(consecutive_local_failures=x)),
    count("min_remaining", lambda x: ejection(min_remaining=x)),
    share("max_ejected_share", lambda x: ejection(max_ejected_share=x)),
    share("enforcing", lambda x: ejection(enforcing=x)),
    share("enforcing", lambda x: ejection(enforcing={"consecutive failures": x})),
    share("jitter", lambda x: ejection(jitter=x)),
    seconds("interval", lambda x: ejection(interval=x), TINY, LATEST),
    seconds(
        "base_ejection_time",
        lambda x: ejection(base_ejection_time=x, max_ejection_time=LATEST),
        TINY,
        LATEST,
    ),
    seconds(
        "max_ejection_time",
        lambda x: ejection(base_ejection_time=TINY, max_ejection_time=x),
        TINY,
        LATEST,
    ),
    Setting(
        "base_ejection_time",
        lambda x: ejection(base_ejection_time=x),
        [300.0],
        [300.1],
        "max_ejection_time, 300.0",
    ),
    Setting("jitter", lambda x: OutlierEjection(jitter=x), [0, 0.0], [TINY, 1], "without an rng"),
    Setting(
        "enforcing", lambda x: OutlierEjection(enforcing=x), [0, 1], [TINY, 0.9], "without an rng"
    ),
    count("minimum_hosts", lambda x: SuccessRate(minimum_hosts=x)),
    count("request_volume", lambda x: SuccessRate(request_volume=x)),
    count("minimum_hosts", lambda x: FailurePercentage(minimum_hosts=x)),
    count("request_volume", lambda x: FailurePercentage(request_volume=x)),
    count("minimum_hosts", lambda x: MedianGap(minimum_hosts=x)),
    count("request_volume", lambda x: MedianGap(request_volume=x)),
    Setting("stdev_factor", SuccessRate, [0, 1e300], [-TINY, inf, nan, True]),
    Setting("percentage", FailurePercentage, [0, 100], [-TINY, 100.1, nan, True]),
    Setting("gap", MedianGap, [0, 100], [-TINY, 100.1, nan, True]),
    Setting("factor", lambda x: MedianGap(factor=x), [0, 1e300], [-TINY, inf, nan, True]),
    *ramp(SlowStart),
    *ramp(WarmUp),
    seconds("timeout", Drain[str], TINY, LATEST, inf),
    Setting("quiet", lambda x: Drain[str](quiet=x), [0, 0.0, LATEST], [-TINY, inf, nan, True]),
    count("offset", lambda x: RoundRobin[str](offset=x), 0),
    count("offset", lambda x: WeightedRoundRobin[str](offset=x), 0),
    count("choices", lambda x: PowerOfTwoChoices[str](rng=Random(1), choices=x)),
    Setting("ipv4_prefix", lambda x: IPHash(ipv4_prefix=x), [0, 32], [-1, 33, 1.0, True]),
    Setting("ipv6_prefix", lambda x: IPHash(ipv6_prefix=x), [0, 128], [-1, 129, 1.0, True]),
    count("points", lambda x: HashRing(points=x)),
    count("max_points", lambda x: HashRing(max_points=x)),
    count("k", lambda x: HashRing(["a", "b"]).replicas(KEY, x)),
    count("k", lambda x: Rendezvous(["a", "b"]).replicas(KEY, x)),
    count("k", lambda x: BoundedLoad(HashRing(["a", "b"])).replicas(KEY, x)),
    Setting("size", lambda x: Maglev(size=x), [2, 3, 65537], [1, 0, 4, 9, 65536, 5.0, True]),
    count("probes", lambda x: MultiProbe(probes=x)),
    count("capacity", lambda x: Anchor(capacity=x)),
    Setting("c", lambda x: BoundedLoad(HashRing(), x), [1, 1.0, 9], [0.99, 0, inf, nan, True]),
    count("slack", lambda x: BoundedLoad(HashRing(), slack=x), 0),
    count("max_sessions", lambda x: LearnedSessions(pool(), max_sessions=x)),
    count("max_sessions", lambda x: AddressSessions(pool(), max_sessions=x)),
    seconds("idle_timeout", lambda x: LearnedSessions(pool(), idle_timeout=x), TINY, LATEST, inf),
    seconds("idle_timeout", lambda x: AddressSessions(pool(), idle_timeout=x), TINY, LATEST, inf),
    Setting(
        "ipv4_prefix", lambda x: AddressSessions(pool(), ipv4_prefix=x), [0, 32], [-1, 33, True]
    ),
    Setting(
        "ipv6_prefix", lambda x: AddressSessions(pool(), ipv6_prefix=x), [0, 128], [-1, 129, True]
    ),
    seconds("idle_timeout", lambda x: SessionTokens([KEY], idle_timeout=x), TINY, LATEST, inf),
    seconds("lifetime", lambda x: SessionTokens([KEY], lifetime=x), TINY, LATEST, inf),
    Setting(
        "clock_skew",
        lambda x: SessionTokens([KEY], clock_skew=x),
        [0, 0.0, LATEST],
        [-TINY, AFTER, inf, nan, True],
    ),
]
"""Every number that a constructor of the core takes."""


def cases(part: str) -> list[Any]:
    return [
        pytest.param(setting, value, id=f"{at}-{setting.name}-{value!r}")
        for at, setting in enumerate(SETTINGS)
        for value in getattr(setting, part)
    ]


@pytest.mark.parametrize(("setting", "value"), cases("valid"))
def test_a_value_at_the_edge_is_valid(setting: Setting, value: object) -> None:
    setting.make(value)


@pytest.mark.parametrize(("setting", "value"), cases("invalid"))
def test_an_error_names_the_setting_the_value_and_the_limit(setting: Setting, value: Any) -> None:
    with pytest.raises(InvalidSetting) as refused:
        setting.make(value)
    text = str(refused.value)
    assert text.startswith(setting.name)
    assert text.endswith(f"not {value!r}")
    assert setting.also in text or "number" in text
    assert "None" not in text.removesuffix("None") or "None" in setting.also or "panic" in text
