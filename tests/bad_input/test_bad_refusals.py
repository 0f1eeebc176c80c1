"""No backend can be picked: all are quiesced or avoided; and ``avoid`` is not a collection."""

from typing import Any

import pytest

from balancers import NoBackendAvailable, Pool
from tests.bad_input.samples import (
    CLIENT,
    NOT_COLLECTIONS,
    balancer_state,
    every_kind,
    filled,
    gates_for,
    pool_of,
    pool_state,
)
from tests.kinds import Kind


@every_kind
def test_no_backend_is_available_when_all_are_quiesced(kind: Kind) -> None:
    lb = filled(kind, {"a": 0, "b": 0})
    before = balancer_state(lb)
    for avoid in ((), ["a"], {"a", "b"}):
        with pytest.raises(NoBackendAvailable) as error:
            lb.pick(CLIENT, 0.0, avoid)
        assert (error.value.reason, dict(error.value.counts)) == ("quiesced", {"quiesced": 2})
    assert balancer_state(lb) == before
    with pytest.raises(NoBackendAvailable) as refusal:
        Pool(lb, gates_for(kind)).acquire(0.0, CLIENT)
    assert (refusal.value.reason, dict(refusal.value.counts)) == ("quiesced", {"quiesced": 2})


@every_kind
def test_no_backend_is_available_when_all_are_avoided(kind: Kind) -> None:
    lb = filled(kind)
    before = balancer_state(lb)
    for avoid in (["a", "b"], {"a", "b", "x"}, {"a": 1, "b": 2}.keys(), ("a", "b", "c", "a")):
        with pytest.raises(NoBackendAvailable) as error:
            lb.pick(CLIENT, 0.0, avoid)
        assert error.value.reason == "mixed"
        assert dict(error.value.counts) == {"quiesced": 1, "avoided": 2}
    assert balancer_state(lb) == before
    pool = Pool(filled(kind, {"a": 1, "b": 1}), gates_for(kind))
    before_in_pool = pool_state(pool)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0, CLIENT, avoid=["a", "b"])
    assert (refusal.value.reason, dict(refusal.value.counts)) == ("avoided", {"avoided": 2})
    assert pool_state(pool) == before_in_pool


@every_kind
@pytest.mark.parametrize("avoid", NOT_COLLECTIONS, ids=repr)
def test_avoid_must_be_a_collection_of_backends(kind: Kind, avoid: Any) -> None:
    lb = filled(kind)
    before = balancer_state(lb)
    with pytest.raises(TypeError, match=repr(avoid)):
        lb.pick(CLIENT, 0.0, avoid)
    assert balancer_state(lb) == before
    pool = pool_of(kind)
    before_in_pool = pool_state(pool)
    for prefer in (None, "a", "absent"):
        with pytest.raises(TypeError, match=repr(avoid)):
            pool.acquire(0.0, CLIENT, prefer=prefer, avoid=avoid)
    assert pool_state(pool) == before_in_pool
