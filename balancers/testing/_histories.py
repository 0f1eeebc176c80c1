"""Defines the times and outcomes that the histories of gates and loads are drawn from."""

__all__ = ["BEGINNINGS", "OUTCOMES", "TICKS", "UNMEASURED"]

TICKS = (1.0, 0.25, 10.0, 0.0, 60.0, 0.1, 1000.0)
"""Steps of time, in seconds."""
BEGINNINGS = (0.0, 0.0, 100.0, 1.75e9)
"""Times of the first call, in seconds."""
UNMEASURED = ("FAILURE", "SUCCESS", "UNKNOWN", "Outcome(ok=False, status=502)")
"""Outcomes without a duration."""
OUTCOMES = (
    *UNMEASURED,
    "Outcome(ok=False, retry_after=2.0)",
    "Outcome(ok=True, elapsed=0.25, status=200)",
    "Outcome(ok=True, retry_after=1.0)",
    "Outcome(ok=False, elapsed=3.0)",
    "Outcome(ok=None, elapsed=9.0)",
    "Outcome(ok=True, elapsed=0.0)",
)
