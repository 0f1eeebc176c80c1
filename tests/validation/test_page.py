"""``docs/validation.md`` has the cells of ``cells.py``; ``make validation`` writes it."""

import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from balancers import __version__
from tests.validation import __main__ as command
from tests.validation import page as page_module
from tests.validation.cells import RUNS
from tests.validation.comparisons import CROSSINGS, ORDERS
from tests.validation.measure import (
    Found,
    Results,
    crosses,
    crossing_of,
    holds,
    less,
    ordered,
    tolerance,
)
from tests.validation.model import Crossing, Figure, Order
from tests.validation.page import PAGE, TABLES, number, page

TEXT = PAGE.read_text(encoding="utf-8")
VERSIONS = {"date": "2026-11-30", "version": "1.2.3", "python": "3.11.7", "numpy": "2.0.0"}


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str, columns: int) -> list[list[str]]:
    """The rows of all tables with so many columns, without their heads."""
    found = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    heads = ("cell", "order", "crossing")
    return [cells for cells in found if len(cells) == columns and cells[0] not in heads]


def perfect() -> Results:
    """Every figure as expected; those that are not known are a little less than the next one."""
    results: Results = {}
    for run in RUNS:
        for cell, figure in zip(run.cells, run.figures, strict=True):
            results[cell] = Found(figure.expected or 0.0, 1e-6, 1000)
    for order in ORDERS:
        for low, high in zip(order.cells, order.cells[1:], strict=False):
            known = results[order.table, low]
            if not known.value:
                value = 0.8 * results[order.table, high].value
                results[order.table, low] = replace(known, value=value)
    return results


# the committed page


def test_the_page_has_every_cell_in_order_with_its_expected_figure() -> None:
    written = sections(TEXT)
    for name, (title, _) in TABLES.items():
        expected = [
            [cell, "–" if figure.expected is None else number(figure.expected)]
            for run in RUNS
            if run.table == name
            for (_, cell), figure in zip(run.cells, run.figures, strict=True)
        ]
        assert [cells[:2] for cells in rows(written[title], 9)] == expected, "make validation"
    assert {run.table for run in RUNS} == {*TABLES}


def test_the_page_has_every_order_and_every_crossing() -> None:
    assert [cells[0] for cells in rows(TEXT, 3)] == [order.name for order in ORDERS]
    assert [cells[0] for cells in rows(TEXT, 5)] == [crossing.name for crossing in CROSSINGS]


def test_everything_on_the_page_holds() -> None:
    verdicts = [cells[-1] for columns in (9, 3, 5) for cells in rows(TEXT, columns)]
    assert {*verdicts} == {"holds", "–"}
    assert verdicts.count("–") == sum(
        figure.expected is None for run in RUNS for figure in run.figures
    )


def test_the_page_says_when_and_by_what_it_was_written() -> None:
    found = re.search(
        r"`make validation` simulates every cell, .* It wrote it on (\d{4}-\d\d-\d\d), with "
        r"balancers ([\w.]+), CPython \d", " ".join(TEXT.split()),
    )  # fmt: skip
    assert found
    assert date.fromisoformat(found[1]) >= date(2026, 11, 30)
    assert found[2] == __version__, "make validation"


def test_the_figures_of_turns_on_the_page_about_choosing_are_those_of_this_page() -> None:
    ours = {cells[0]: float(cells[3]) for cells in rows(sections(TEXT)["Old load information"], 9)}
    choosing = (PAGE.parent / "choosing.md").read_text(encoding="utf-8")
    stated = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", choosing, re.MULTILINE)
    assert [every for every, _, _ in stated] == ["0.1", "0.5", "1"]
    for every, at_random, in_turn in stated:
        assert f"{ours[f'least of all, T = {every}']:.2f}" == at_random
        assert f"{ours[f'least connections, T = {every}']:.2f}" == in_turn
    (two,) = re.findall(r"two choices are better \(([\d.]+)\)", choosing)
    assert f"{ours['2 choices, T = 1']:.2f}" == two


# how it is written


def test_a_page_of_perfect_figures_has_no_miss() -> None:
    written = page(perfect(), **VERSIONS)
    assert "missed" not in written
    assert sorted(cells[0] for cells in rows(written, 9)) == sorted(
        cell for run in RUNS for _, cell in run.cells
    )


