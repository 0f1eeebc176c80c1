"""The load that counts requests in flight."""

import copy
import pickle

from hypothesis import given
from hypothesis import strategies as st

from balancers.loads import InFlight

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["started", "finished", "removed"]), st.sampled_from("abc"))
)


@given(ACTIONS)
def test_the_load_equals_a_count(actions: list[tuple[str, str]]) -> None:
    load, counts = InFlight[str](), dict.fromkeys("abc", 0)
    for action, backend in actions:
        if action == "started":
            load.started(backend)
            counts[backend] += 1
        elif action == "finished":
            load.finished(backend)
            counts[backend] = max(0, counts[backend] - 1)
        else:
            load.removed(backend)
            counts[backend] = 0
        assert {b: load.value(b, 0.0) for b in "abc"} == counts


def test_requests_are_counted_one_by_one() -> None:
    load = InFlight[str]()
    steps = [load.started] * 3 + [load.finished] * 4 + [load.started]
    values: list[float] = []
    for step in steps:
        step("a")
        values.append(load.value("a", 0.0))
    assert values == [1, 2, 3, 2, 1, 0, 0, 1]
    assert load.value("b", 0.0) == 0


def test_a_copy_counts_on_its_own() -> None:
    load = InFlight[str]()
    load.started("a")
    for twin in (copy.deepcopy(load), pickle.loads(pickle.dumps(load))):  # noqa: S301 - own
        twin.started("a")
        assert (load.value("a", 0.0), twin.value("a", 0.0)) == (1, 2)
