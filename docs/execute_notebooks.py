"""Execute the notebooks, and write their outputs without what differs between machines.

``python docs/execute_notebooks.py [NAME...]`` executes the named notebooks, or all of them.
"""

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["execute", "stripped"]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> None:
    """Execute a notebook in its place.  Raise an exception if a cell does."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, record_timing=False).execute()
    path.write_text(nbformat.writes(stripped(notebook), indent=1) + "\n", encoding="utf-8")


def stripped(notebook: Any) -> Any:
    """Return the notebook without versions, times and names of the machine."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
    return notebook


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        execute(NOTEBOOKS / f"{name}.ipynb")
        print(f"{name}: every cell ran")
