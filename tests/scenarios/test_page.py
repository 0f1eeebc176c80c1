"""docs/scenarios.md has a section for each scenario, with the lines that the command prints."""

import re

import pytest

from tests.scenarios.__main__ import NAMES, PAGE, find
from tests.scenarios.scenario import Row

TEXT = PAGE.read_text(encoding="utf-8")
NUMBER = r"[\d.e+-]+"
LINE = re.compile(
    rf"\| (?P<name>.+) \| (?P<value>{NUMBER})(?P<unit> \S+)? "
    rf"\| (?P<sign>[≤≥]) (?P<bar>{NUMBER})(?: \S+)? \| \w+ \|"
)
SLOW = {"hot-prefix", "mooncake"}
"""Scenarios that take longer than some seconds.  The command compares them too."""


def section(name: str) -> str:
    """The text of the section of one scenario."""
    found = re.search(rf"^## {name}\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE)
    assert found, f"docs/scenarios.md has no section {name}"
    return found.group(1)


def test_the_sections_are_the_scenarios_in_their_order() -> None:
    headings = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert headings[-1] == "What these figures do not show"
    row = r"^\| \[([\w-]+)\]\(#([\w-]+)\) .* `make scenarios NAME=([\w-]+)` \|$"
    named = re.findall(row, TEXT, re.MULTILINE)
    assert [(name, name, name) for name in headings[:-1]] == named
    assert headings[:-1] == [*NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_each_section_has_its_sentence_and_its_figures(name: str) -> None:
    scenario, text = find(name), section(name)
    assert scenario.NAME == name  # noqa: SIM300 - a constant of the module, not of the test
    lines = [line for line in text.splitlines() if re.search(r"\| (?:met|MISSED) \|$", line)]
    assert lines, "no figures"
    for line in lines:
        found = LINE.fullmatch(line)
        assert found, line
        value, bar = float(found["value"]), float(found["bar"])
        unit = (found["unit"] or "").strip()
        row = Row(found["name"], value, bar, unit, found["sign"] == "≤")
        assert str(row) == line
        assert row.met


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_the_figures_are_those_that_the_command_prints(name: str) -> None:
    lines = section(name).splitlines()
    for row in find(name).rows():
        assert str(row) in lines
        assert row.met
