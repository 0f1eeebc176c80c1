"""The measure of how unevenly sessions are distributed."""

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting, InvalidWeight, UnknownBackend
from balancers.quality import session_skew

WEIGHTS = st.dictionaries(
    st.sampled_from([*"abcdef"]), st.sampled_from([0, 0.5, 1, 2, 7]), min_size=1
)


@given(WEIGHTS, st.data())
def test_shares_add_up_and_the_peak_is_the_largest(
    weights: dict[str, float], data: st.DataObject
) -> None:
    counts = {
        b: data.draw(st.integers(0, 100)) for b in data.draw(st.sets(st.sampled_from([*weights])))
    }
    shares, peak, variation = session_skew(counts, weights)
    assert list(shares) == list(weights)
    if sum(weights.values()):
        assert sum(share.fair for share in shares.values()) == pytest.approx(sum(counts.values()))
    for backend, (sessions, fair, ratio) in shares.items():
        assert sessions == counts.get(backend, 0)
        assert ratio == pytest.approx(sessions / fair if fair else inf if sessions else 0)
        assert peak >= (ratio if fair else 0)
    assert variation >= 0
    on_weighted = sum(counts.get(b, 0) for b, weight in weights.items() if weight)
    if on_weighted == sum(counts.values()) and on_weighted:
        assert peak >= 1 - 1e-12


@given(WEIGHTS)
def test_fair_shares_have_no_skew(weights: dict[str, float]) -> None:
    _, peak, variation = session_skew({b: 10 * weight for b, weight in weights.items()}, weights)
    assert peak == pytest.approx(1)
    assert variation == pytest.approx(0, abs=1e-7)


def test_peak_and_variation() -> None:
    skew = session_skew({"a": 40, "b": 0}, {"a": 1, "b": 1})
    assert (skew.peak, skew.variation) == (2.0, 1.0)
    quiesced = session_skew({"old": 3, "new": 3}, {"old": 0, "new": 1})
    assert tuple(quiesced.shares["old"]) == (3, 0, inf)
    assert (quiesced.peak, quiesced.variation) == (0.5, 0.0)
    assert session_skew({}, {})[1:] == session_skew({}, {"a": 1})[1:] == (1.0, 0.0)


def test_invalid_counts_and_weights() -> None:
    with pytest.raises(UnknownBackend):
        session_skew({"z": 1}, {"a": 1})
    for count in (-1, nan, inf):
        with pytest.raises(InvalidSetting, match="'a'"):
            session_skew({"a": count}, {"a": 1})
    with pytest.raises(InvalidWeight):
        session_skew({"a": 1}, {"a": -1})


def test_very_different_weights_have_a_variation() -> None:
    skew = session_skew({"a": 1e18, "b": 1e18}, {"a": 1e-300, "b": 7})
    assert skew.peak == pytest.approx(3.5e300)
    assert skew.variation == pytest.approx(1)
    beyond = session_skew({"a": 1e300, "b": 1}, {"a": 5e-324, "b": 1})
    assert (beyond.peak, beyond.variation) == (inf, 1.0)


@pytest.mark.parametrize("counts", [[1, 2], None, "ab", 3])
def test_counts_are_a_mapping(counts: Any) -> None:
    with pytest.raises(TypeError, match="counts must be a mapping"):
        session_skew(counts, {"a": 1})
