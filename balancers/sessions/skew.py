"""What stickiness costs: how far the sessions are from where they should be."""

from collections.abc import Mapping
from math import inf, isfinite, sqrt
from typing import Generic, NamedTuple

from balancers._internal.checks import as_weights
from balancers._internal.types import B
from balancers.errors import InvalidSetting, UnknownBackend

__all__ = ["SessionShare", "SessionSkew", "session_skew"]


class SessionShare(NamedTuple):
    """One backend: its sessions, its fair share of all, and the one in units of the other."""

    sessions: float
    fair: float
    ratio: float
    """1 is fair.  For a quiesced backend, whose fair share is 0: ``inf``, or 0 without sessions."""


class SessionSkew(NamedTuple, Generic[B]):
    """Every backend's share, and two figures for all of those that have a weight."""

    shares: Mapping[B, SessionShare]
    peak: float
    """The largest ratio: 1 when all is fair, 2 when one has twice what it should have."""
    variation: float
    """The ratios' coefficient of variation, standard deviation by mean: 0 when all is fair."""


def session_skew(counts: Mapping[B, float], weights: Mapping[B, float]) -> SessionSkew[B]:
    """Hold the sessions on each backend against its fair share, by weight; O(n).

    A backend of ``weights`` that ``counts`` does not name has none.

    >>> skew = session_skew({"a": 60, "b": 30, "c": 10}, {"a": 1, "b": 1, "c": 2})
    >>> skew.shares["a"]
    SessionShare(sessions=60, fair=25.0, ratio=2.4)
    >>> skew.peak, round(skew.variation, 2)
    (2.4, 0.71)

    Raises UnknownBackend for sessions on one without a weight entry, InvalidWeight, InvalidSetting
    for a count that is negative, NaN or infinite.  Without sessions or weights all is fair.
    """
    weighed = as_weights(weights)
    for backend, sessions in counts.items():
        if backend not in weighed:
            raise UnknownBackend(backend)
        if not (isfinite(sessions) and sessions >= 0):
            raise InvalidSetting(f"sessions on {backend!r} must be 0 or more, not {sessions!r}")
    everyone, total = sum(counts.values()), sum(weighed.values())
    shares: dict[B, SessionShare] = {}
    for backend, weight in weighed.items():
        sessions = counts.get(backend, 0)
        fair = everyone * (weight / total) if total else 0.0
        ratio = sessions / fair if fair else inf if sessions else 0.0
        shares[backend] = SessionShare(sessions, fair, ratio)
    ratios = [share.ratio for share in shares.values() if share.fair]
    if not ratios:
        return SessionSkew(shares, 1.0, 0.0)
    mean = sum(ratios) / len(ratios)
    deviation = sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios))
    return SessionSkew(shares, max(ratios), deviation / mean if mean else 0.0)
