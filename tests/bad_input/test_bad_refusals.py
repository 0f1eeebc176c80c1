"""Nobody left: all quiesced, everyone avoided, and what is no collection of the avoided."""

from typing import Any

import pytest

from balancers import (
    NoBackendAvailable,
    Pool,
)
from tests.bad_input.samples import (
    CLIENT,
    NO_COLLECTIONS,
    books,
    every_kind,
    filled,
    future,
    gates_for,
    pool_of,
)
from tests.kinds import Kind


@every_kind
def test_all_quiesced(kind: Kind) -> None:
    lb = filled(kind, {"a": 0, "b": 0})
    before = future(lb)
    for avoid in ((), ["a"], {"a", "b"}):
        with pytest.raises(NoBackendAvailable) as error:
            lb.pick(CLIENT, 0.0, avoid)
        assert (error.value.reason, dict(error.value.counts)) == ("quiesced", {"quiesced": 2})
    assert future(lb) == before
    with pytest.raises(NoBackendAvailable) as refusal:
        Pool(lb, gates_for(kind)).acquire(0.0, CLIENT)
    assert (refusal.value.reason, dict(refusal.value.counts)) == ("quiesced", {"quiesced": 2})


@every_kind
def test_everything_avoided(kind: Kind) -> None:
    lb = filled(kind)
    before = future(lb)
    for avoid in (["a", "b"], {"a", "b", "x"}, {"a": 1, "b": 2}.keys(), ("a", "b", "c", "a")):
        with pytest.raises(NoBackendAvailable) as error:
            lb.pick(CLIENT, 0.0, avoid)
        assert error.value.reason == "mixed"
        assert dict(error.value.counts) == {"quiesced": 1, "avoided": 2}
    assert future(lb) == before
    pool = Pool(filled(kind, {"a": 1, "b": 1}), gates_for(kind))
    known = books(pool)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0, CLIENT, avoid=["a", "b"])
    assert (refusal.value.reason, dict(refusal.value.counts)) == ("avoided", {"avoided": 2})
    assert books(pool) == known


@every_kind
@pytest.mark.parametrize("avoid", NO_COLLECTIONS, ids=repr)
def test_avoid_is_a_collection_of_backends(kind: Kind, avoid: Any) -> None:
    lb = filled(kind)
    before = future(lb)
    with pytest.raises(TypeError, match=repr(avoid)):
        lb.pick(CLIENT, 0.0, avoid)
    assert future(lb) == before
    pool = pool_of(kind)
    known = books(pool)
    for prefer in (None, "a", "stranger"):
        with pytest.raises(TypeError, match=repr(avoid)):
            pool.acquire(0.0, CLIENT, prefer=prefer, avoid=avoid)
    assert books(pool) == known
