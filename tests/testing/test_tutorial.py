"""The programs of the pages about testing print what the pages show."""

import re

import pytest

from tests.testing.tutorial import FOLDER, STEPS, output, run

PAGES = "".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md")))


def lasting(text: str) -> str:
    """A report without what depends on the machine and on the version of Python.

    A slow machine runs fewer examples.  ``pickle`` has other words for its refusal since 3.13.
    """
    text = text.replace("Can't get local object", "Can't pickle local object")
    return re.sub(r"holds, \d+ example.*", "holds", text)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_prints_what_its_page_shows(name: str) -> None:
    """After a change of a law or a message, ``python -m tests.testing.tutorial`` writes them."""
    assert f"```{{literalinclude}} {name}.txt" in PAGES
    assert lasting(output(name)) == lasting((FOLDER / f"{name}.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["first_draft", "second_draft", "turns"])
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
    options = ["-q", "--collect-only", "-p", "no:cacheprovider", "-c", "/dev/null"]
    listed = run(["-m", "pytest", *options, "test_tree_choice.py"])
    assert "test_tree_choice.py::TestTreeChoice::test_is_a_balancer" in listed.stdout


def test_every_program_of_the_folder_is_on_a_page() -> None:
    programs = {path.name for path in FOLDER.glob("*.py")} - {"excuse.py"}
    assert programs == set(re.findall(r"\{literalinclude\} (\w+\.py)", PAGES))
