"""The ring as a circle."""

from itertools import cycle, pairwise
from math import tau
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from balancers._internal.checks import at_least
from balancers.hashing import HashRing
from balancers.quality.plots._style import COLOURS, HATCHES, MUTED, axes_of, legend, names_of

__all__ = ["ring_circle"]

_COLOURED = 7  # of more than 8 backends; the others are grey
_SHORT = 16  # longer texts have no room inside the circle
_INNER, _OUTER = 0.62, 1.0
_CIRCLE = 2**64
_STEPS = 720  # of the edge of the circle
_EDGED = 360  # more arcs are too narrow for an edge
_OTHERS = (MUTED, "")


def ring_circle(ring: HashRing[Any], *, ax: Axes | None = None, positions: int = 7200) -> Axes:
    """Draw which backend has which part of a ring, as a circle; return the Axes, which are polar.

    The hash 0 is at the top, and hashes grow clockwise.  A key belongs to the arc that contains
    its hash.  The owners are those that :meth:`~balancers.hashing.HashedBalancer.pick_many`
    returns at this many equal distances (``positions``), so weights that are closed now are seen
    as a pick sees them.  The legend has the share of the circle of each backend.  With more than 8
    backends, the 7 with the largest shares are coloured, and the others are grey.

    >>> from balancers import HashRing
    >>> ax = ring_circle(HashRing(["a", "b", "c"], points=4))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['a 46.4 %', 'b 39.8 %', 'c 13.8 %']

    An own ``ax`` is made by ``figure.add_subplot(projection="polar")``; other Axes raise
    TypeError.  ``positions`` must be an int from 1 on, else InvalidSetting is raised.
    """
    at_least(1, positions=positions)
    axes = axes_of(ax, circle=True)
    axes.set(xticks=[], yticks=[], ylim=(0, 1.04))
    axes.grid(visible=False)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.spines["polar"].set_visible(False)
    axes.set_rorigin(0)
    members = list(ring.weights)
    if not any(weight > 0 for weight in ring.weights.values()):
        axes.text(0, 0, "no backend is open", ha="center", va="center")
        return cast("Axes", axes)
    owners = ring.pick_many(_hashes(positions))
    shares = 100 * np.bincount(owners, minlength=len(members)) / positions
    many = len(members) > len(COLOURS)
    listed = sorted(range(len(members)), key=lambda place: -shares[place])
    listed = listed[: _COLOURED if many else None]
    looks = dict(zip(sorted(listed), cycle(zip(COLOURS, HATCHES, strict=True)), strict=False))
    edges = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), positions]
    line = 0.5 if len(edges) <= _EDGED else 0.0
    arcs: dict[tuple[str, str], list[Any]] = {look: [] for look in [*looks.values(), _OTHERS]}
    for begin, end in pairwise(edges):
        angles = tau * np.linspace(begin, end, 2 + (end - begin) * _STEPS // positions) / positions
        arcs[looks.get(int(owners[begin]), _OTHERS)].append(_arc(angles))
    for (colour, hatch), shapes in arcs.items():
        edge = "white" if line else colour
        axes.add_collection(
            PolyCollection(
                shapes, facecolor=colour, hatch=hatch, edgecolor=edge, linewidth=line or 0.2
            )
        )
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white") for colour, hatch in looks.values()
    ]
    names = names_of(members)
    texts = [f"{names[place]} {shares[place]:.1f} %" for place in looks]
    if rest := len(members) - len(listed):
        handles.append(Patch(facecolor=MUTED))
        others = 100 - sum(float(shares[place]) for place in listed)
        texts.append(f"{rest} others {others:.1f} %")
    short = max(map(len, texts)) <= _SHORT
    where: dict[str, Any] = (
        {"loc": "center"} if short else {"loc": "upper center", "bbox_to_anchor": (0.5, 0.02)}
    )
    legend(axes, handles, texts, title="share of the circle", **where)
    return cast("Axes", axes)


def _hashes(count: int) -> Any:
    """Return the hashes in the middle of ``count`` equal parts of the circle."""
    return np.array([_CIRCLE * (2 * place + 1) // (2 * count) for place in range(count)], np.uint64)


def _arc(angles: Any) -> Any:
    """Return the corners of a part of the ring, as angles and distances from its center."""
    outer, inner = np.full_like(angles, _OUTER), np.full_like(angles, _INNER)
    return np.column_stack([[*angles, *angles[::-1]], [*outer, *inner]])
