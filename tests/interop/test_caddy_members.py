"""What caddy's policies keep of an upstream that leaves, and policies without a fallback."""

import pytest

pytest.importorskip("xxhash")

from balancers import NoBackendAvailable
from balancers.errors import MissingKey
from balancers.interop.caddy import Rendezvous, WeightedRoundRobin


def test_an_upstream_that_left_has_no_weight_when_it_returns_closed() -> None:
    lb = WeightedRoundRobin({"a": 3, "b": 1})
    lb.discard("a")
    assert lb._last_weights == {"b": 1}
    assert {lb.pick() for _ in range(8)} == {"b"}
    lb.put("a", 0)  # the weight of a new upstream is 0, so it has no part of the sequence
    assert lb._last_weights == {"b": 1, "a": 0}
    lb.discard("b")
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        lb.pick()
    lb.discard("a")
    with pytest.raises(NoBackendAvailable, match="empty"):
        lb.pick()
    assert lb._last_weights == {}


def test_a_policy_without_a_fallback_ignores_the_counts() -> None:
    lb = Rendezvous(["a", "b"])
    before = lb.pick("key")
    lb.started("a", 0.0)
    lb.finished("a")
    assert lb.pick("key") == before
    with pytest.raises(MissingKey):
        lb.pick()