@pytest.mark.parametrize(
    ("found", "share", "held"),
    [
        (Found(100.9, 0.0), 0.01, True), (Found(98.9, 0.0), 0.01, False),
        (Found(103.9, 1.0), 0.01, True), (Found(95.9, 1.0), 0.01, False),
        (Found(100.5, 0.1), 0.0, False), (Found(100.39, 0.1), 0.0, True),
        (Found(float("nan"), 0.0), 0.01, False), (Found(100.0, float("nan")), 0.0, False),
    ],
)  # fmt: skip
def test_a_figure_holds_within_the_share_or_four_errors(
    found: Found, share: float, held: bool
) -> None:
    figure = Figure(100.0, "closed form", share=share)
    assert holds(figure, found) == held
    row = page_module.row("a cell", figure, found)
    assert row.endswith("| holds |" if held else "| **missed** |")
    assert ("by interval" in row) == (share == 0)
    assert tolerance(figure, Found(100.0, 2.0)) == 0.08


def test_a_figure_that_is_not_known_always_holds() -> None:
    assert holds(Figure(None, ""), Found(5.0, 1.0))
    assert page_module.row("a", Figure(None, ""), Found(5.0, 1.0, 1500)) == (
        "| a | – | – | 5.0000 | – | 20.00 % | 1 500 | – | – |"
    )


def test_less_is_less_by_four_errors_of_the_difference() -> None:
    assert less(Found(1.0, 0.0), Found(1.1, 0.02))
    assert not less(Found(1.0, 0.0), Found(1.1, 0.03))
    assert not less(Found(1.0, 0.03), Found(1.1, 0.0))
    assert less(Found(0.8), Found(1.0), factor=0.87)
    assert not less(Found(0.9), Found(1.0), factor=0.87)


def test_an_order_needs_every_step() -> None:
    def held(*values: float) -> bool:
        names = [str(place) for place in range(len(values))]
        found = {("t", name): Found(value) for name, value in zip(names, values, strict=True)}
        return ordered(Order("", "t", tuple(names)), found)

    assert held(1, 2, 3)
    assert not held(1, 3, 2)
    assert not held(2, 1, 3)
    assert not held(1, 2, 2)


def test_a_crossing_is_interpolated() -> None:
    figures = {"a": 8.0, "b": 9.0, "c": 12.0}
    crossing = Crossing("", {1: "a", 2: "b", 4: "c"}, {}, "3", (1, 4), constant=10)
    results = {("stale", name): Found(value) for name, value in figures.items()}
    assert crosses(crossing, results)
    assert crossing_of(crossing, results) == pytest.approx(2 + 2 / 3)
    assert not crosses(replace(crossing, between=(1, 2)), results)
    assert not crosses(replace(crossing, constant=7), results)
    assert crossing_of(replace(crossing, constant=99), results) != 0


# the command


def run_command(
    monkeypatch: pytest.MonkeyPatch, results: Results, tmp_path: Any, *arguments: str
) -> int:
    def simulated(*_: object) -> tuple[Results, list[str]]:
        return results, missed(results)

    monkeypatch.setattr(command, "simulated", simulated)
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["validation", *arguments])
    return command.main()


def missed(results: Results) -> list[str]:
    return [
        ": ".join(cell)
        for run in RUNS
        for cell, figure in zip(run.cells, run.figures, strict=True)
        if not holds(figure, results[cell])
    ]


def test_the_command_writes_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert run_command(monkeypatch, perfect(), tmp_path) == 0
    assert (tmp_path / "page.md").read_text("utf-8").startswith("# Validation\n")


@pytest.mark.parametrize("changed", ["cell", "order", "crossing"])
def test_the_command_fails_and_writes_nothing_after_a_miss(
    changed: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = perfect()
    cell = {
        "cell": ("supermarket", "2 choices, load 0.5"),
        "order": ("stale", "least connections, T = 0.5"),
        "crossing": ("stale", "2 choices, T = 50"),
    }[changed]
    results[cell] = Found(results[cell].value * 1.5, 0.0 if changed == "cell" else 10.0, 1)
    assert run_command(monkeypatch, results, tmp_path) == 1
    assert not (tmp_path / "page.md").exists()
    assert "missed:\n" in capsys.readouterr().out
