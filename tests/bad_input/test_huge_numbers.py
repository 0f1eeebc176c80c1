"""Ints that Python refuses to print, and numbers beyond the range of a float."""

import ast
import inspect
import re
from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from importlib import import_module
from random import Random
from typing import Any

import pytest

from balancers import (
    HashRing,
    IPHash,
    Outcome,
    Pool,
    PowerOfTwoChoices,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers._internal.checks import shown
from balancers.addresses import Prefixes, address_of
from balancers.errors import BalancersError, InvalidSetting, UnknownBackend
from balancers.flows import FlowKey, FlowTable
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    Drain,
    HealthChecks,
    MedianGap,
    OutlierEjection,
    PassiveChecks,
    SlowStart,
    SuccessRate,
    WarmUp,
)
from balancers.hashing import BoundedLoad
from balancers.http import CheckResult, HealthReport, Networks, TrustedProxies
from balancers.http.forwarded import forwarded_element
from balancers.interop import caddy, haproxy
from balancers.overload import AdmissionQueue, RetryBudget
from balancers.quality import session_skew
from balancers.routing import Route
from balancers.sessions import LearnedSessions, SessionTokens
from tests.hostile.shown import shown as short
from tests.packages import HOME, PUBLIC

HUGE = 10**5000
VALUES: list[Any] = [
    *(HUGE, -HUGE, [HUGE], (HUGE,), ("a", HUGE), {HUGE: 1}, {"a": HUGE}, frozenset([HUGE])),
    *(Fraction(HUGE), Fraction(1, HUGE), 10**400),
]
REQUIRED: dict[str, Any] = {
    "rng": Random(1),
    "secret": b"s" * 16,
    "keys": [b"k" * 16],
    "name": "a",
    "window": 30.0,
    "backends": ["a"],
    "minconn": 1,
    "maxconn": 9,
    "fullconn": 9,
    "limit": 5,
    "version": "1",
    "uptime": 1.0,
    "ok": True,
    "networks": ["10.0.0.0/8"],
    "weights": {"a": 1},
    "capacity": 16,
    "ipv4_prefix": 24,
    "ipv6_prefix": 64,
    "protocol": "tcp",
    "type": 5,
    "port": 80,
    "value": "x",
    "source": "192.0.2.1",
    "destination": "192.0.2.2",
    "source_port": 1,
    "destination_port": 2,
    "balancer": RoundRobin(["a"]),
    "over": HashRing(["a"]),
    "address": "192.0.2.1",
    "text": "a",
    "max_requests": 4,
    "verify": 0,
    "counts": {"a": 1},
    "target": "/",
    "client": "192.0.2.1",
    "peer": "192.0.2.1",
    "digest": 1,
    "data": b"x" * 37,
    "server": "a",
    "points": 4,
    "depth": 1,
    "index": 0,
    "balancers": 1,
    "size": 1,
}
BUILDS_SO_MUCH = {"points", "probes", "size", "steps", "table_size", "min_ring_size", "samples"}
"""Settings that are numbers of things to build."""


def calls() -> list[tuple[str, str, str]]:
    """Every argument of every public class and function."""
    found: list[tuple[str, str, str]] = []
    for home, names in PUBLIC.items():
        for name in names:
            one: Any = getattr(import_module(home), name)
            is_error = inspect.isclass(one) and BaseException in one.__mro__
            if not callable(one) or is_error or inspect.isabstract(one):
                continue
            if not str(getattr(one, "__module__", "")).startswith("balancers"):
                continue
            try:
                arguments = inspect.signature(one).parameters.values()
            except (TypeError, ValueError):
                continue
            kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            found += [(home, name, one_of.name) for one_of in arguments if one_of.kind in kinds]
    return found


CALLS = calls()
UNCHECKED = {"SaltedName", "TlvType", "address_text", "ntop_text", "text_colour"}
"""A kind of text, an enumeration, functions that take objects of :mod:`ipaddress` only,
and one that passes a colour to matplotlib."""


@pytest.mark.parametrize(
    ("home", "name"), sorted({call[:2] for call in CALLS if call[1] not in UNCHECKED})
)
def test_no_constructor_and_no_function_raises_an_error_about_digits(home: str, name: str) -> None:
    make = getattr(import_module(home), name)
    given = {
        argument.name: REQUIRED.get(argument.name)
        for argument in inspect.signature(make).parameters.values()
        if argument.default is argument.empty
        and argument.kind not in {argument.VAR_POSITIONAL, argument.VAR_KEYWORD}
        and argument.kind is not argument.POSITIONAL_ONLY
    }
    messages: list[str] = []
    for argument in [call[2] for call in CALLS if call[:2] == (home, name)]:
        for value in VALUES:
            if argument in BUILDS_SO_MUCH and isinstance(value, int) and value > 0:
                continue
            try:
                make(**deepcopy(given) | {argument: value})
            except (ValueError, TypeError, AttributeError, LookupError) as error:
                messages.append(str(error))
            except ImportError:
                pytest.skip("an optional package is missing")
    assert not [message for message in messages if "Exceeds the limit" in message]


