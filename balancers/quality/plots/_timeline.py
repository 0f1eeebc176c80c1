"""Load, failures and response times over time, with what happened meanwhile."""

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Any, Literal, Protocol, cast

import numpy as np
from matplotlib.axes import Axes

from balancers._internal.checks import checked_choice
from balancers.errors import UnknownBackend
from balancers.quality.plots._style import (
    COLOURS,
    LINES,
    MUTED,
    axes_of,
    ink_of,
    legend,
    limit,
    names_of,
)

__all__ = ["load_over_time"]

_EACH = 8  # more backends are drawn as a band
_LETTER = 0.0155  # the width of a letter, as a part of the axis
_LINE = 12.0  # the height of a line of text in points
_ALL = 100.0  # percent
_LABELS = {
    "in_flight": "requests in flight",
    "requests": "requests per second",
    "failures": "failed requests (%)",
    "response": "mean response time (s)",
}
Show = Literal["in_flight", "requests", "failures", "response"]


class _Timeline(Protocol):
    """What the ``timeline`` of a simulation has; arrays of one value per bucket."""

    @property
    def times(self) -> Any: ...
    @property
    def answered(self) -> Any: ...
    @property
    def failed(self) -> Any: ...
    @property
    def refused(self) -> Any: ...
    @property
    def mean(self) -> Any: ...
    @property
    def in_flight(self) -> Mapping[Any, Any]: ...
    @property
    def requests(self) -> Mapping[Any, Any]: ...


class _Incident(Protocol):
    """What an incident of a simulation has: the times of its begin and end in seconds."""

    @property
    def time(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def text(self) -> str: ...


def load_over_time(
    timeline: _Timeline,
    *,
    show: Show = "in_flight",
    backends: Iterable[Any] | None = None,
    incidents: Iterable[_Incident] = (),
    between: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a timeline of a simulation, and mark the time of each incident; return the Axes.

    ``timeline`` is the ``timeline`` of a simulation, or any object with the same arrays.  ``show``
    is ``"in_flight"`` for the requests in flight on each backend, ``"requests"`` for the requests
    per second on each backend, ``"failures"`` for the percentage of requests that failed or were
    refused, or ``"response"`` for the mean response time in seconds.  Up to 8 backends have a line
    each.  More are drawn as their median within a band from the least to the greatest.
    ``backends`` are those to draw, for example some of many; without it, all are drawn.

    ``incidents`` are objects with ``time``, ``end`` and ``text``, such as the ``incidents`` of a
    simulation.  Each is drawn as a grey area with its text.  ``between`` is the first and the last
    time of the picture in seconds; without it, the picture has the whole timeline.

    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> times = np.arange(60.0)
    >>> seen = SimpleNamespace(times=times, in_flight={"a": times % 7, "b": times % 5})
    >>> crash = SimpleNamespace(time=20.0, end=40.0, text="b crashes")
    >>> ax = load_over_time(seen, incidents=[crash])
    >>> ax.get_xlabel(), ax.get_ylabel(), ax.texts[0].get_text()
    ('time (s)', 'requests in flight', 'b crashes')

    Raises InvalidSetting for another ``show``, and UnknownBackend for a backend that the timeline
    does not have.
    """
    checked_choice("show", show, tuple(_LABELS))
    times = np.asarray(timeline.times, dtype=np.float64)
    width = float(times[1] - times[0]) if times.size > 1 else 1.0
    curves = _curves(timeline, show, width, backends)
    axes = axes_of(ax)
    handles, labels = _draw(axes, times + width / 2, curves)
    axes.set(xlabel="time (s)", ylabel=_LABELS[show])
    if between is not None:
        axes.set_xlim(*between)
    elif times.size:
        axes.set_xlim(times[0], times[-1] + width)
    rows = _mark(axes, incidents)
    inches = axes.get_position().height * axes.figure.get_size_inches()[1]
    room = max(0.2, 1 - rows * _LINE / (72 * inches))
    limit(axes, 0, max((np.nanmax(values, initial=0) for _, values in curves), default=0) / room)
    if show == "failures":
        axes.set_yticks([tick for tick in axes.get_yticks() if tick <= _ALL])
    legend(axes, handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0),
           borderaxespad=3.8, wide=True)  # fmt: skip
    return cast("Axes", axes)


def _curves(
    timeline: _Timeline, show: Show, width: float, backends: Iterable[Any] | None
) -> list[tuple[str, Any]]:
    """Return what to draw, each with its label."""
    if show == "response":
        return [("", np.asarray(timeline.mean, dtype=np.float64))]
    if show == "failures":
        lost = np.asarray(timeline.failed, np.float64) + np.asarray(timeline.refused, np.float64)
        every = lost + np.asarray(timeline.answered, np.float64)
        return [("", 100 * lost / np.where(every > 0, every, 1))]
    by_backend = timeline.in_flight if show == "in_flight" else timeline.requests
    divisor = 1.0 if show == "in_flight" else width
    chosen = list(by_backend if backends is None else backends)
    for backend in chosen:
        if backend not in by_backend:
            raise UnknownBackend(backend)
    arrays = [np.asarray(by_backend[one], dtype=np.float64) / divisor for one in chosen]
    return [*zip(names_of(chosen), arrays, strict=True)]


def _draw(axes: Any, middles: Any, curves: list[tuple[str, Any]]) -> tuple[list[Any], list[str]]:
    """Draw the curves; return the handles and labels of the legend."""
    if len(curves) > _EACH:
        every = np.array([values for _, values in curves])
        band = axes.fill_between(
            middles, every.min(axis=0), every.max(axis=0), color=COLOURS[4], alpha=0.5, linewidth=0
        )
        [line] = axes.plot(middles, np.median(every, axis=0), color=COLOURS[0], linestyle="-")
        return [line, band], [f"median of {len(curves)}", "least to greatest"]
    looks = cycle(zip(COLOURS, LINES, strict=True))
    handles: list[Any] = []
    for (_, values), (colour, line) in zip(curves, looks, strict=False):
        handles += axes.plot(middles, values, color=colour, linestyle=line)
    labels = [label for label, _ in curves]
    return ([], []) if labels == [""] else (handles, labels)


def _mark(axes: Any, incidents: Iterable[_Incident]) -> int:
    """Mark the incidents; return on how many lines their texts are written, without overlaps."""
    left, right = axes.get_xlim()
    taken: list[float] = []  # where the text on each line ends
    for one in sorted(incidents, key=lambda one: (one.time, one.end)):
        end = min(one.end, right)
        axes.axvspan(one.time, end, facecolor=MUTED, alpha=0.35, linewidth=0, zorder=0)
        if end < left or one.time > right:
            continue
        [text] = names_of([one.text])
        wide = (right - left) * _LETTER * (len(text) + 2)
        begin = max(left, min(one.time, right - wide))
        line = next((number for number, until in enumerate(taken) if until <= begin), len(taken))
        taken[line : line + 1] = [begin + wide]
        axes.annotate(
            text, (begin, 1.0), (2, -2 - _LINE * line), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize="small", color=ink_of(axes),
            clip_on=True,
        )  # fmt: skip
    return len(taken)
