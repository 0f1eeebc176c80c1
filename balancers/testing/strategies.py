"""Provides Hypothesis strategies for tests of balancers.  It needs the package ``hypothesis``.

>>> from hypothesis import given
>>> from balancers import NoBackendAvailable, RoundRobin
>>> from balancers.testing import strategies
>>> @given(strategies.histories())
... def test(history):
...     lb = RoundRobin()
...     members = strategies.apply(history, lb)
...     assert dict(lb.weights) == members
>>> test()
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from balancers import FAILURE, SUCCESS, UNKNOWN, Balancer, Key, Outcome
from balancers.testing._palettes import KEYS, NAMES, WEIGHTS

__all__ = [
    "Arrival",
    "Discard",
    "Put",
    "apply",
    "backends",
    "histories",
    "keys",
    "outcomes",
    "traffic",
    "weights",
]


class Put(NamedTuple):
    """A step of a history: ``put`` inserts a backend or changes its weight.

    >>> Put("a", 2)
    Put(backend='a', weight=2)
    """

    backend: str
    weight: float


class Discard(NamedTuple):
    """A step of a history: ``discard`` removes a backend.

    >>> Discard("a")
    Discard(backend='a')
    """

    backend: str


class Arrival(NamedTuple):
    """One request: it starts at ``start``, takes ``duration``, both in seconds, and ends.

    >>> Arrival(1.5, 0.25, "user-7", SUCCESS).key
    'user-7'
    """

    start: float
    duration: float
    key: Key
    outcome: Outcome


def backends(most: int = 8) -> st.SearchStrategy[str]:
    """Return a strategy for names of backends: one of ``most`` short texts.

    >>> from hypothesis import find
    >>> find(backends(2), lambda backend: backend != "a")
    'b'
    """
    return st.sampled_from(NAMES[:most])


def weights(*, whole: bool = False, zero: bool = True) -> st.SearchStrategy[float]:
    """Return a strategy for weights.

    They are whole numbers only if ``whole``, and include 0 (quiesced) if ``zero``.

    >>> from hypothesis import find
    >>> find(weights(), lambda weight: weight != int(weight))
    0.5
    """
    chosen: list[float] = [weight for weight in WEIGHTS if not whole or weight == int(weight)]
    return st.sampled_from([1, *chosen, *([0] if zero else [])])


def keys() -> st.SearchStrategy[Key]:
    """Return a strategy for keys: texts, bytes and whole numbers of 64 bits.

    Special ones, for example the empty text, are frequent.

    >>> from hypothesis import find
    >>> find(keys(), lambda key: isinstance(key, bytes))
    b''
    """
    numbers = st.integers(-(1 << 63), (1 << 63) - 1)
    special: st.SearchStrategy[Key] = st.sampled_from(KEYS)
    return special | st.text(st.characters(codec="utf-8")) | st.binary() | numbers


def outcomes() -> st.SearchStrategy[Outcome]:
    """Return a strategy for outcomes: successes, failures, unknown ones, some with a duration.

    >>> from hypothesis import find
    >>> find(outcomes(), lambda outcome: outcome.ok is None)
    Outcome(ok=None, elapsed=None, retry_after=None, status=None, first=None)
    """
    timed = st.builds(Outcome, ok=st.sampled_from([True, False]), elapsed=st.floats(0, 60))
    return st.sampled_from([SUCCESS, FAILURE, UNKNOWN]) | timed


def histories(
    most: int = 8, *, whole: bool = False, stacked: bool = False
) -> st.SearchStrategy[list[Put | Discard]]:
    """Return a strategy for histories of a membership, with up to ``most`` backends.

    The weights are whole numbers only if ``whole``.  With ``stacked``, only the backend that joined
    last leaves.

    >>> from hypothesis import find
    >>> find(histories(), lambda history: len(history) == 2)
    [Put(backend='a', weight=1), Put(backend='a', weight=1)]
    """
    puts = st.builds(Put, backends(most), weights(whole=whole))
    steps = st.lists(puts | st.builds(Discard, backends(most)), max_size=30)
    return steps.map(_stacked) if stacked else steps


def _stacked(history: list[Put | Discard]) -> list[Put | Discard]:
    members: list[str] = []
    steps: list[Put | Discard] = []
    for step in history:
        if isinstance(step, Put):
            steps.append(step)
            if step.backend not in members:
                members.append(step.backend)
        elif members:
            steps.append(Discard(members.pop()))
    return steps


def apply(history: Sequence[Put | Discard], balancer: Balancer[Any]) -> dict[str, float]:
    """Perform a history on a balancer, and return the members that it must have then.

    >>> from balancers import RoundRobin
    >>> apply([Put("a", 1), Put("b", 2), Discard("a")], RoundRobin())
    {'b': 2}
    """
    members: dict[str, float] = {}
    for step in history:
        if isinstance(step, Put):
            balancer.put(step.backend, weight=step.weight)
            members[step.backend] = step.weight
        else:
            balancer.discard(step.backend)
            members.pop(step.backend, None)
    return members


def traffic(most: int = 50) -> st.SearchStrategy[list[Arrival]]:
    """Return a strategy for up to ``most`` requests, in the order of their start.

    >>> from hypothesis import find
    >>> find(traffic(), bool)[0].start
    0.0
    """
    request = st.builds(Arrival, st.floats(0, 100), st.floats(0, 10), keys(), outcomes())
    return st.lists(request, max_size=most).map(lambda requests: sorted(requests, key=_start))


def _start(request: Arrival) -> float:
    return request.start
