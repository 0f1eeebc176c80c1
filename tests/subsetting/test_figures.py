"""The figures of theory: exact numbers, ranges of random draws, and what changes replace."""

import pytest

from tests.depth import runs
from tests.subsetting.figures import (
    PAGE,
    Figure,
    churn_figures,
    even_table,
    exact,
    main,
    random_sizes,
)


def test_the_exact_figures_are_met() -> None:
    figures = list(exact())
    assert len(figures) == 18
    assert not [str(figure) for figure in figures if not figure.met]


def test_changes_replace_as_much_as_theory_says() -> None:
    figures = list(churn_figures())
    assert not [str(figure) for figure in figures if not figure.met]
    exactly = {figure.what: round(figure.value, 4) for figure in figures}
    assert exactly["ringsteady, one joins: replaced"] == 0.003
    assert exactly["ringsteady, one leaves: replaced"] == 0.0033


def test_random_subsets_are_as_uneven_as_theory_says() -> None:
    figures = list(random_sizes(runs(60) // 3))
    assert len(figures) == 6
    assert not [str(figure) for figure in figures if not figure.met]


def test_a_missed_figure_is_reported() -> None:
    assert str(Figure("x", 3, 1, 2)).endswith("MISSED")
    assert str(Figure("x", 2, 1, 2)).endswith("ok")


@pytest.mark.deep
def test_the_command_prints_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert "MISSED" not in capsys.readouterr().out


def test_the_table_of_evenness_is_on_the_page() -> None:
    assert all(row in PAGE.read_text(encoding="utf-8") for row in even_table())
