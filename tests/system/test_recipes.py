"""The recipes of the documentation run, and do what their pages say."""

import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
SAID = {
    "with_asyncio": "{'small': 10, 'large': 20}",
    "with_threads": "3000 served, left in flight: {'a': 0, 'b': 0, 'c': 0}",
    "retry": "100 answered, 3 tries lost, b is unhealthy",
    "own_backend": "('10.0.0.1', 80)\nwest",
}
"""What each prints."""


def test_every_recipe_is_here_and_on_its_page() -> None:
    assert {path.stem for path in RECIPES.glob("*.py")} == set(SAID)
    for name in SAID:
        page = (RECIPES / f"{name}.md").read_text(encoding="utf-8")
        assert f"```{{literalinclude}} {name}.py" in page


@pytest.mark.parametrize("name", SAID)
def test_a_recipe_does_what_its_page_says(name: str) -> None:
    command = [sys.executable, "-W", "error", str(RECIPES / f"{name}.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, SAID[name], "")
