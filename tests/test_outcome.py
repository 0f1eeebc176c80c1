"""Outcomes equal a frozen dataclass of the same fields, which they were before they were fast."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, astuple, dataclass, fields, replace
from fractions import Fraction
from inspect import signature
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import FAILURE, SUCCESS, UNKNOWN, Outcome
from balancers.errors import InvalidSetting

NAMES = ("ok", "elapsed", "retry_after", "status", "first")
SECONDS = ("elapsed", "retry_after", "first")


@dataclass(frozen=True)
class Reference:
    """The same fields without checks."""

    ok: bool | None = True
    elapsed: float | None = None
    retry_after: float | None = None
    status: int | None = None
    first: float | None = None


seconds = st.none() | st.floats(0, 1e300) | st.integers(0, 10**300)
FIELDS = st.tuples(
    st.sampled_from([True, False, None]),
    seconds,
    seconds,
    st.none() | st.integers(),
    seconds,
)


@given(FIELDS, FIELDS)
def test_an_outcome_is_a_frozen_dataclass(ours: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    outcome, reference = Outcome(*ours), Reference(*ours)
    assert tuple(getattr(outcome, name) for name in NAMES) == ours
    assert repr(outcome) == repr(reference).replace("Reference", "Outcome")
    assert astuple(outcome) == ours
    assert asdict(outcome) == asdict(reference) == dict(zip(NAMES, ours, strict=True))
    assert Outcome(**asdict(outcome)) == outcome
    assert (outcome == Outcome(*other)) is (ours == other)
    assert hash(outcome) == hash(reference)
    others: list[object] = [reference, ours]
    assert all(outcome != other for other in others)


@given(FIELDS)
def test_a_copy_is_equal_and_frozen(values: tuple[Any, ...]) -> None:
    outcome = Outcome(*values)
    texts = [pickle.dumps(outcome, protocol) for protocol in range(6)]
    pickled = [pickle.loads(text) for text in texts]  # noqa: S301 - own
    for twin in (*pickled, copy.copy(outcome), copy.deepcopy(outcome), replace(outcome)):
        assert type(twin) is Outcome
        assert twin == outcome
        assert hash(twin) == hash(outcome)
        assert repr(twin) == repr(outcome)
        with pytest.raises(FrozenInstanceError):
            twin.ok = None  # type: ignore[misc]  # the test of the error


@pytest.mark.parametrize("name", NAMES)
def test_no_field_can_be_changed(name: str) -> None:
    outcome = Outcome(ok=False, elapsed=1.0, retry_after=2.0, status=503, first=0.5)
    before = astuple(outcome)
    with pytest.raises(FrozenInstanceError, match=name):
        setattr(outcome, name, None)
    with pytest.raises(FrozenInstanceError, match=name):
        delattr(outcome, name)
    with pytest.raises((AttributeError, TypeError)):
        outcome.other = 1  # type: ignore[attr-defined]  # the test of the error
    assert astuple(outcome) == before
    assert not hasattr(outcome, "__dict__")


def test_the_fields_have_names_and_defaults() -> None:
    assert tuple(field.name for field in fields(Outcome)) == NAMES == Outcome.__match_args__
    defaults = {name: each.default for name, each in signature(Outcome).parameters.items()}
    assert defaults == asdict(Outcome()) == asdict(SUCCESS)
    assert [SUCCESS.ok, FAILURE.ok, UNKNOWN.ok] == [True, False, None]
    assert replace(FAILURE, status=500, first=0.5) == Outcome(ok=False, status=500, first=0.5)
    with pytest.raises(InvalidSetting, match="first"):
        replace(FAILURE, first=-1.0)


INVALID: list[Any] = [-1.0, -1, nan, inf, -inf, 1e301, 10**301, True, False, "1", b"1", [], 1j]


@pytest.mark.parametrize("value", [*INVALID, np.float32(1), np.int64(1), np.bool_(True)], ids=repr)
@pytest.mark.parametrize("name", SECONDS)
def test_seconds_are_checked(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Outcome(**{name: value})
    expected = f"{name} must be finite seconds, 0 or more, not {value!r}"
    assert str(refused.value) == expected


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 5e-324, 1e300, 10**300, np.float64(2.5)], ids=repr)
@pytest.mark.parametrize("name", SECONDS)
def test_valid_seconds_are_kept(name: str, value: Any) -> None:
    assert getattr(Outcome(**{name: value}), name) is value


@pytest.mark.parametrize("value", [True, False, 200.0, "200", nan, [], np.int64(200)], ids=repr)
def test_the_status_is_checked(value: Any) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Outcome(status=value)
    assert str(refused.value) == f"status must be an int, not {value!r}"


@pytest.mark.parametrize("value", [0, 200, -1, 10**40])
def test_any_int_is_a_status(value: int) -> None:
    assert Outcome(status=value).status == value


@pytest.mark.parametrize("value", ["no", 2, -1, 0.0, 1.0, nan, [], Fraction(1, 2)], ids=repr)
def test_ok_is_checked(value: Any) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Outcome(ok=value)
    assert str(refused.value) == f"ok must be True, False or None, not {value!r}"


@pytest.mark.parametrize("value", [1, 0, np.bool_(True), np.bool_(False)], ids=repr)
def test_ok_becomes_a_bool(value: Any) -> None:
    assert Outcome(ok=value).ok is bool(value)


def test_the_first_invalid_field_is_named() -> None:
    wrong: list[tuple[str, Any]] = [("ok", "x"), *((name, -1.0) for name in NAMES[1:])]
    for number, (name, _) in enumerate(wrong):
        with pytest.raises(InvalidSetting, match=f"^{name} must"):
            Outcome(**dict(wrong[number:]))


def test_an_outcome_has_no_subclasses() -> None:
    make: Callable[..., object] = type
    with pytest.raises(TypeError, match="no subclasses"):
        make("Mine", (Outcome,), {})


def test_an_outcome_of_an_earlier_version_can_be_unpickled() -> None:
    """The state of an outcome was the list of its fields, of which ``first`` is new."""
    outcome = Outcome.__new__(Outcome)
    outcome.__setstate__([False, 0.5, None, 503])  # type: ignore[attr-defined]  # of the dataclass
    assert outcome == Outcome(ok=False, elapsed=0.5, status=503)
