"""Saves the picture of a result.  It needs matplotlib."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from balancers._command_line.bad_input import BadInput
from balancers._internal.checks import shown

__all__ = ["Picture"]

_NEEDED = "--plot needs the package matplotlib: install balancers[plots]"


class Picture:
    """Draws one picture without a display, and saves it.

    Raises BadInput if matplotlib is missing, and for the name of a file that cannot be written.
    """

    def __init__(self, path: str) -> None:
        try:
            from matplotlib.backend_bases import FigureCanvasBase  # noqa: PLC0415 - may be missing
        except ImportError as error:
            raise BadInput(_NEEDED) from error
        self._path = Path(path)
        self._format = self._path.suffix[1:].lower()
        known = sorted(FigureCanvasBase.get_supported_filetypes())
        if self._format not in known:
            raise BadInput(f"--plot: {shown(path)} must end in one of .{', .'.join(known)}")
        if "\0" in path or not self._path.parent.is_dir():
            raise BadInput(f"--plot: {shown(str(self._path.parent))} is not a folder")

    def save(self, draw: Callable[[Any], object]) -> None:
        """Draw a picture and save it.  Raises BadInput if it cannot be written."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - may be missing

        from balancers.quality.plots import style  # noqa: PLC0415 - needs matplotlib

        picture = BytesIO()
        with style():
            figure: Any = Figure()  # its annotations are incomplete
            draw(figure.add_subplot())
            undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(self._format, {})
            figure.savefig(picture, format=self._format, metadata=undated)
        try:
            self._path.write_bytes(picture.getvalue())
        except OSError as error:
            raise BadInput(f"--plot: {self._path}: {error.strerror or error}") from error
