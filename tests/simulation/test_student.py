"""Quantiles of Student's t distribution, against published tables and in their properties."""

from math import inf, pi, tan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.simulation._student import student_quantile

CONFIDENCES = (0.9, 0.95, 0.98, 0.99, 0.999)
TABLE: dict[float, tuple[float, ...]] = {
    1: (6.3138, 12.7062, 31.8205, 63.6567, 636.6192),
    2: (2.9200, 4.3027, 6.9646, 9.9248, 31.5991),
    3: (2.3534, 3.1824, 4.5407, 5.8409, 12.9240),
    4: (2.1318, 2.7764, 3.7469, 4.6041, 8.6103),
    5: (2.0150, 2.5706, 3.3649, 4.0321, 6.8688),
    6: (1.9432, 2.4469, 3.1427, 3.7074, 5.9588),
    7: (1.8946, 2.3646, 2.9980, 3.4995, 5.4079),
    8: (1.8595, 2.3060, 2.8965, 3.3554, 5.0413),
    9: (1.8331, 2.2622, 2.8214, 3.2498, 4.7809),
    10: (1.8125, 2.2281, 2.7638, 3.1693, 4.5869),
    15: (1.7531, 2.1314, 2.6025, 2.9467, 4.0728),
    20: (1.7247, 2.0860, 2.5280, 2.8453, 3.8495),
    30: (1.6973, 2.0423, 2.4573, 2.7500, 3.6460),
    40: (1.6839, 2.0211, 2.4233, 2.7045, 3.5510),
    60: (1.6706, 2.0003, 2.3901, 2.6603, 3.4602),
    120: (1.6577, 1.9799, 2.3578, 2.6174, 3.3735),
    500: (1.6479, 1.9647, 2.3338, 2.5857, 3.3101),
    1000: (1.6464, 1.9623, 2.3301, 2.5808, 3.3003),
    inf: (1.6449, 1.9600, 2.3263, 2.5758, 3.2905),
}
"""Two-sided quantiles, from the tables of statistics textbooks."""


@pytest.mark.parametrize("degrees", TABLE)
def test_published_tables(degrees: float) -> None:
    computed = [round(student_quantile(confidence, degrees), 4) for confidence in CONFIDENCES]
    assert computed == list(TABLE[degrees])


@given(st.floats(1e-6, 1 - 1e-6))
def test_closed_forms_of_one_and_two_degrees(confidence: float) -> None:
    assert student_quantile(confidence, 1) == pytest.approx(tan(pi * confidence / 2), rel=1e-8)
    two = confidence * (2 / (1 - confidence**2)) ** 0.5
    assert student_quantile(confidence, 2) == pytest.approx(two, rel=1e-8)


@given(st.floats(0.01, 0.9999), st.integers(1, 2000))
def test_quantiles_fall_with_the_degrees_and_grow_with_the_confidence(
    confidence: float, degrees: int
) -> None:
    here = student_quantile(confidence, degrees)
    assert here > student_quantile(confidence, degrees + 1) > student_quantile(confidence, inf)
    assert here > student_quantile(confidence * 0.99, degrees)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_series_and_the_expansion_meet(confidence: float) -> None:
    """The two formulas change at 500 degrees, and there the quantile has no jump."""
    before, last, after, later = (student_quantile(confidence, n) for n in (499, 500, 501, 502))
    assert last - after == pytest.approx(before - last, rel=0.02)
    assert after - later == pytest.approx(last - after, rel=0.02)
