"""Each notebook is one claim with its proof and its outputs; the documentation executes them."""

import ast
import base64
import builtins
import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
EARLIER = {"consistent_hashing", "fairness_and_smoothness"}
"""Those that compare several methods, and have no single claim."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[Any]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(path, "code"))


@every_notebook
def test_a_notebook_begins_with_its_claim_and_asserts_it(path: Path) -> None:
    title = "".join(cells(path, "markdown")[0]["source"]).splitlines()[0]
    assert title.startswith("# ")
    if path.stem not in EARLIER:
        assert len(title.split()) >= 7, "a sentence"
    asserted = [n for n in ast.walk(ast.parse(source(path))) if isinstance(n, ast.Assert)]
    assert len(asserted) >= 4


@every_notebook
def test_the_outputs_are_there_and_say_nothing_about_the_machine(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    pictures = 0
    for number, cell in enumerate(notebook["cells"]):
        assert cell["metadata"] == {}
        assert cell["id"] == f"cell-{number:02}"
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"
            assert output.get("metadata", {}) == {}
            pictures += "image/png" in output.get("data", {})
            assert not re.search(r"0x[0-9a-f]{6}|/tmp/|/home/|/root/", json.dumps(output)[:2000])
    counts = [cell["execution_count"] for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    assert pictures >= 1


@every_notebook
def test_pictures_are_small(path: Path) -> None:
    for cell in cells(path, "code"):
        for output in cell["outputs"]:
            data = output.get("data", {}).get("image/png", "")
            assert len(base64.b64decode(data)) < 200_000


@every_notebook
def test_randomness_has_a_seed_and_sliders_are_optional(path: Path) -> None:
    text = source(path)
    assert not re.search(r"\bRandom\(\)|default_rng\(\)|import random\b|np\.random\.\w+\(", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "ipywidgets":
            assert re.search(r"try:\n    from ipywidgets import \w+\nexcept ImportError:", text)
    if path.stem not in EARLIER:
        assert "ipywidgets" in text


@every_notebook
def test_the_last_cell_stands_alone(path: Path) -> None:
    """Five lines from nothing to a picture: no name of the cells above is used."""
    if path.stem in EARLIER:
        return
    last = "".join(cells(path, "code")[-1]["source"])
    tree = ast.parse(last)
    bound = {alias.asname or alias.name for node in ast.walk(tree)
             if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}  # fmt: skip
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    stored = {node.id for node in ast.walk(tree)
              if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}  # fmt: skip
    unknown = used - stored - bound - set(dir(builtins))
    assert unknown == set()
    assert len(tree.body) <= 5
    assert any("image/png" in each.get("data", {}) for each in cells(path, "code")[-1]["outputs"])
