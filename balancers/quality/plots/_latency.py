"""Curves of response times."""

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Any, Protocol, cast

import numpy as np
from matplotlib.axes import Axes

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.quality.plots._style import COLOURS, LINES, axes_of, legend, limit, names_of, text_of

__all__ = ["latency_curves"]

_ROUND = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_MIDDLE = 50.0
_POINTS = 60  # of a curve, per factor of ten
_BEYOND = 5.0  # the last percentile drawn has at least this many requests above it
_RATIO = 30.0  # of the largest time to the smallest median, from which the axis is logarithmic


class _Result(Protocol):
    """What a simulation and replications of it have."""

    @property
    def response(self) -> "_Summary": ...


class _Summary(Protocol):
    """What :class:`balancers.simulation.Times` has."""

    @property
    def count(self) -> int: ...
    def percentile(self, q: Any) -> Any: ...


def latency_curves(
    times: Mapping[str, _Result | _Summary | Iterable[float]],
    *,
    ax: Axes | None = None,
    highest: float = 99.9,
) -> Axes:
    """Draw each percentile of the response times, a curve per label; return the Axes.

    ``times`` is a mapping of labels to response times in seconds: an array or another iterable of
    floats, an object with ``count`` and ``percentile(q)`` such as
    :class:`balancers.simulation.Times`, or a result with such a ``response``.

    The axis is stretched towards 100, so that p90, p99 and p99.9 are at equal distances, and it
    ends at ``highest``.  A curve ends where five requests are slower, because percentiles above
    depend on chance, but not before the median.  Times are drawn in milliseconds if all are less
    than a second, and on a logarithmic axis if the largest is 30 times the smallest median or more.

    >>> ax = latency_curves({"fast": [0.01, 0.02, 0.03] * 100, "slow": [0.05, 0.06, 0.5] * 100})
    >>> ax.get_ylabel(), ax.get_xlabel()
    ('response time (ms)', 'percentile of the requests (%)')

    Raises InvalidSetting if ``highest`` is not above 0 and below 100, and for a time that is
    negative, NaN or infinite; TypeError for a result without a label.
    """
    if not isinstance(times, Mapping):
        raise TypeError(f"times must be a mapping of labels, not {type(times).__name__}")
    if not 0 < highest < 100:  # noqa: PLR2004 - per cent
        raise InvalidSetting(f"highest must be above 0 and below 100, not {shown(highest)}")
    curves = {
        text: _curve(text, given, highest)
        for text, given in ((text_of(label), given) for label, given in times.items())
    }
    axes = axes_of(ax)
    ends = [float(values[-1]) for _, values in curves.values() if values.size]
    middles = [_median(*curve) for curve in curves.values() if curve[1].size]
    largest, least = max(ends, default=0.0), min(middles, default=0.0)
    unit, factor = ("ms", 1000.0) if 0 < largest < 1 else ("s", 1.0)
    logarithmic = 0 < _RATIO * least <= largest
    handles: list[Any] = []
    looks = cycle(zip(COLOURS, LINES, strict=True))
    for (ranks, values), (colour, line) in zip(curves.values(), looks, strict=False):
        handles += axes.plot(_stretched(ranks), values * factor, color=colour, linestyle=line)
    legend(axes, handles, names_of(curves), loc="lower right" if logarithmic else "upper left")
    if not ends:
        axes.text(0.5, 0.5, "no response times", transform=axes.transAxes, ha="center")
    if logarithmic:
        axes.set_yscale("log")
        limit(axes, factor * least / 5, 1.2 * factor * largest)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    else:
        limit(axes, 0, factor * largest)
    ticks = [rank for rank in _ROUND if rank < highest] + [highest]
    axes.set_xticks(_stretched(np.array(ticks)), [f"{rank:g}" for rank in ticks])
    axes.set_xlim(0, float(_stretched(highest)))
    axes.set(xlabel="percentile of the requests (%)", ylabel=f"response time ({unit})")
    return cast("Axes", axes)


def _curve(label: str, given: Any, highest: float) -> tuple[Any, Any]:
    """Return the percentiles to draw, and the response time at each of them."""
    given = getattr(given, "response", given)
    summary = hasattr(given, "percentile")
    values = np.zeros(0) if summary else np.asarray([*given], dtype=np.float64)
    wrong = values[~((values >= 0) & (values < np.inf))]
    if wrong.size:
        raise InvalidSetting(
            f"times of {shown(label)} must be finite seconds, not {shown(float(wrong[0]))}"
        )
    count = int(given.count) if summary else values.size
    if not count:
        return np.zeros(0), np.zeros(0)
    last = min(highest, 100 * max(0.5, 1 - _BEYOND / count))
    end = float(_stretched(last))
    ranks: Any = 100 * (1 - 10.0 ** -np.linspace(0, end, 2 + int(_POINTS * end)))
    ranks[-1] = last
    if not summary:
        nearest = np.ceil(ranks / 100 * count).astype(np.intp) - 1
        return ranks, np.sort(values)[np.maximum(nearest, 0)]
    return ranks, np.asarray(given.percentile(ranks), dtype=np.float64)


def _median(ranks: Any, values: Any) -> float:
    at = np.searchsorted(ranks, _MIDDLE)
    return float(values[min(int(at), len(values) - 1)])


def _stretched(ranks: Any) -> Any:
    """Return the place of each percentile on the axis: 0, 90, 99 and 99.9 are at 0, 1, 2 and 3."""
    return -np.log10(1 - ranks / 100)