def test_no_message_of_an_error_shows_a_value_without_the_helper() -> None:
    """A value that is shown by ``!r`` in an error is a ValueError if it is a very long int."""
    found: list[str] = []
    for path in sorted(HOME.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                found += [
                    f"{path.relative_to(HOME)} {ast.unparse(part.value)}"
                    for part in ast.walk(node.exc)
                    if isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
                ]
    names = ["__init__.py __name__", "__init__.py name", "testing/__init__.py name"]
    assert found == names, "names of attributes are text"


METHODS: dict[str, Callable[[], object]] = {
    "IPHash.pick": lambda: IPHash(["a"]).pick(HUGE),
    "address_of": lambda: address_of(HUGE),
    "network": lambda: Prefixes(24, 64).network(HUGE),
    "FlowKey": lambda: FlowKey("tcp", HUGE, 1, "192.0.2.1", 2),  # type: ignore[arg-type] # invalid
    "ip_key": lambda: caddy.ip_key(HUGE),  # type: ignore[arg-type] # invalid
    "behind": lambda: TrustedProxies(["10.0.0.0/8"], header="x-forwarded-for").behind(HUGE, []),  # type: ignore[arg-type] # invalid
    "in Networks": lambda: HUGE in Networks(["10.0.0.0/8"]),
    "forwarded": lambda: forwarded_element(HUGE),  # type: ignore[arg-type] # invalid
    "header value": lambda: Route("a", headers={"x": HUGE}),  # type: ignore[dict-item] # invalid
    "query name": lambda: Route("a", query={HUGE: "1"}),  # type: ignore[dict-item] # invalid
    "pick": lambda: HashRing(["a"]).pick((HUGE,)),  # type: ignore[arg-type] # invalid
    "remove": lambda: Pool(RoundRobin[object](["a"])).remove(HUGE),
    "state": lambda: Pool(RoundRobin[object](["a"])).state((HUGE,)),
    "add twice": lambda: Pool(RoundRobin[object]([HUGE])).add(HUGE),
    "same name": lambda: HashRing([HUGE, HUGE + 1], identity=lambda _: "a"),
    "weight": lambda: RoundRobin([HUGE]).put(HUGE, -1),
    "join": lambda: AdmissionQueue[str](3).join("a", 0.0, priority=[HUGE]),  # type: ignore[arg-type] # invalid
    "skew": lambda: session_skew({"a": HUGE}, {"a": 1}),
    "release": lambda: Pool(RoundRobin(["a"])).release(HUGE, 0.0, ok=True),  # type: ignore[arg-type] # invalid
    "load": lambda: PowerOfTwoChoices(["a"], rng=Random(1), load=HUGE),  # type: ignore[arg-type] # invalid
}


@pytest.mark.parametrize("call", METHODS.values(), ids=METHODS)
def test_a_very_long_int_raises_the_typed_error(call: Callable[[], object]) -> None:
    with pytest.raises((BalancersError, TypeError)) as refused:
        call()
    assert re.search("int of 16610 bits|cannot be shown", str(refused.value))


def test_an_unknown_backend_can_always_be_printed() -> None:
    assert (
        str(UnknownBackend(HUGE)) == "unknown backend: a value of the type int that cannot be shown"
    )
    assert str(UnknownBackend(("a", 1))) == "unknown backend: ('a', 1)"
    assert shown({"a": [HUGE]}) == "a value of the type dict that cannot be shown"


DURATIONS: dict[str, Callable[[Any], object]] = {
    "interval": lambda x: OutlierEjection[str](interval=x),
    "max_ejection_time": lambda x: OutlierEjection[str](
        base_ejection_time=x if x > 1 else 30.0, max_ejection_time=x
    ),
    "slow_after": lambda x: ActiveChecks[str](rng=Random(1), slow_after=x),
    "recovery_time": lambda x: HealthChecks[str](recovery_time=x),
    "fail_timeout": lambda x: PassiveChecks[str](fail_timeout=x),
    "max_time": lambda x: CoolDown[str](rng=Random(1), max_time=x, base_time=min(x, 1)),
    "window": SlowStart[str],
    "window of WarmUp": lambda x: WarmUp[str](window=x),
    "drain": lambda x: Drain[str](timeout=x),
    "queue": lambda x: AdmissionQueue[str](3, timeout=x),
    "join": lambda x: AdmissionQueue[str](3).join("a", 0.0, timeout=x),
    "flows": lambda x: FlowTable[str](9, new_timeout=x),
    "learned": lambda x: LearnedSessions[str](Pool(RoundRobin(["a"])), idle_timeout=x),
    "lifetime": lambda x: SessionTokens([b"k" * 16], lifetime=x),
}
NOT_NEGATIVE: dict[str, Callable[[Any], object]] = {
    "quiet": lambda x: Drain[str](quiet=x),
    "clock_skew": lambda x: SessionTokens([b"k" * 16], clock_skew=x),
    "latency": lambda x: CheckResult("a", True, latency=x),
    "uptime": lambda x: HealthReport(uptime=x, version="1"),
    "elapsed": lambda x: Outcome(elapsed=x),
    "retry_after": lambda x: Outcome(retry_after=x),
    "first": lambda x: Outcome(first=x),
    "keep": lambda x: Pool(RoundRobin(["a"])).update({"b": 1}, keep=x),
    "sessions": lambda x: session_skew({"a": x}, {"a": 1}),
}
FACTORS: dict[str, Callable[[Any], object]] = {
    "stdev_factor": lambda x: SuccessRate(stdev_factor=x),
    "factor of MedianGap": lambda x: MedianGap(factor=x),
    "factor of CoolDown": lambda x: CoolDown[str](rng=Random(1), factor=x),
    "aggression": lambda x: SlowStart[str](30.0, aggression=x),
    "share": lambda x: RetryBudget(share=x),
    "panic": lambda x: Pool(RoundRobin[str](), panic=x),
    "jitter": lambda x: ActiveChecks[str](rng=Random(1), jitter=x),
}
SETTINGS = DURATIONS | NOT_NEGATIVE | FACTORS


@pytest.mark.parametrize("value", [10**400, Fraction(10**400), 10**5000, 1 << 1024], ids=short)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_beyond_the_range_of_a_float_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting):
        SETTINGS[name](value)


