"""Means and their errors, with and without control variates, against least squares of numpy."""

from math import inf, nan, sqrt

import numpy as np
import pytest

from balancers.simulation._regression import controlled, plain
from balancers.simulation._student import student_quantile


def least_squares(values: list[float], controls: list[list[float]]) -> tuple[float, float, int]:
    """Return the intercept of a linear regression, its standard error, and the degrees."""
    matrix = np.column_stack([np.ones(len(values)), *controls])
    slopes, *_ = np.linalg.lstsq(matrix, np.array(values), rcond=None)
    rest = np.array(values) - matrix @ slopes
    degrees = len(values) - matrix.shape[1]
    spread = np.linalg.inv(matrix.T @ matrix)[0, 0]
    return float(slopes[0]), sqrt(float(rest @ rest) / degrees * float(spread)), degrees


@pytest.mark.parametrize("count", [6, 7, 8, 20])
def test_controls_are_a_linear_regression(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(50):
        work, gap = (
            (0.01 * rng.normal(size=count)).tolist(),
            (0.02 * rng.normal(size=count)).tolist(),
        )
        values = [
            5 + 30 * a - 10 * b + 0.1 * c
            for a, b, c in zip(work, gap, rng.normal(size=count).tolist(), strict=True)
        ]
        used = [work, gap] if count > 6 else [work]
        assert controlled(values, [work, gap]) == pytest.approx(least_squares(values, used))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_few_runs_use_no_control(count: int) -> None:
    values, controls = [1.0, 2.0, 4.0, 3.0, 5.0][:count], [[0.1, 0.2, 0.3, 0.5, 0.4][:count]] * 2
    assert controlled(values, controls) == plain(values)
    assert plain(values).degrees == count - 1


def test_plain_is_the_mean_and_its_error() -> None:
    assert plain([1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.5, sqrt(5 / 3) / 2, 3))
    assert plain([7.0, 7.0]) == (7.0, 0.0, 1)


@pytest.mark.parametrize("useless", [[0.0] * 9, [0.25] * 9, [nan] * 9, [inf] + [0.1] * 8])
def test_a_useless_control_is_left_out(useless: list[float]) -> None:
    rng = np.random.default_rng(5)
    values, work = rng.normal(size=9).tolist(), rng.normal(size=9).tolist()
    alone = least_squares(values, [work])
    assert controlled(values, [work, useless]) == pytest.approx(alone)
    assert controlled(values, [useless, work]) == pytest.approx(alone)
    assert controlled(values, [useless, useless]) == plain(values)


def test_equal_controls_count_once() -> None:
    rng = np.random.default_rng(5)
    values, work = rng.normal(size=9).tolist(), rng.normal(size=9).tolist()
    for other in (work, [-2 * one for one in work]):
        assert controlled(values, [work, other]) == pytest.approx(least_squares(values, [work]))


def test_values_that_the_controls_explain_have_no_error() -> None:
    work, gap = [0.1 * n for n in range(8)], [0.1 * n**2 for n in range(8)]
    values = [3 + 2 * a - b for a, b in zip(work, gap, strict=True)]
    estimate = controlled(values, [work, gap])
    assert estimate == pytest.approx((3.0, 0.0, 5), abs=1e-9)


@pytest.mark.parametrize("runs", [6, 8])
def test_intervals_cover_the_mean_as_often_as_they_promise(runs: int) -> None:
    """The share of 800 intervals that cover the mean is within 4 standard errors of 90 %."""
    rng = np.random.default_rng(runs)
    hits = {"plain": 0, "controlled": 0}
    widths = {"plain": 0.0, "controlled": 0.0}
    trials = 800
    for _ in range(trials):
        work, gap, noise = rng.normal(size=(3, runs))
        values = (10 + 2 * work - gap + 0.3 * noise).tolist()
        estimates = {
            "plain": plain(values),
            "controlled": controlled(values, [work.tolist(), gap.tolist()]),
        }
        for name, (mean, error, degrees) in estimates.items():
            width = student_quantile(0.9, degrees) * error
            widths[name] += width
            hits[name] += abs(mean - 10) <= width
    bound = 4 * sqrt(0.9 * 0.1 * trials)
    assert abs(hits["plain"] - 0.9 * trials) < bound
    assert abs(hits["controlled"] - 0.9 * trials) < bound
    if runs == 8:
        assert widths["controlled"] < widths["plain"] / 3
