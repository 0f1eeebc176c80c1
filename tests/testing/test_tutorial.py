"""The programs of the tutorial print what its page shows."""

import re

import pytest

from tests.testing.tutorial import FOLDER, STEPS, output, run

PAGE = (FOLDER / "write_your_own.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_prints_what_the_page_shows(name: str) -> None:
    """If a law or a message has changed: ``python -m tests.testing.tutorial`` writes the outputs."""
    assert f"```{{literalinclude}} {name}.txt" in PAGE
    assert output(name) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["first_draft", "second_draft"])
def test_the_program_of_an_error_runs_as_it_stands(name: str) -> None:
    shown = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    why, _, program = shown.partition("\n\n")
    done = run(["-c", program])
    assert done.returncode == 1
    law, reason = re.findall(r"LawBroken: (\w+): (.*)", why)[0]
    error = done.stderr.splitlines()[-1]
    assert error in {f"AssertionError: {reason}", reason.partition(" raised ")[2]}, law


def test_the_class_of_tests_passes_with_pytest_and_with_unittest() -> None:
    done = run(["-m", "unittest", "test_tree_choice"])
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stderr
    listed = run(["-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "-c", "/dev/null",
                  "test_tree_choice.py"])  # fmt: skip
    assert "test_tree_choice.py::TestTreeChoice::test_is_a_balancer" in listed.stdout


def test_every_program_of_the_folder_is_on_the_page() -> None:
    programs = {path.name for path in FOLDER.glob("*.py")} - {"excuse.py"}
    assert programs == set(re.findall(r"\{literalinclude\} (\w+\.py)", PAGE))
