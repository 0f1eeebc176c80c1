"""What a backend tells those who probe it: its own checks, as plain data."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from balancers._internal.checks import number
from balancers.errors import InvalidSetting

__all__ = ["CheckResult", "HealthReport"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of checking one thing the backend needs.

    ``latency`` is in seconds.  A ``critical`` thing is one without which no request can be served;
    without an optional one some are.

    >>> CheckResult("postgres", ok=True, latency=0.0021).critical
    True

    Raises InvalidSetting for an empty name, an ``ok`` that is no bool, or a latency that is
    negative, NaN or infinite.
    """

    name: str
    ok: bool
    latency: float
    critical: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidSetting(f"a check needs a name, not {self.name!r}")
        if not isinstance(self.ok, bool):
            raise InvalidSetting(f"ok must be True or False, not {self.ok!r}")
        if not 0 <= number("latency", self.latency) < inf:
            raise InvalidSetting(f"latency must be finite seconds, not {self.latency!r}")


class HealthReport:
    """Readiness with checks, liveness without: a status, an HTTP status, and JSON-ready fields.

    ``degraded`` when any check failed.  The HTTP status is 503 when a critical one did, so that
    nobody sends requests here, and else 200: whoever lacks only something optional still serves.  A
    report without checks is for liveness: the process answers, so it is alive, and restarting it
    mends no database.  ``uptime`` is in seconds.

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

    Raises InvalidSetting for an uptime that is negative, NaN or infinite, and for two checks of one
    name.
    """

    def __init__(self, checks: Iterable[CheckResult] = (), *, uptime: float, version: str) -> None:
        self.checks = tuple(checks)
        if not 0 <= number("uptime", uptime) < inf:
            raise InvalidSetting(f"uptime must be finite seconds, not {uptime!r}")
        names = [check.name for check in self.checks]
        for name in names:
            if names.count(name) > 1:
                raise InvalidSetting(f"two checks are called {name!r}")
        self.uptime = uptime
        self.version = version

    @property
    def status(self) -> str:
        """``healthy``, or ``degraded`` when any check failed."""
        return "healthy" if all(check.ok for check in self.checks) else "degraded"

    @property
    def http_status(self) -> int:
        """503 when a critical check failed, else 200."""
        return 200 if all(check.ok or not check.critical for check in self.checks) else 503

    def as_dict(self) -> dict[str, object]:
        """Give the report as a JSON encoder wants it: seconds, and milliseconds for latencies."""
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
