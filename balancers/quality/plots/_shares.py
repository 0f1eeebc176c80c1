"""Bars of shares, beside the fair shares."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes

from balancers._internal.checks import LATEST, as_weights, number, shown
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.quality.plots._style import (
    COLOURS,
    HATCHES,
    axes_of,
    ink_of,
    legend,
    limit,
    names_of,
    text_of,
    write_names,
)

__all__ = ["share_bars"]

_NAMED = 40  # more backends have no room for names
_HATCHED = 160  # more bars are too narrow for hatches


def share_bars(
    counts: Mapping[Any, float] | Mapping[str, Mapping[Any, float]],
    weights: Mapping[Any, float] | None = None,
    *,
    ax: Axes | None = None,
    unit: str = "requests",
) -> Axes:
    """Draw the share of each backend as a bar, with a line at its fair share; return the Axes.

    ``counts`` is a mapping of backends to the number of their requests, or of anything else that
    they share.  To compare several balancers, pass a mapping of labels to such mappings.
    ``weights`` has the weight of each backend; without it, all backends have the same fair share.
    A backend that is in ``weights`` and not in ``counts`` has the share 0.  ``unit`` is the plural
    of what is counted; the axis has "share of the requests (%)".

    Up to 40 backends are in the given order and have names.  More are sorted by their shares, the
    largest first.

    >>> ax = share_bars({"a": 60, "b": 30, "c": 10}, {"a": 2, "b": 1, "c": 1})
    >>> ax.get_ylabel(), [round(float(bar.get_height()), 1) for bar in ax.patches]
    ('share of the requests (%)', [60.0, 30.0, 10.0])

    Raises InvalidSetting for a count that is negative, NaN or infinite, InvalidWeight for such a
    weight, and UnknownBackend for a backend that is in ``counts`` and not in ``weights``.
    """
    series = _series(counts)
    members = list(dict.fromkeys(member for _, one in series for member in one))
    fair: Mapping[Any, float] = dict.fromkeys(members, 1)
    if weights is not None:
        fair = as_weights(weights)
        for member in members:
            if member not in fair:
                raise UnknownBackend(member)
        members = list(fair)
    axes = axes_of(ax)
    hatched = len(members) * len(series) <= _HATCHED
    width = (0.82 if hatched else 1.0) / max(1, len(series))
    places, wanted = np.arange(len(members)), _percent(fair, members)
    handles: list[Any] = []
    looks = cycle(zip(COLOURS, HATCHES, strict=True))
    for place, ((_, one), (colour, hatch)) in enumerate(zip(series, looks, strict=False)):
        percent = _percent(one, members)
        order = np.lexsort((-wanted, -percent)) if len(members) > _NAMED else places
        middles = places + (place - (len(series) - 1) / 2) * width
        look = {"facecolor": colour, "edgecolor": colour, "linewidth": 0}
        if hatched:
            look = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.5, "hatch": hatch}
        handles.append(axes.bar(middles, percent[order], width, **look))
        lefts, rights = middles - width / 2, middles + width / 2
        line = axes.hlines(wanted[order], lefts, rights, colors=ink_of(axes), linewidth=1.6)
        line.set_zorder(3)
        if place == len(series) - 1 and members:
            handles.append(line)
    labels = [*names_of(label for label, _ in series), "fair share"]
    _label(axes, members, unit)
    if members:
        only = 1 if len(series) == 1 else 0
        where: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
        legend(axes, handles[only:], labels[only:], wide=True, **where)
    return cast("Axes", axes)


def _series(counts: Mapping[Any, Any]) -> list[tuple[str, Mapping[Any, float]]]:
    """Return the counts, checked, with their labels.  If there is only one, its label is empty."""
    nested = bool(counts) and all(isinstance(value, Mapping) for value in counts.values())
    series = [(str(label), one) for label, one in counts.items()] if nested else [("", counts)]
    for _, one in series:
        for member, count in one.items():
            if not 0 <= number(f"the count of {shown(member)}", count) <= LATEST:
                raise InvalidSetting(
                    f"the count of {shown(member)} must be finite, 0 or more, not {shown(count)}"
                )
    return series


def _percent(amounts: Mapping[Any, float], members: list[Any]) -> Any:
    """Return the shares of the members as an array of percentages."""
    parts = np.array([float(amounts.get(member, 0)) for member in members])
    parts /= parts.max(initial=0.0) or 1.0  # so that the sum is finite
    return 100 * parts / (parts.sum() or 1.0)


def _label(axes: Any, members: list[Any], unit: str) -> None:
    axes.set_ylabel(f"share of the {text_of(unit)} (%)")
    limit(axes, 0, max((bar.get_height() for bar in axes.patches), default=0))
    if not members:
        axes.set(xticks=[], yticks=[], xlabel="no backends")
    elif len(members) > _NAMED:
        axes.set(xticks=[], xlabel=f"{len(members)} backends, the largest share first")
        axes.set_xlim(-0.5, len(members) - 0.5)
    else:
        write_names(axes, members)
        axes.set_xlabel("backend")
        axes.grid(visible=False, axis="x")
        axes.set_xlim(-0.6, len(members) - 0.4)
