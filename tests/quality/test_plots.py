from collections.abc import Callable
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from balancers import HashRing
from balancers.errors import InvalidSetting, InvalidWeight, UnknownBackend
from balancers.quality import plots, remap

ODD = [
    "_hidden",
    r"$\x$",
    "a$",
    r"\$b",
    "größe",
    "北京",
    "a\nb",
    "\x00",
    "x" * 200,
    "",
    "a^{b",
    "😀",
]
WEIGHTS = {"a": 2.0, "b": 1.0, "c": 1.0}


def timeline(backends: int = 3, buckets: int = 60) -> Any:
    times = np.arange(float(buckets)) * 2
    load = {f"b{number}": times % (5 + number) for number in range(backends)}
    zeros = np.zeros(buckets)
    return SimpleNamespace(
        times=times, in_flight=load, requests=load, answered=zeros + 8, failed=zeros + 1,
        refused=zeros + 1, mean=zeros + 0.25,
    )  # fmt: skip


def incident(time: float, end: float, text: str) -> Any:
    return SimpleNamespace(time=time, end=end, text=text)


EXPONENTIAL = [-float(np.log1p(-(place + 0.5) / 2000)) for place in range(2000)]
DRAWN: dict[str, Callable[..., Axes]] = {
    "share_bars": partial(plots.share_bars, {"a": 6, "b": 3, "c": 1}, WEIGHTS),
    "share_bars, two": partial(plots.share_bars, {"x": {"a": 6}, "y": {"b": 1}}),
    "share_bars, none": partial(plots.share_bars, {}),
    "share_bars, one": partial(plots.share_bars, {"a": 5}),
    "share_bars, nothing": partial(plots.share_bars, {"a": 0, "b": 0}),
    "share_bars, 300": partial(plots.share_bars, dict.fromkeys(range(300), 5)),
    "remap_map": partial(plots.remap_map, {("a", "a"): 9, ("a", "b"): 1}),
    "remap_map, none": partial(plots.remap_map, {}),
    "remap_map, one": partial(plots.remap_map, {("a", "a"): 1}),
    "remap_map, nothing": partial(plots.remap_map, {("a", "b"): 0}),
    "remap_map, 50": partial(plots.remap_map, {(before, 7): 1 for before in range(50)}),
    "remap_map, 1000": partial(plots.remap_map, {(before, 7): 1 for before in range(1000)}),
    "remap_map, 500 stay": partial(plots.remap_map, {(one, one): 1 for one in range(500)}),
    "load_over_time": partial(
        plots.load_over_time,
        timeline(),
        incidents=[incident(9, 20, "b0 crashes"), incident(15, 1e9, "b1 too")],
    ),
    "load_over_time, none": partial(plots.load_over_time, timeline(0, 0)),
    "load_over_time, one": partial(plots.load_over_time, timeline(1, 1)),
    "load_over_time, 300": partial(plots.load_over_time, timeline(300)),
    "failures": partial(plots.load_over_time, timeline(), show="failures"),
    "response": partial(plots.load_over_time, timeline(), show="response"),
    "requests": partial(plots.load_over_time, timeline(), show="requests"),
    "latency_curves": partial(plots.latency_curves, {"a": EXPONENTIAL, "b": [1.0]}),
    "latency_curves, none": partial(plots.latency_curves, {}),
    "latency_curves, empty": partial(plots.latency_curves, {"a": []}),
    "latency_curves, zero": partial(plots.latency_curves, {"a": [0.0, 0.0]}),
}
ROUND: dict[str, Callable[..., Axes]] = {
    "ring_circle": partial(plots.ring_circle, HashRing(WEIGHTS, points=4)),
    "ring_circle, one": partial(plots.ring_circle, HashRing(["a"])),
    "ring_circle, closed": partial(plots.ring_circle, HashRing({"a": 0})),
    "ring_circle, 300": partial(plots.ring_circle, HashRing(range(300), points=1)),
}
every_picture = pytest.mark.parametrize("draw", (DRAWN | ROUND).values(), ids=DRAWN | ROUND)
every_chart = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)


def png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=50)
    return file.getvalue()


def labels(ax: Any) -> list[str]:
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


# state


@every_picture
def test_no_state_is_changed(draw: Any) -> None:
    before, figures = dict(mpl.rcParams), plt.get_fignums()
    ax: Any = draw()
    png(ax.figure)
    assert isinstance(ax, Axes)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == figures


