"""The style of all pictures, and what the functions that draw them share."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any, cast

import matplotlib as mpl
from cycler import cycler
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from balancers._internal.checks import shown

__all__ = [
    "COLOURS",
    "GRID",
    "HATCHES",
    "LINES",
    "MUTED",
    "axes_of",
    "ink_of",
    "legend",
    "limit",
    "names_of",
    "style",
    "text_colour",
    "text_of",
    "write_names",
]

COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#f0e442",
)  # fmt: skip
"""The colours of Okabe and Ito, and a grey in place of their black: blue, orange, green, purple,
sky blue, vermilion, grey, yellow.  Each differs from the next one in grayscale too."""
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "--", "++")
"""The hatch of the areas in each of the :data:`COLOURS`."""
LINES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (9, 2)),
    (0, (3, 1, 1, 1, 1, 1)), (0, (2, 3)), (0, (8, 1.5, 1.5, 1.5)),
)  # fmt: skip
"""The line style of the lines in each of the :data:`COLOURS`, as matplotlib takes it."""
_MPL: Any = mpl  # the annotations of matplotlib are incomplete
_FONTS: Any = font_manager
GRID, MUTED = "#d9d9d9", "#b8b8b8"
_SIZE = (6.0, 3.0)  # inches; in a page of 360 pixels the text is still 8 pixels high
_SQUARE = (4.6, 4.6)
_LONGEST = 28  # letters of a name
_LETTER = 0.088  # the width of a letter in inches
_HANDLE = 0.55  # the width of an entry of a legend without its name
_WHITE, _BLACK = "#ffffff", "#000000"
_LINEAR = 0.04045  # where the curve of sRGB begins
_BRIGHT = 0.179  # the luminance with the same contrast to black and to white

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.facecolor": _WHITE,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": "#222222",
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=LINES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "figure.edgecolor": _WHITE,
    "figure.facecolor": _WHITE,
    "figure.figsize": _SIZE,
    "figure.titlesize": "medium",
    "figure.titleweight": "bold",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "image.cmap": "cividis",
    "legend.fontsize": "small",
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.6,
    "patch.linewidth": 0.7,
    "savefig.dpi": 120,
    "savefig.facecolor": _WHITE,
    "savefig.transparent": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "balancers",
    "text.color": "#222222",
    "xtick.color": "#444444",
    "xtick.labelcolor": "#222222",
    "ytick.color": "#444444",
    "ytick.labelcolor": "#222222",
}


def style() -> AbstractContextManager[None]:
    r"""Return a context in which matplotlib draws in the style of this package.

    After it, ``matplotlib.rcParams`` are as before.  Lines get the :data:`COLOURS` together with
    the :data:`LINES`.  The font is left as it is: set ``rcParams["font.family"]`` to a list that
    contains a font with the characters of your names.  Characters that are in none of these fonts
    are shown as escapes such as ``\u5317``.

    >>> import matplotlib.pyplot as plt
    >>> with style():
    ...     figure, ax = plt.subplots()
    ...     [line] = ax.plot([1, 4, 9])
    ...     line.get_color()
    ...     plt.close(figure)
    '#0072b2'
    """
    return cast("AbstractContextManager[None]", _MPL.rc_context(_STYLE))


def text_colour(background: Any) -> str:
    """Return black or white, whichever has the higher contrast to a background.

    ``background`` is any colour that matplotlib takes.  The contrast is that of WCAG 2, and it is
    4.5 or higher.

    >>> text_colour("#0072b2"), text_colour("#f0e442")
    ('#ffffff', '#000000')
    """
    parts = [
        part / 12.92 if part <= _LINEAR else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(background)
    ]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return _BLACK if luminance > _BRIGHT else _WHITE


class _Picture(Axes):
    """Axes that a notebook shows as a picture."""

    name = "balancers picture"

    def _repr_png_(self) -> bytes:
        return _png(self)


class _Round(PolarAxes):
    """The same, for circles."""

    name = "balancers circle"

    def _repr_png_(self) -> bytes:
        return _png(self)


def _png(axes: Any) -> bytes:
    file = BytesIO()
    with style():
        axes.figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def axes_of(ax: Axes | None, *, circle: bool = False, height: float = _SIZE[1]) -> Any:
    """Return the Axes to draw on: the given one, or that of a new figure in the style.

    ``height`` is that of a new figure, in inches.  The result is typed as Any, because matplotlib's
    own annotations are incomplete.
    """
    if ax is not None:
        if not isinstance(ax, Axes):
            raise TypeError(f"ax must be Axes of matplotlib, not {type(ax).__name__}")
        if circle != isinstance(ax, PolarAxes):
            kind = "polar" if circle else "rectangular"
            raise TypeError(f"ax must be {kind} Axes, not {type(ax).__name__}")
        return ax
    with style():
        figure = Figure(figsize=_SQUARE if circle else (_SIZE[0], height), layout="constrained")
        return figure.add_subplot(axes_class=_Round if circle else _Picture)


def ink_of(axes: Any) -> Any:
    """Return the colour of the labels, which is legible on the background of the Axes."""
    return axes.xaxis.label.get_color()


def text_of(thing: object) -> str:
    """Return the text of anything.  Python refuses to print an int of many digits."""
    try:
        return str(thing)
    except ValueError:
        return shown(thing)


def names_of(things: Iterable[object]) -> list[str]:
    """Return what to write for each backend: its text, shortened, and without any markup."""
    fonts = [
        _FONTS.get_font(_FONTS.findfont(_FONTS.FontProperties(family=[name])))
        for name in _MPL.rcParams["font.family"]
    ]

    def legible(letter: str) -> str:
        covered = letter.isprintable() and any(font.get_char_index(ord(letter)) for font in fonts)
        return letter if covered else letter.encode("unicode_escape").decode()

    return [_plain("".join(map(legible, _shortened(text_of(thing))))) for thing in things]


def _shortened(text: str) -> str:
    """Return a text with its middle left out if it is long: names differ at their ends."""
    text = text.replace("\n", " ").replace("\t", " ")
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[1 - half :]}"


def _plain(text: str) -> str:
    """Return a text in which matplotlib finds no formula, and which a legend does not leave out."""
    text = text.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def write_names(axes: Any, backends: list[Any], *, upright: bool = False) -> None:
    """Write the names of backends below the axis, vertically if there is not enough room."""
    names = names_of(backends)
    room = axes.get_position().width * axes.figure.get_size_inches()[0]
    upright = upright or sum(len(name) + 2 for name in names) * _LETTER > room
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)


def limit(axes: Any, lowest: float, highest: float) -> None:
    """Set the limits of the values, which may be shared with other Axes that show higher ones."""
    axes.set_ylim(lowest, max(axes.get_ylim()[1], 1.05 * highest))


def legend(
    axes: Any, handles: list[Any], names: list[str], *, wide: bool = False, **where: Any
) -> None:
    """Add a legend if there is something to distinguish, ``wide`` with as many columns as fit."""
    if handles:
        room = axes.figure.get_size_inches()[0] * axes.get_position().width
        fit = int(room / (_LETTER * max(map(len, names)) + _HANDLE))
        rows = -(-len(names) // max(1, fit)) if wide else len(names)
        where["ncols"] = -(-len(names) // rows)  # as many in each row
        look = {"frameon": False, "fontsize": "small", "handlelength": 2.6, **where}
        axes.legend(handles, names, labelcolor=ink_of(axes), **look)
