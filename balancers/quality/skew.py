"""Measures how unevenly sticky sessions are distributed over the backends."""

from collections.abc import Mapping
from math import inf, sqrt
from typing import Generic, NamedTuple

from balancers._internal.checks import LATEST, as_weights, number, shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting, UnknownBackend

__all__ = ["SessionShare", "SessionSkew", "session_skew"]


class SessionShare(NamedTuple):
    """Compares the number of sessions on one backend with the fair number."""

    sessions: float
    """The number of sessions on the backend."""
    fair: float
    """The number of sessions that the backend would have if sessions were distributed by weight."""
    ratio: float
    """``sessions`` divided by ``fair``.  1 is fair.  If ``fair`` is 0, the ratio is ``inf``, or 0
    if the backend has no sessions.  ``fair`` is 0 for a backend with weight 0."""


class SessionSkew(NamedTuple, Generic[B]):
    """Describes how unevenly sessions are distributed over all backends.

    ``peak`` and ``variation`` are computed from the backends with a positive weight.
    """

    shares: Mapping[B, SessionShare]
    """The comparison for each backend."""
    peak: float
    """The largest ratio.  1 is fair.  2 means that one backend has twice its fair number."""
    variation: float
    """The coefficient of variation of the ratios, which is their standard deviation divided by
    their mean.  0 is fair."""


def session_skew(counts: Mapping[B, float], weights: Mapping[B, float]) -> SessionSkew[B]:
    """Compare the number of sessions on each backend with the fair number by weight; O(n).

    ``counts`` contains the number of sessions on each backend.  A backend that is in ``weights``
    but not in ``counts`` has no sessions.

    >>> skew = session_skew({"a": 60, "b": 30, "c": 10}, {"a": 1, "b": 1, "c": 2})
    >>> skew.shares["a"]
    SessionShare(sessions=60, fair=25.0, ratio=2.4)
    >>> skew.peak, round(skew.variation, 2)
    (2.4, 0.71)

    If there are no sessions, or if no weight is positive, ``peak`` is 1 and ``variation`` is 0.
    Raises UnknownBackend for a backend that is in ``counts`` but not in ``weights``.  Raises
    InvalidWeight for an invalid weight, and InvalidSetting for a count that is negative, NaN or
    infinite.  Raises TypeError if ``counts`` is not a mapping.
    """
    given: object = counts
    if not isinstance(given, Mapping):
        raise TypeError(f"counts must be a mapping of backends to numbers, not {shown(given)}")
    valid_weights = as_weights(weights)
    for backend, sessions in counts.items():
        if backend not in valid_weights:
            raise UnknownBackend(backend)
        name = f"sessions on {shown(backend)}"
        if not 0 <= number(name, sessions) <= LATEST:
            raise InvalidSetting(f"{name} must be 0 or more, not {shown(sessions)}")
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
    return SessionSkew(shares, max(ratios), _variation(ratios))


def _variation(ratios: list[float]) -> float:
    """Return the coefficient of variation, also of ratios whose squares are no floats."""
    peak = max(ratios)
    if not peak:
        return 0.0
    scaled = [ratio / peak if peak < inf else float(ratio == inf) for ratio in ratios]
    mean = sum(scaled) / len(scaled)
    return sqrt(sum((ratio - mean) ** 2 for ratio in scaled) / len(scaled)) / mean