def test_the_style_ends_with_its_context() -> None:
    before = dict(mpl.rcParams)
    with plots.style():
        assert dict(mpl.rcParams) != before
        assert to_rgb(mpl.rcParams["figure.facecolor"]) == (1, 1, 1)
    assert dict(mpl.rcParams) == before
    with pytest.raises(ZeroDivisionError), plots.style():
        _ = 1 / 0
    assert dict(mpl.rcParams) == before


@every_picture
def test_a_picture_of_the_users_own(draw: Any) -> None:
    """The given Axes are returned, and neither the figure nor what it contains is replaced."""
    with plt.style.context("dark_background"):
        figure = Figure(layout="constrained")
        polar = draw in ROUND.values()
        ax = figure.add_subplot(1, 2, 2, projection="polar" if polar else None)
        assert draw(ax=ax) is ax
        others = [one for one in figure.axes if one is not ax and one.get_label() != "<colorbar>"]
        assert others == []
        assert to_hex(figure.get_facecolor()) == "#000000"


@every_chart
def test_ink_is_legible_on_a_dark_page(draw: Any) -> None:
    with plt.style.context("dark_background"):
        ax: Any = draw(ax=Figure().add_subplot())
    lines = [line for line in ax.collections if hasattr(line, "get_segments")]
    assert all(to_hex(one) == "#ffffff" for line in lines for one in line.get_edgecolor())
    texts: Any = ax.get_legend().get_texts() if ax.get_legend() else []
    assert all(to_hex(text.get_color()) == "#ffffff" for text in texts)


@pytest.mark.parametrize("ax", [object(), "ax", Figure(), [Figure().add_subplot()]])
@every_picture
def test_other_objects_are_no_axes(draw: Any, ax: Any) -> None:
    with pytest.raises(TypeError, match="ax must be Axes of matplotlib"):
        draw(ax=ax)


def test_a_circle_needs_polar_axes_and_the_others_do_not() -> None:
    with pytest.raises(TypeError, match="ax must be polar Axes"):
        plots.ring_circle(HashRing(["a"]), ax=Figure().add_subplot())
    with pytest.raises(TypeError, match="ax must be rectangular Axes"):
        plots.share_bars({"a": 1}, ax=Figure().add_subplot(projection="polar"))


@pytest.mark.parametrize("name", ["share_bars, two", "ring_circle"])
def test_a_notebook_shows_the_axes(name: str) -> None:
    """The same picture each time, and on an opaque background."""
    draw = (DRAWN | ROUND)[name]
    picture, again = cast("Any", draw()), cast("Any", draw())
    data = picture._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert data == again._repr_png_()
    corner = plt.imread(BytesIO(data))[0, 0]
    assert corner.tolist() == [1, 1, 1, 1]


# labels


UNITS = {
    "share_bars": ("backend", "share of the requests (%)"),
    "remap_map": ("backend after", "backend before"),
    "load_over_time": ("time (s)", "requests in flight"),
    "failures": ("time (s)", "failed requests (%)"),
    "response": ("time (s)", "mean response time (s)"),
    "requests": ("time (s)", "requests per second"),
    "latency_curves": ("percentile of the requests (%)", "response time (s)"),
}


@every_chart
def test_both_axes_have_labels(draw: Any) -> None:
    ax: Any = draw()
    assert ax.get_xlabel()
    assert ax.get_ylabel()


@pytest.mark.parametrize("name", UNITS)
def test_the_labels_have_units(name: str) -> None:
    ax = DRAWN[name]()
    assert (ax.get_xlabel(), ax.get_ylabel()) == UNITS[name]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_names_are_written_as_they_are(name: str) -> None:
    """No formula, no missing character, nothing left out of a legend: warnings are errors here."""
    load = {name: np.arange(3.0), "other": np.arange(3.0)}
    seen: Any = SimpleNamespace(times=np.arange(3.0), in_flight=load)
    figure = Figure(figsize=(8, 8))
    (left, right), (low, high) = figure.subplots(2, 2)
    plots.share_bars({name: {name: 1}, "other": {name: 2}}, ax=left)
    plots.remap_map({(name, "other"): 1}, ax=right)
    plots.latency_curves({name: [1.0], "other": [2.0]}, ax=low)
    plots.load_over_time(seen, incidents=[incident(1, 2, name)], ax=high)
    png(figure)
    assert len(labels(left)) == 3
    assert len(labels(low)) == len(labels(high)) == 2


