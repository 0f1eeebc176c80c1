"""Builds the report with which a backend answers a health probe.

The report contains the results of the checks that the backend makes of its own dependencies.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from balancers._internal.checks import check_flags, not_negative, shown
from balancers.errors import InvalidSetting

__all__ = ["CheckResult", "HealthReport"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of checking one dependency of the backend.

    ``ok`` is whether the dependency works.  ``latency`` is the duration of the check in seconds.
    ``critical`` is whether the backend needs the dependency for every request.  If a dependency is
    not critical, the backend can serve some requests without it.

    >>> CheckResult("postgres", ok=True, latency=0.0021).critical
    True

    Raises InvalidSetting for an empty name, an ``ok`` that is not a bool, or a latency that is
    negative, NaN or infinite.
    """

    name: str
    ok: bool
    latency: float
    critical: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidSetting(f"name must be a str that is not empty, not {shown(self.name)}")
        check_flags(ok=self.ok, critical=self.critical)
        not_negative("latency", self.latency)


class HealthReport:
    """Computes the status and the content of a health report from the results of the checks.

    The status is ``degraded`` if a check failed.  The HTTP status is 503 if a critical check
    failed, so that the balancer sends no more requests to this backend.  If only checks that are
    not critical failed, the HTTP status is 200, because the backend can still serve requests.

    Use a report with checks to answer readiness probes.  Use a report without checks to answer
    liveness probes: a process that answers is alive, and a restart of the process does not repair
    its database.  ``uptime`` is the number of seconds since the start of the backend.

    >>> report = HealthReport(
    ...     [CheckResult("postgres", True, 0.002), CheckResult("redis", False, 1.0)],
    ...     uptime=86.4,
    ...     version="1.2.0",
    ... )
    >>> report.status, report.http_status
    ('degraded', 503)
    >>> report.as_dict()["checks"]["redis"]
    {'status': 'down', 'latency_ms': 1000.0}
    >>> HealthReport(uptime=86.4, version="1.2.0").as_dict()
    {'status': 'healthy', 'uptime_secs': 86.4, 'version': '1.2.0', 'checks': {}}

    Raises InvalidSetting for an uptime that is negative, NaN or infinite, and for two checks with
    the same name.
    """

    def __init__(self, checks: Iterable[CheckResult] = (), *, uptime: float, version: str) -> None:
        self.checks: tuple[CheckResult, ...] = tuple(checks)
        not_negative("uptime", uptime)
        names = [check.name for check in self.checks]
        for name in names:
            if names.count(name) > 1:
                raise InvalidSetting(f"checks must have different names, not {shown(name)} twice")
        self.uptime = uptime
        self.version = version

    @property
    def status(self) -> str:
        """The status: ``degraded`` if a check failed, and ``healthy`` if none failed."""
        return "healthy" if all(check.ok for check in self.checks) else "degraded"

    @property
    def http_status(self) -> int:
        """The HTTP status: 503 if a critical check failed, and 200 if none failed."""
        return 200 if all(check.ok or not check.critical for check in self.checks) else 503

    def as_dict(self) -> dict[str, object]:
        """Return the report as a dict that a JSON encoder accepts.

        The uptime is in seconds.  The latencies are in milliseconds.
        """
        return {
            "status": self.status,
            "uptime_secs": round(self.uptime, 3),
            "version": self.version,
            "checks": {
                check.name: {
                    "status": "up" if check.ok else "down",
                    "latency_ms": round(check.latency * 1000, 3),
                }
                for check in self.checks
            },
        }

    def __repr__(self) -> str:
        down = [check.name for check in self.checks if not check.ok]
        return f"<HealthReport: {self.status}{f', down: {down}' if down else ''}>"
