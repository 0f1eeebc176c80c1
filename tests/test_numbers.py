"""The numbers on the pages are those of the code: defaults, constants, formulas, bytes, HMACs.

Numbers that need a clock or many rounds are printed by ``python -m tests.figures``.
"""

import hmac
import inspect
import re
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from math import sqrt
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from balancers import (
    HashRing,
    HealthChecks,
    Maglev,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.algorithms import (
    _smooth_balancer,
    weighted_least_connections,
    weighted_round_robin,
)
from balancers.flows import FlowTable
from balancers.gates import ActiveChecks, Consecutive, PassiveChecks
from balancers.hashing import BoundedLoad, Jump, MultiProbe, circle
from balancers.hashing import _rehashing_balancer as rehashing
from balancers.http import Request
from balancers.overload import RetryBudget
from balancers.pool._gate_set import _product
from balancers.sessions import CookieSessions, SessionTokens
from balancers.sessions import tokens as tokens_module
from tests import figures
from tests.hashing.steady import DOCUMENTED
from tests.packages import HOME

TOP = HOME.parent
NOW, WALL = 1.0, 1e9


def text(page: str) -> str:
    """The text of a page with single spaces, so that a sentence is found across lines."""
    return " ".join((TOP / page).read_text(encoding="utf-8").split())


def spaced(number: float) -> str:
    """A number as the pages have it: 1 048 576, 0.1."""
    return f"{number:,}".replace(",", " ") if number > 9999 else f"{number}"


def default(subject: Any, name: str) -> Any:
    return inspect.signature(subject).parameters[name].default


GATES, FLOWS, HASHING = "docs/gates.md", "docs/flows.md", "docs/algorithms"
DEFAULTS: list[tuple[str, str, Any, str, float]] = [
    (GATES, "usual rule: {} failures in a row, 2", Consecutive, "unhealthy_threshold", 3),
    (GATES, "3 failures in a row, {} successes", Consecutive, "healthy_threshold", 2),
    (GATES, "the defaults, {} failure and 10 s", PassiveChecks, "max_fails", 1),
    (GATES, "the defaults, 1 failure and {} s", PassiveChecks, "fail_timeout", 10),
    (GATES, "`max_trials` requests (default {})", PassiveChecks, "max_trials", 1),
    (GATES, "in flight (default {})", RetryBudget, "share", 0.2),
    (GATES, "`min_retries` (default {})", RetryBudget, "min_retries", 3),
    (GATES, "`min_share` (default {})", SlowStart, "min_share", 0.1),
    (FLOWS, "by default {}, 900 and 120 seconds", FlowTable, "new_timeout", 60),
    (FLOWS, "by default 60, {} and 120 seconds", FlowTable, "established_timeout", 900),
    (FLOWS, "by default 60, 900 and {} seconds", FlowTable, "closing_timeout", 120),
    (f"{HASHING}/hash_ring.md", "Points : {} per unit of weight", HashRing, "points", 160),
    (f"{HASHING}/multi_probe.md", "Probes : {} by default", MultiProbe, "probes", 21),
    (f"{HASHING}/maglev.md", "A prime, {} by default", Maglev, "size", 65537),
    ("docs/decisions/weights.md", "(default {})", HashRing, "max_points", 8_388_608),
]
"""A page, its sentence with a gap, a class, one of its arguments, and the default."""


@pytest.mark.parametrize(("page", "sentence", "subject", "name", "value"), DEFAULTS)
def test_a_default_is_the_one_on_the_page(
    page: str, sentence: str, subject: Any, name: str, value: float
) -> None:
    assert default(subject, name) == value
    assert sentence.format(spaced(value)) in text(page)


def test_health_checks_use_the_usual_rule() -> None:
    for name in ("unhealthy_threshold", "healthy_threshold"):
        assert default(HealthChecks, name) == default(Consecutive, name)
        assert default(ActiveChecks, name) == default(Consecutive, name)


CONSTANTS: list[tuple[str, str, ModuleType, str, int]] = [
    (f"{HASHING}/weighted_round_robin.md", "vectorised above {} members",
     _smooth_balancer, "_MAX_PLAIN_MEMBERS", 24),
    (f"{HASHING}/weighted_round_robin.md", "(up to {} picks)",
     weighted_round_robin, "_MAX_PERIOD", 1_048_576),
    (f"{HASHING}/weighted_round_robin.md", "at most {} steps for it",
     _smooth_balancer, "_MAX_STEPS_AT_START", 1024),
    ("docs/decisions/weights.md", "followed by {} real steps",
     _smooth_balancer, "_MAX_STEPS_AT_START", 1024),
    (f"{HASHING}/weighted_round_robin.md", "The debt is at most {} picks",
     _smooth_balancer, "_MAX_DEBT", 16),
    (f"{HASHING}/weighted_least_connections.md", "With up to {} members",
     weighted_least_connections, "_MAX_SCANNED_MEMBERS", 20),
    ("docs/decisions/keys_and_names.md", "rehashed, up to {} times", rehashing, "REHASHES", 20),
]  # fmt: skip


@pytest.mark.parametrize(("page", "sentence", "module", "name", "value"), CONSTANTS)
def test_a_constant_is_the_one_on_the_page(
    page: str, sentence: str, module: ModuleType, name: str, value: int
) -> None:
    assert getattr(module, name) == value
    assert sentence.format(spaced(value)) in text(page)


def test_from_how_many_members_down_a_scan_is_used_again() -> None:
    again = weighted_least_connections._MAX_SCANNED_MEMBERS - weighted_least_connections._SCAN_AGAIN
    assert f"scanned again from {again} members down" in text(
        f"{HASHING}/weighted_least_connections.md"
    )


def test_the_cells_of_a_ring() -> None:
    assert circle.PER_CELL == 8
    assert "cells of about eight points" in text(f"{HASHING}/hash_ring.md")


def test_the_members_that_a_ring_allows() -> None:
    most = default(HashRing, "max_points") // default(HashRing, "points")
    assert f"{spaced(most)} backends of weight 1" in text(f"{HASHING}/hash_ring.md")


def test_the_deviation_of_a_ring() -> None:
    """√((n − 1) / (v·n + 1)) for 10 backends of 160 points; ``test_theory.py`` measures it."""
    deviation = sqrt(9 / 1601)
    for page in ("hash_ring.md", "index.md"):
        assert f"{100 * deviation:.1f} %" in text(f"{HASHING}/{page}")


def test_the_largest_share_of_multi_probe() -> None:
    probes = default(MultiProbe, "probes")
    assert f"{probes / (probes - 1):.2f} by default" in text(f"{HASHING}/multi_probe.md")
    assert f"the largest {100 / (probes - 1):.0f} % above the mean" in text(f"{HASHING}/index.md")


def test_the_time_until_a_silent_backend_is_unhealthy() -> None:
    """5.5 + 2 · 3 + 3 = 14.5 with the defaults of ActiveChecks."""
    interval, timeout = default(ActiveChecks, "interval"), default(ActiveChecks, "timeout")
    jitter, failures = default(ActiveChecks, "jitter"), default(ActiveChecks, "unhealthy_threshold")
    later = max(timeout, interval / 5 * (1 + jitter))
    first, total = (
        interval * (1 + jitter),
        interval * (1 + jitter) + (failures - 1) * later + timeout,
    )
    stated = f"that is {first:g} + {failures - 1} · {later:g} + {timeout:g} = {total:g}"
    assert stated in text(GATES)


MEASURE = re.compile(r"\b\d[\d .]*\d? (?:[nµm]s|[kMG]B|times as (?:long|much))\b")
MEASURED = {
    "docs/algorithms/index.md": {"15 kB": "tests/hashing/test_ring.py"},
    "docs/algorithms/rendezvous.md": {
        "1.4 times as much": "tests/figures.py",
        "4 times as much": "tests/figures.py",
    },
    "docs/record_and_replay.md": {"50 µs": "tests/testing/recording_cost.py"},
    "docs/performance.md": {
        "100 times as long": "tests/figures.py",
        "20 µs": "tests/benchmarks/simulations.py",
        "45 MB": "tests/benchmarks/simulated_memory.py",
        "100 MB": "tests/benchmarks/simulated_memory.py",
    },
    "docs/scenarios.md": {
        "20 ms": "tests/scenarios/slow.py",
        "1 ms": "tests/scenarios/slow.py",
        "0.4 ms": "tests/scenarios/hot_prefix.py",
        "225 ms": "tests/scenarios/hot_prefix.py",
        "63 µs": "tests/scenarios/serial_engines.py",
    },
    "docs/simulation.md": {
        "15 ms": "balancers/simulation/llm_engine.py",
        "0.2 ms": "balancers/simulation/llm_engine.py",
        "63 µs": "balancers/simulation/llm_engine.py",
        "15.2 ms": "tests/simulation/test_llm_engine.py",
    },
    "docs/pool.md": {"1 ms": "tests/pool/explain_cost.py", "40 ms": "tests/pool/explain_cost.py"},
}
"""Measures on the pages that depend on a machine or a version, and the file that shows each."""


def test_every_measure_on_a_page_is_shown_by_a_file() -> None:
    found = {
        page.relative_to(TOP).as_posix(): set(MEASURE.findall(text(str(page.relative_to(TOP)))))
        for page in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")]
        if not {"_build", "generated"}.intersection(page.parts)
    }
    listed = {page: set(measures) for page, measures in MEASURED.items()}
    assert {page: each for page, each in found.items() if each} == listed, "list it in MEASURED"
    assert all((TOP / file).exists() for each in MEASURED.values() for file in each.values())


# weighted round robin


@pytest.mark.parametrize(("debt", "share"), [(1, 0.83), (16, 0.75)])
def test_the_share_of_a_backend_with_half_of_all_requests_bound_to_it(
    debt: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_smooth_balancer, "_MAX_DEBT", debt)
    lb, rng, served = WeightedRoundRobin({"a": 3, "b": 1}), Random(1), 0
    for _ in range(6000):
        if rng.random() < 0.5:
            lb.started("a", bound=True)
            served += 1
        else:
            served += lb.pick() == "a"
    assert served / 6000 == pytest.approx(share, abs=0.01)
    assert f"{share}" in text(f"{HASHING}/weighted_round_robin.md")


@pytest.mark.parametrize(("members", "places"), [(100, 14), (1000, 13)])
def test_the_decimal_places_that_do_not_fit_into_64_bits(members: int, places: int) -> None:
    def scan(decimals: int) -> str:
        lb = WeightedRoundRobin(range(members))
        lb.put(0, round(1 / 3, decimals))
        lb.pick()
        return type(lb._scan).__name__

    assert [scan(places - 1), scan(places)] == ["VectorScan", "WideScan"]
    stated = f"from {places} places on with {members}" if members == 100 else f"{places} with 1000"
    assert stated in text(f"{HASHING}/weighted_round_robin.md").replace("from 13 with", "13 with")


# arithmetic


def test_the_rounding_errors_that_the_pages_show() -> None:
    page = text("docs/decisions/weights.md")
    assert "0.1 + 0.2 − 0.3 leaves a rounding error" in page
    assert 0.1 + 0.2 - 0.3 != 0
    wrong = 7 * 0.017
    assert f"7 times 0.017 is 0.119 and not {wrong!r}" in page
    assert _product(7, 0.017) == 0.119 != wrong
    assert 21 / 0.7 != 30
    assert (
        "with weights 1 and 0.7, 30 and 21 requests are a tie, and as floats they are not" in page
    )


@pytest.mark.parametrize("c", [1.0, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("n", [3, 10, 100])
def test_the_bound_with_few_requests_in_flight(n: int, c: float) -> None:
    """At most n/c requests, the new one included: a backend may have one; then it may have two."""
    assert "While at most n/c requests are in flight" in text(f"{HASHING}/bounded_load.md")
    for in_flight in range(1, n):
        lb = BoundedLoad(Jump(range(n)), c=c)
        first = lb.pick_hashed(1)
        others = [backend for backend in range(n) if backend != first]
        for backend in [first, *others[: in_flight - 1]]:
            lb.started(backend)
        assert (lb.pick_hashed(1) == first) == (in_flight + 1 > n / c)


# bytes


def allocated(make: Callable[[], object]) -> int:
    make()
    tracemalloc.start()
    try:
        made = make()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made
    return size


def test_the_bytes_per_slot_of_maglev() -> None:
    def single_picks() -> Maglev[str]:
        lb = Maglev([f"10.0.0.{i}:80" for i in range(10)])
        lb.pick(b"key")
        return lb

    assert allocated(single_picks) / 65_537 == pytest.approx(10, abs=0.3)
    for page in ("maglev.md", "index.md"):
        written = text(f"{HASHING}/{page}")
        assert "ten bytes per slot" in written or "10 bytes per slot" in written


def test_the_bytes_per_flow() -> None:
    stated = figures.documented(figures.FIGURES[0])
    assert figures.bytes_of_a_flow() == pytest.approx(stated, rel=0.15)


def beyond_the_result(call: Callable[[], Any]) -> int:
    """Return the most bytes that a call allocates, without those of its result."""
    tracemalloc.start()
    try:
        result = call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return most - int(result.nbytes)


@pytest.mark.parametrize("make", [Maglev, HashRing, Jump])
def test_the_memory_of_a_batch_of_picks_does_not_grow_with_it(make: Any) -> None:
    assert "no memory that grows with the number of keys" in text(f"{HASHING}/index.md")
    lb, hashes = make(range(10)), np.random.default_rng(1).integers(0, 1 << 63, 200_000, np.uint64)
    lb.pick_many(hashes)
    half = beyond_the_result(lambda: lb.pick_many(hashes[:100_000]))
    assert beyond_the_result(lambda: lb.pick_many(hashes)) < half + 50_000


def test_an_iterator_of_keys_needs_the_memory_of_the_result_twice() -> None:
    lb, keys = Maglev(range(10)), [b"%d" % number for number in range(70_000)]
    size = lb.hash_many(keys).nbytes
    assert beyond_the_result(lambda: lb.hash_many(iter(keys))) > 0.9 * size


@pytest.mark.parametrize(("found", "missed"), [(370.0, 0), (200.0, 1), (600.0, 1)])
def test_the_command_fails_if_a_figure_is_missed(
    found: float,
    missed: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flow = replace(figures.FIGURES[0], measured=lambda: found)
    monkeypatch.setattr(figures, "FIGURES", [flow])
    assert figures.main() == missed
    assert f"{missed} of 1 missed" in capsys.readouterr().out
    monkeypatch.setattr(figures, "FIGURES", [replace(flow, pattern="no such text")])
    assert figures.main() == 1


# sessions


@contextmanager
def counted_hmacs(monkeypatch: pytest.MonkeyPatch) -> Generator[list[int]]:
    calls = list[int]()

    def digest(key: bytes, message: bytes, kind: str) -> bytes:
        calls.append(1)
        return hmac.digest(key, message, kind)

    with monkeypatch.context() as patch:
        patch.setattr(tokens_module, "digest", digest)
        yield calls


def test_a_cookie_costs_two_hmacs_and_one_for_each_key_that_does_not_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [bytes([number]) * 32 for number in range(3)]
    pool = Pool(RoundRobin(["a", "b"]))
    every = CookieSessions(pool, SessionTokens(keys, rng=Random(1)), name="home")
    for place, key in enumerate(keys):
        one = CookieSessions(pool, SessionTokens([key], rng=Random(1)), name="home")
        found = one.resolve(Request(), NOW, WALL)
        cookie = one.issue(pool.acquire(NOW), WALL, found)
        assert cookie is not None
        request = Request(headers=[("Cookie", cookie.partition(";")[0])])
        with counted_hmacs(monkeypatch) as calls:
            assert every.resolve(request, NOW, WALL).bound
        assert len(calls) == 2 + place


# tables


def test_the_table_of_steady_traffic_has_the_peaks_that_are_checked() -> None:
    page = text(f"{HASHING}/bounded_load.md")
    for row in DOCUMENTED:
        share = f"{100 * row.share:.0f} %"
        assert (
            f"| {row.c} | {row.slack} | {spaced(row.in_flight)} | {share} | {row.peak:.2f} |"
            in page
        )