def test_how_unusual_names_are_written() -> None:
    def written(name: str) -> str:
        [text] = plots.share_bars({name: 1}).get_xticklabels()
        return text.get_text()

    assert written("größe:80") == "größe:80"
    assert written("北") == r"\u5317"
    assert written("a\x00") == r"a\x00"
    assert written("$a$") == r"\$a\$"  # drawn as $a$, and not as a formula
    assert written("_a").endswith("_a")
    long = written("first-" + "x" * 99 + "-last")
    assert long.startswith("first-")
    assert long.endswith("-last")
    assert len(long) <= 28


def test_different_backends_with_one_name_are_drawn_apart() -> None:
    assert len(plots.share_bars({1: 5, "1": 6}).patches) == 2
    ring = plots.ring_circle(HashRing(["1", "1" + "x" * 99 + "1", "1" + "x" * 98 + "y1"]))
    assert len(labels(ring)) == 3
    load = {1: np.arange(3.0), "1": np.arange(3.0)}
    seen: Any = SimpleNamespace(times=np.arange(3.0), in_flight=load)
    over = plots.load_over_time(seen)
    assert len(over.lines) == 2


# colours


def luminance(colour: Any) -> float:
    return float(np.sum(np.multiply(to_rgb(colour), (0.2126, 0.7152, 0.0722))))


def test_the_palette() -> None:
    okabe_ito = {"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"}
    assert okabe_ito < set(plots.COLOURS)
    assert len(plots.COLOURS) == len(plots.HATCHES) == len(plots.LINES) == 8
    assert len(set(plots.COLOURS)) == len(set(plots.HATCHES)) == len(set(plots.LINES)) == 8
    neighbours = zip(plots.COLOURS, plots.COLOURS[1:], strict=False)
    assert all(abs(luminance(one) - luminance(next_)) > 0.03 for one, next_ in neighbours)


def test_bars_have_colours_of_the_palette_and_different_hatches() -> None:
    ax: Any = plots.share_bars({f"series {number}": {"a": 1, "b": 2} for number in range(8)})
    looks = {(to_hex(bar.get_facecolor()), bar.get_hatch()) for bar in ax.patches}
    assert looks == set(zip(plots.COLOURS, plots.HATCHES, strict=True))


@pytest.mark.parametrize("draw", [
    lambda: plots.latency_curves({str(number): EXPONENTIAL for number in range(8)}),
    lambda: plots.load_over_time(timeline(8)),
])  # fmt: skip
def test_lines_have_colours_of_the_palette_and_different_styles(draw: Any) -> None:
    lines = draw().lines
    assert [to_hex(line.get_color()) for line in lines] == list(plots.COLOURS)
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 8


def test_arcs_have_colours_of_the_palette_and_different_hatches() -> None:
    ax: Any = plots.ring_circle(HashRing(range(8), points=3))
    drawn = [arcs for arcs in ax.collections if arcs.get_paths()]
    looks = {(to_hex(arcs.get_facecolor()[0]), arcs.get_hatch()) for arcs in drawn}
    assert looks == set(zip(plots.COLOURS, plots.HATCHES, strict=True))


@pytest.mark.parametrize("background", [*plots.COLOURS, "black", "white", (0.5, 0.5, 0.5), "0.3"])
def test_text_is_readable_on_every_colour(background: Any) -> None:
    parts = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(background)
    ]
    lightness = 0.05 + float(np.sum(np.multiply(parts, (0.2126, 0.7152, 0.0722))))
    contrast = {"#ffffff": 1.05 / lightness, "#000000": lightness / 0.05}
    assert contrast[plots.text_colour(background)] == max(contrast.values()) >= 4.5


# what is drawn


def heights(ax: Any) -> list[float]:
    return [float(bar.get_height()) for bar in ax.patches]


def test_bars_are_shares_and_lines_are_fair_shares() -> None:
    ax: Any = plots.share_bars({"a": 60, "b": 30}, {"a": 2, "b": 1, "c": 1})
    assert heights(ax) == pytest.approx([200 / 3, 100 / 3, 0])
    [line] = ax.collections
    assert [part[0][1] for part in line.get_segments()] == pytest.approx([50, 25, 25])
    assert labels(ax) == ["fair share"]


def test_many_bars_are_sorted() -> None:
    counts = {number: (number * 37) % 1000 for number in range(1000)}
    ax: Any = plots.share_bars(counts)
    drawn = heights(ax)
    assert drawn == sorted(drawn, reverse=True)
    assert ax.get_xlabel() == "1000 backends, the largest share first"


