"""A map of the keys that move."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from balancers._internal.checks import LATEST, number, shown
from balancers.errors import InvalidSetting
from balancers.quality.plots._style import axes_of, names_of, text_colour, write_names
from balancers.quality.remap import Remap

__all__ = ["remap_map"]

_NAMED = 30  # more rows have no room for names
_NUMBERED = 12  # more cells have no room for a number
_IMAGE = 400  # more rows are drawn as points
_LEAST = 0.05  # a smaller percentage is written as "<0.1"
_KEPT = "#e4e4e4"


def remap_map(
    change: Remap[Any] | Mapping[tuple[Any, Any], float], *, ax: Axes | None = None
) -> Axes:
    """Draw how many keys move from each backend to each other one, as a map; return the Axes.

    ``change`` is what :func:`balancers.quality.remap` returns, or a mapping of pairs, the backend
    before and the backend after, to numbers of keys.  A pair of twice the same backend contains the
    keys that stay; its cell is grey, so that the scale of colours is for the others.  The numbers
    and colours are percentages of all keys.  Up to 12 backends have a number in each cell, and up
    to 30 have names.  With more than 400 backends the map has points.

    >>> from balancers.quality import remap
    >>> ax = remap_map(remap(["a"] * 7 + ["b"] * 3, ["a"] * 6 + ["b"] * 4))
    >>> [text.get_text() for text in ax.texts], ax.get_title(loc="left")
    (['60.0', '10.0', '30.0'], '10.0 % of the keys move, at least 10.0 % must')

    Raises InvalidSetting for a number that is negative, NaN or infinite.
    """
    must = f", at least {100 * change.unavoidable:.1f} % must" if isinstance(change, Remap) else ""
    moves = _pairs(change) if isinstance(change, Remap) else change
    for pair, count in moves.items():
        name = f"the number of keys of {shown(pair)}"
        if not 0 <= number(name, count) <= LATEST:
            raise InvalidSetting(f"{name} must be finite, 0 or more, not {shown(count)}")
    unit = 100 / (sum(map(float, moves.values())) or 1.0)
    rows = list(dict.fromkeys(before for before, _ in moves))
    came = {after for _, after in moves}
    columns = [one for one in dict.fromkeys([*rows, *(after for _, after in moves)]) if one in came]
    y, x = _places(rows), _places(columns)
    cells = [
        (y[before], x[after], unit * float(count), before == after)
        for (before, after), count in moves.items()
        if count
    ]
    axes = axes_of(ax, height=2.2 + 0.22 * min(len(rows), _NUMBERED))
    _draw(axes, cells, len(rows), len(columns))
    axes.set(xticks=[], yticks=[])
    if len(columns) <= _NAMED:
        write_names(axes, columns)
    if len(rows) <= _NAMED:
        axes.set_yticks(range(len(rows)), names_of(rows))
    axes.set(xlabel=_counted("after", columns), ylabel=_counted("before", rows))
    axes.set(xlim=(-0.5, max(1, len(columns)) - 0.5), ylim=(max(1, len(rows)) - 0.5, -0.5))
    axes.grid(visible=False)
    moved = sum(percent for _, _, percent, kept in cells if not kept)
    title = f"{moved:.1f} % of the keys move{must}"
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    return cast("Axes", axes)


def _pairs(change: Remap[Any]) -> dict[tuple[Any, Any], float]:
    """Return the numbers of keys by pair, in the order of the members."""
    kept = change.before - change.lost
    places = [
        *zip(change.sources.tolist(), change.targets.tolist(), change.counts.tolist(), strict=True)
    ]
    places += [(place, place, count) for place, count in enumerate(kept.tolist()) if count]
    return {
        (change.members[source], change.members[target]): count
        for source, target, count in sorted(places)
    }


def _draw(axes: Any, cells: list[tuple[int, int, float, bool]], height: int, width: int) -> None:
    """Draw a coloured cell for each pair that has keys, with its percentage if there is room."""
    if not cells:
        return
    largest = max((percent for _, _, percent, kept in cells if not kept), default=1.0)
    numbered = max(height, width) <= _NUMBERED
    if max(height, width) > _IMAGE:
        points = np.array([cell[:3] for cell in cells if not cell[3]]).reshape(-1, 3)
        look = {"cmap": "cividis_r", "vmin": 0, "vmax": largest}
        image = axes.scatter(points[:, 1], points[:, 0], 4, points[:, 2], **look)
    else:
        grid, stays = np.full((height, width), np.nan), np.full((height, width), np.nan)
        for row, column, percent, kept in cells:
            (stays if kept else grid)[row, column] = percent
        axes.imshow(
            np.where(np.isnan(stays), np.nan, 0), cmap=ListedColormap([_KEPT]), aspect="auto"
        )
        image = axes.imshow(grid, cmap="cividis_r", vmin=0, vmax=largest, aspect="auto")
    if not numbered:
        bar = axes.figure.colorbar(image, ax=axes)
        bar.set_label("keys that move (%)")
        return
    for row, column, percent, kept in cells:
        colour = text_colour(_KEPT if kept else image.cmap(image.norm(percent))[:3])
        text = f"{percent:.1f}" if percent >= _LEAST else "<0.1"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize="small")


def _places(backends: list[Any]) -> dict[Any, int]:
    return {backend: place for place, backend in enumerate(backends)}


def _counted(when: str, backends: list[Any]) -> str:
    if not backends:
        return "no keys"
    return f"backend {when}" if len(backends) <= _NAMED else f"{len(backends)} backends {when}"
