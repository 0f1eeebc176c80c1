"""The page shows what the commands print, all methods, and every name of the JSON documents."""

import re

from tests.command_line.command import text
from tests.command_line.page import PAGE, written

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_outputs_are_those_of_the_commands() -> None:
    """Write them anew with ``python -m tests.command_line.page``."""
    assert written(TEXT) == TEXT


def test_every_name_of_the_documents_is_described() -> None:
    table = TEXT.partition("| command | name | meaning |")[2].partition("\n\n")[0]
    documents = [
        text("predict", "maglev", "a,b", "--explain", "--key", "k", "--down", "a", "--json"),
        text("remap", "a,b", "a,b,c", "a", "--random", "100", "--json"),
        text("compare", "--servers", "2", "--requests", "1000", "--runs", "2", "--json"),
    ]
    names = set(re.findall(r'"([\w.]+)": ', "".join(documents))) - {"s1", "s2"}
    assert len(names) > 40
    assert {name for name in names if f"`{name}`" not in table} == set()