def test_huge_counts_and_weights_are_drawn() -> None:
    ax: Any = plots.share_bars({"a": 1e300, "b": 1e300}, {"a": 1e300, "b": 3e299})
    assert heights(ax) == pytest.approx([50, 50])
    assert heights(plots.share_bars({"a": 5e-324, "b": 0})) == [100, 0]


@pytest.mark.parametrize("count", [-1, float("nan"), float("inf"), 1e301, "3", None, True])
def test_a_count_must_be_a_number(count: Any) -> None:
    with pytest.raises(InvalidSetting, match="count of 'b'"):
        plots.share_bars({"a": 1, "b": count})
    with pytest.raises(InvalidSetting, match="keys of"):
        plots.remap_map({("a", "b"): count})


def test_weights_are_checked() -> None:
    with pytest.raises(UnknownBackend):
        plots.share_bars({"b": 1}, {"a": 1})
    with pytest.raises(InvalidWeight):
        plots.share_bars({"a": 1}, {"a": -1})


def test_the_map_has_percentages() -> None:
    moves = {("a", "a"): 40, ("a", "b"): 30, ("b", "b"): 29.99, ("b", "a"): 0.01, ("b", "c"): 0}
    ax: Any = plots.remap_map(moves)
    assert sorted(text.get_text() for text in ax.texts) == ["30.0", "30.0", "40.0", "<0.1"]
    assert ax.get_title(loc="left") == "30.0 % of the keys move"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]


def test_the_map_of_a_remap() -> None:
    change = remap([*"aaaabbbbcc"], [*"aaadbbbddd"])
    ax: Any = plots.remap_map(change)
    assert ax.get_title(loc="left") == "40.0 % of the keys move, at least 40.0 % must"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "d"]
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts == {(0, 0): "30.0", (2, 0): "10.0", (1, 1): "30.0", (2, 1): "10.0", (2, 2): "20.0"}


def test_a_large_map_has_a_scale() -> None:
    for count in (50, 1000):
        ax: Any = plots.remap_map({(number, number + 1): 5 for number in range(count)})
        scale = ax.figure.axes[1]
        assert scale.get_ylabel() == "keys that move (%)"
        assert ax.get_ylabel() == f"{count} backends before"


def test_the_circle_has_the_shares_of_the_ring() -> None:
    ring = HashRing({"a": 2, "b": 1, "c": 0})
    ax: Any = plots.ring_circle(ring)
    turns = {
        to_hex(arcs.get_facecolor()[0]): sum(np.ptp(one.vertices[:, 0]) for one in arcs.get_paths())
        for arcs in ax.collections
    }
    exact = ring.shares()
    drawn = [turns[colour] / (2 * np.pi) for colour in plots.COLOURS[:2]]
    assert drawn == pytest.approx([exact["a"], exact["b"]], abs=0.01)
    assert labels(ax)[2] == "c 0.0 %"


def test_a_circle_of_many_backends_names_the_largest() -> None:
    ax: Any = plots.ring_circle(HashRing({number: 1 + 9 * (number == 7) for number in range(20)}))
    assert len(labels(ax)) == 8
    assert any(label.startswith("7 ") for label in labels(ax))
    assert labels(ax)[-1].startswith("13 others ")


@pytest.mark.parametrize("positions", [0, -1, 1.5, True, None])
def test_the_positions_of_a_circle_are_checked(positions: Any) -> None:
    with pytest.raises(InvalidSetting, match="positions"):
        plots.ring_circle(HashRing(["a"]), positions=positions)


def test_percentiles_are_at_their_places() -> None:
    ax: Any = plots.latency_curves({"a": EXPONENTIAL})
    [line] = ax.lines
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    for rank, place in ((50, 0.30103), (90, 1), (99, 2)):
        exact = float(np.percentile(EXPONENTIAL, rank))
        assert float(np.interp(place, x, y)) == pytest.approx(exact, rel=0.02)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "50", "90", "99", "99.9"]
    assert x[-1] == pytest.approx(-np.log10(5 / 2000))  # where five requests are slower


def test_a_summary_is_drawn_as_its_times_are() -> None:
    class Summary:
        count = 2000

        def percentile(self, q: Any) -> Any:
            return np.sort(EXPONENTIAL)[(q * 19.99).astype(int)]

    result: Any = SimpleNamespace(response=Summary())
    ax: Any = plots.latency_curves({"result": result, "summary": Summary(), "times": EXPONENTIAL})
    first, second, third = (np.asarray(line.get_ydata()) for line in ax.lines)
    assert first.tolist() == second.tolist() == pytest.approx(third, rel=0.05)


