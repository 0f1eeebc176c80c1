"""The cost of stickiness: how unevenly the sessions are distributed."""

from collections.abc import Mapping
from math import inf, isfinite, sqrt
from typing import Generic, NamedTuple

from balancers._internal.checks import as_weights
from balancers._internal.types import B
from balancers.errors import InvalidSetting, UnknownBackend

__all__ = ["SessionShare", "SessionSkew", "session_skew"]


class SessionShare(NamedTuple):
    """The sessions of one backend, its fair share by weight, and the ratio of the two."""

    sessions: float
    fair: float
    ratio: float
    """1 is fair.  A quiesced backend has the fair share 0: its ratio is ``inf``, or 0 without
    sessions."""


class SessionSkew(NamedTuple, Generic[B]):
    """The share of every backend, and two figures over the backends with a positive weight."""

    shares: Mapping[B, SessionShare]
    peak: float
    """The largest ratio.  1 is fair; 2 means that a backend has twice its fair share."""
    variation: float
    """The coefficient of variation of the ratios (standard deviation over mean).  0 is fair."""


def session_skew(counts: Mapping[B, float], weights: Mapping[B, float]) -> SessionSkew[B]:
    """Compare the number of sessions per backend with its fair share by weight; O(n).

    A backend in ``weights`` that is not in ``counts`` has no sessions.

    >>> skew = session_skew({"a": 60, "b": 30, "c": 10}, {"a": 1, "b": 1, "c": 2})
    >>> skew.shares["a"]
    SessionShare(sessions=60, fair=25.0, ratio=2.4)
    >>> skew.peak, round(skew.variation, 2)
    (2.4, 0.71)

    Without sessions or without weights, the result is fair.
    Raises UnknownBackend for a backend in ``counts`` that is not in ``weights``, InvalidWeight,
    InvalidSetting for a count that is negative, NaN or infinite.
    """
    valid_weights = as_weights(weights)
    for backend, sessions in counts.items():
        if backend not in valid_weights:
            raise UnknownBackend(backend)
        if not (isfinite(sessions) and sessions >= 0):
            raise InvalidSetting(f"sessions on {backend!r} must be 0 or more, not {sessions!r}")
    total_sessions, total_weight = sum(counts.values()), sum(valid_weights.values())
    shares: dict[B, SessionShare] = {}
    for backend, weight in valid_weights.items():
        sessions = counts.get(backend, 0)
        fair = total_sessions * (weight / total_weight) if total_weight else 0.0
        ratio = sessions / fair if fair else inf if sessions else 0.0
        shares[backend] = SessionShare(sessions, fair, ratio)
    ratios = [share.ratio for share in shares.values() if share.fair]
    if not ratios:
        return SessionSkew(shares, 1.0, 0.0)
    mean = sum(ratios) / len(ratios)
    deviation = sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios))
    return SessionSkew(shares, max(ratios), deviation / mean if mean else 0.0)
