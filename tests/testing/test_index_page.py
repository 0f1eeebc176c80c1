"""The tables of the overview are those of the code."""

import re
from inspect import Parameter, signature

from balancers.testing import TRAITS, check_balancer
from tests.testing.tutorial import FOLDER

PAGE = (FOLDER / "index.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, without the column titles."""
    table = PAGE.partition(f"### {heading}\n")[2].partition("\n| ")[2].partition("\n\n")[0]
    return [re.split(r" \| ", line.strip("| ")) for line in table.splitlines()[2:]]


def test_every_trait_is_in_the_table() -> None:
    assert {name.strip("`"): promise for name, promise in rows("Traits")} == TRAITS


def test_every_argument_is_in_the_table_with_its_default() -> None:
    parameters = {
        name: parameter.default
        for name, parameter in signature(check_balancer).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    listed = {name.strip("`"): default for name, default, _ in rows("Other arguments")}
    assert [*listed] == [*parameters]
    for name, default in parameters.items():
        if default is not None:
            assert listed[name] == str(default)
