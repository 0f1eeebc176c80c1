"""The recipes of the documentation run and print what is expected."""

import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
OUTPUT = {
    "with_asyncio": "{'small': 10, 'large': 20}",
    "with_threads": "3000 served, still in flight: {'a': 0, 'b': 0, 'c': 0}",
    "retry": "100 answered, 3 attempts failed, b is unhealthy",
    "waiting_room": "{'a': 12, 'b': 24, 'refused': 4}",
    "own_backend": "('10.0.0.1', 80)\nwest",
}
"""The output of each recipe."""


def test_every_recipe_has_an_expected_output_and_a_page() -> None:
    assert {path.stem for path in RECIPES.glob("*.py")} == set(OUTPUT)
    for name in OUTPUT:
        page = (RECIPES / f"{name}.md").read_text(encoding="utf-8")
        assert f"```{{literalinclude}} {name}.py" in page


@pytest.mark.parametrize("name", OUTPUT)
def test_a_recipe_prints_the_expected_output(name: str) -> None:
    command = [sys.executable, "-W", "error", str(RECIPES / f"{name}.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, OUTPUT[name], "")