def test_the_scale_of_response_times() -> None:
    fast = plots.latency_curves({"a": [0.01, 0.02, 0.03]})
    assert fast.get_ylabel() == "response time (ms)"
    assert fast.get_yscale() == "linear"
    wide = plots.latency_curves({"a": [0.01] * 100, "b": [9.0] * 100})
    assert wide.get_ylabel() == "response time (s)"
    assert wide.get_yscale() == "log"


@pytest.mark.parametrize("times", [{}, {"a": []}])
def test_a_picture_without_response_times_says_so(times: Any) -> None:
    ax = plots.latency_curves(times)
    assert [text.get_text() for text in ax.texts] == ["no response times"]
    assert not plots.latency_curves({**times, "b": [1.0]}).texts


@pytest.mark.parametrize("times", [SimpleNamespace(response=[1.0]), [0.1, 0.2], None])
def test_times_without_labels(times: Any) -> None:
    kind = type(times).__name__
    with pytest.raises(TypeError, match=f"^times must be a mapping of labels, not {kind}$"):
        plots.latency_curves(times)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_times_are_checked(wrong: float) -> None:
    with pytest.raises(InvalidSetting, match=f"times of 'a' must be finite seconds, not {wrong}$"):
        plots.latency_curves({"a": [1.0, wrong]})


@pytest.mark.parametrize("highest", [0, 100, -1, 101, float("nan")])
def test_the_highest_percentile_is_checked(highest: float) -> None:
    with pytest.raises(InvalidSetting, match="highest"):
        plots.latency_curves({"a": [1.0]}, highest=highest)


def test_incidents_are_marked() -> None:
    incidents = [incident(10, 30, "b0 crashes"), incident(12, 20, "b1 is slow")]
    ax: Any = plots.load_over_time(timeline(), incidents=incidents)
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches]
    assert spans == [(10, 30), (12, 20)]
    assert [text.get_text() for text in ax.texts] == ["b0 crashes", "b1 is slow"]
    heights = [text.xyann[1] for text in ax.texts]
    assert heights[0] != heights[1]


def test_the_time_of_a_picture() -> None:
    """Incidents at other times have no text, and the others begin where they can be read."""
    incidents = [incident(10, 30, "early"), incident(40, 99, "long"), incident(110, 120, "late")]
    ax: Any = plots.load_over_time(timeline(), incidents=incidents, between=(50, 100))
    assert ax.get_xlim() == (50, 100)
    assert [text.get_text() for text in ax.texts] == ["long"]
    assert 50 <= ax.texts[0].xy[0] <= 99
    assert ax.get_ylim()[1] > plots.load_over_time(timeline()).get_ylim()[1]


def test_what_is_shown_over_time() -> None:
    lost: Any = plots.load_over_time(timeline(), show="failures").lines[0]
    assert set(lost.get_ydata()) == {20.0}
    first: Any = plots.load_over_time(timeline(), show="requests").lines[0]
    assert list(first.get_ydata()[:3]) == [0, 1, 2]
    assert list(first.get_xdata()[:2]) == [1, 3]
    many = plots.load_over_time(timeline(20))
    assert labels(many) == ["median of 20", "least to greatest"]
    assert labels(plots.load_over_time(timeline(20), backends=["b7", "b3"])) == ["b7", "b3"]
    with pytest.raises(UnknownBackend):
        plots.load_over_time(timeline(20), backends=["b20"])
    with pytest.raises(InvalidSetting, match="show"):
        plots.load_over_time(timeline(), show=cast("Any", "other"))


def test_shared_axes_show_the_highest_values() -> None:
    """Whichever of the Axes is drawn first."""
    pictures: list[Callable[[Any, float], Any]] = [
        lambda ax, size: plots.latency_curves({"a": [size]}, ax=ax),
        lambda ax, size: plots.latency_curves({"a": [size], "b": [size / 100]}, ax=ax),
        lambda ax, size: plots.share_bars({"a": size, "b": 100 - size}, ax=ax),
        lambda ax, size: plots.load_over_time(
            cast("Any", SimpleNamespace(times=np.arange(2.0), in_flight={"a": [0, size]})), ax=ax
        ),
    ]
    for draw in pictures:
        for sizes in ((2.0, 90.0), (90.0, 2.0)):
            figure = Figure()
            for ax, size in zip(figure.subplots(2, 1, sharey=True), sizes, strict=True):
                draw(ax, size)
                assert ax.get_ylim()[1] >= 90 or size == 2
            assert figure.axes[0].get_ylim()[1] >= 90
