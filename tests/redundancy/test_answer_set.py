"""What a DNS server answers when balancers are dead."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.redundancy import AnswerSet, answer_set

NAMES = [f"lb{i}" for i in range(7)]
ADDRESSES = {name: f"192.0.2.{i}" for i, name in enumerate(NAMES)}


@given(
    st.lists(st.sampled_from(NAMES), unique=True),
    st.sets(st.sampled_from([*NAMES, "unknown"])),
    st.integers(0, 10**30),
    st.none() | st.integers(1, 10),
)
def test_the_dead_are_left_out(
    names: list[str], alive: set[str], turn: int, most: int | None
) -> None:
    addresses = {name: ADDRESSES[name] for name in names}
    living = [name for name in names if name in alive]
    found = answer_set(addresses, alive, turn, most)
    assert found.all_dead == (not living)
    answered = [addresses[name] for name in living or names]
    size = len(answered) if most is None else min(most, len(answered))
    assert len(found.addresses) == size
    assert found.addresses == tuple(
        answered[(turn + place) % len(answered)] for place in range(size)
    )


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.integers(1, 7), st.integers(0, 100))
def test_each_address_is_first_once_and_all_are_answered_equally_often(
    alive: set[str], most: int, start: int
) -> None:
    answers = [answer_set(ADDRESSES, alive, start + i, most).addresses for i in range(len(alive))]
    assert sorted(answer[0] for answer in answers) == sorted(ADDRESSES[name] for name in alive)
    assert set(Counter(a for answer in answers for a in answer).values()) == {min(most, len(alive))}


def test_all_dead_are_all_answered_and_it_says_so() -> None:
    assert answer_set(ADDRESSES, []) == AnswerSet(tuple(ADDRESSES.values()), True)
    assert answer_set(ADDRESSES, {}, turn=3, most=1) == AnswerSet(("192.0.2.3",), True)
    assert answer_set({}, ["lb1"]) == AnswerSet((), True)


NESTED: list[Any] = []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"turn": -1}, InvalidSetting),
        ({"turn": 1.0}, InvalidSetting),
        ({"turn": True}, InvalidSetting),
        ({"most": 0}, InvalidSetting),
        ({"most": 2.5}, InvalidSetting),
        ({"alive": "lb1"}, TypeError),
        ({"alive": None}, TypeError),
        ({"alive": iter(["lb1"])}, TypeError),
        ({"alive": [NESTED]}, TypeError),
        ({"addresses": ["192.0.2.1"]}, TypeError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    usual: dict[str, Any] = {"addresses": ADDRESSES, "alive": ["lb1"]}
    with pytest.raises(error):
        answer_set(**{**usual, **arguments})