@pytest.mark.parametrize("value", [2e300, 10**301, 1.7e308], ids=short)
@pytest.mark.parametrize("name", DURATIONS | NOT_NEGATIVE)
def test_a_duration_is_not_above_the_latest_time(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting):
        SETTINGS[name](value)


@pytest.mark.parametrize("name", [*DURATIONS, "aggression"])
def test_a_duration_that_is_0_as_a_float_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting):
        SETTINGS[name](Fraction(1, 10**400))


@pytest.mark.parametrize(
    "number",
    [1e300, 10**300, Fraction(10**300), Fraction(1, 10**300), 1e-320],
    ids=short,
)
def test_the_largest_and_smallest_settings_raise_no_error_later(number: Any) -> None:
    big = max(number, 1)
    gates: list[Any] = [
        OutlierEjection(
            1,
            [SuccessRate(big, 1, 1), MedianGap(factor=big)],
            interval=number,
            base_ejection_time=number,
            max_ejection_time=number,
        ),
        CoolDown(1, base_time=number, factor=big, max_time=number, rng=Random(1)),
        PassiveChecks(fail_timeout=number),
        SlowStart(number, aggression=number),
        ActiveChecks(rng=Random(1), interval=number, timeout=number / 2),
    ]
    pool = Pool(WeightedRoundRobin(["a", "b", "c"]), gates)
    for step in range(30):
        now = float(step)
        try:
            lease = pool.acquire(now)
        except LookupError:
            continue
        pool.release(lease, now, ok=step % 2 == 0, elapsed=float(number), retry_after=float(number))


@pytest.mark.parametrize("interval", [1e-320, 5e-324, Fraction(1, 10**320), 1e-9], ids=short)
def test_many_quiet_intervals_are_counted_without_an_overflow(interval: Any) -> None:
    """The number of intervals since the ejection is infinite as a float."""
    outliers: OutlierEjection[str] = OutlierEjection(1, interval=interval, max_ejected_share=0.5)
    pool = Pool(RoundRobin(["a", "b"]), [outliers])
    for now in (0.0, 30.0, 1e6, 2e6):
        pool.release(pool.acquire(now, prefer="a", strict=True), now, ok=False)
        [ejection] = outliers.ejections()
        assert ejection.until - ejection.at == (60.0 if now == 30.0 else 30.0)
        pool.acquire(now + 100.0 if now > 1e5 else now)


@pytest.mark.parametrize("aggression", [Fraction(1, 10**320), 5e-324, 10**300], ids=short)
def test_an_extreme_aggression_is_a_ramp(aggression: Any) -> None:
    gate: SlowStart[str] = SlowStart(30.0, aggression=aggression, min_share=0.1)
    pool = Pool(WeightedRoundRobin(["a"]), [gate])
    pool.add("b", now=1.0)
    assert gate.factor("b", 1.0) in {0.1, 1}


def test_a_limit_of_load_is_computed_exactly() -> None:
    balancer = BoundedLoad(HashRing(["a", "b"]), c=10**400)
    assert balancer.pick("key") in {"a", "b"}


def test_the_depth_of_a_uri_may_be_any_number() -> None:
    assert haproxy.uri("/a/b/c?d", depth=10**400) == haproxy.uri("/a/b/c?d", depth=9)
