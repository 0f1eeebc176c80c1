"""The health report of a backend: its fields, its statuses, and refusals."""

import json
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import CheckResult, HealthReport

CHECKS = st.lists(
    st.builds(
        CheckResult,
        st.text(min_size=1),
        st.booleans(),
        st.floats(0, 1e6),
        st.booleans(),
    ),
    unique_by=lambda check: check.name,
    max_size=5,
)


@given(CHECKS, st.floats(0, 1e9), st.text())
def test_a_report_contains_the_results_of_its_checks(
    checks: list[CheckResult], uptime: float, version: str
) -> None:
    report = HealthReport(iter(checks), uptime=uptime, version=version)
    fields = json.loads(json.dumps(report.as_dict()))
    assert list(fields) == ["status", "uptime_secs", "version", "checks"]
    assert fields["uptime_secs"] == pytest.approx(uptime, abs=0.001)
    assert fields["version"] == version
    assert [*fields["checks"]] == [check.name for check in checks]
    for check in checks:
        entry = fields["checks"][check.name]
        assert entry["status"] == ("up" if check.ok else "down")
        assert entry["latency_ms"] == pytest.approx(check.latency * 1000, abs=0.001)
        assert [*entry] == ["status", "latency_ms"]
    failed = [check for check in checks if not check.ok]
    assert fields["status"] == report.status == ("degraded" if failed else "healthy")
    assert report.http_status == (503 if any(check.critical for check in failed) else 200)


def test_a_report_without_checks_is_healthy() -> None:
    live = HealthReport(uptime=0.0, version="1")
    assert (live.status, live.http_status, live.as_dict()["checks"]) == ("healthy", 200, {})


def test_a_failed_optional_check_degrades_and_keeps_http_200() -> None:
    cache = CheckResult("cache", ok=False, latency=0.5, critical=False)
    report = HealthReport([cache], uptime=1.0, version="1")
    assert (report.status, report.http_status) == ("degraded", 200)
    assert repr(report) == "<HealthReport: degraded, down: ['cache']>"


@pytest.mark.parametrize("seconds", [-1.0, nan, inf])
def test_seconds_that_are_infinite_or_negative_are_refused(seconds: float) -> None:
    with pytest.raises(InvalidSetting, match=repr(seconds)):
        CheckResult("db", ok=True, latency=seconds)
    with pytest.raises(InvalidSetting, match=repr(seconds)):
        HealthReport(uptime=seconds, version="1")


def test_an_empty_or_repeated_check_name_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="''"):
        CheckResult("", ok=True, latency=0.0)
    twice = [CheckResult("db", ok=ok, latency=0.0) for ok in (True, False)]
    with pytest.raises(InvalidSetting, match="'db'"):
        HealthReport(twice, uptime=1.0, version="1")
