"""The sums of the weights of the localities of an Envoy cluster."""

import pytest

pytest.importorskip("xxhash")

from balancers.errors import InvalidWeight
from balancers.interop.envoy import Locality, Maglev

ZONES = {"a": Locality(zone="1"), "b": Locality(zone="1"), "c": Locality(zone="2")}


def test_a_locality_without_hosts_is_not_kept() -> None:
    cluster = Maglev(locality=ZONES.__getitem__)
    for _ in range(3):
        for host in "abc":
            cluster.put(host, 2)
        assert cluster._host_weights._totals == {ZONES["a"]: 4, ZONES["c"]: 2}
        cluster.discard("c")
        assert cluster._host_weights._totals == {ZONES["a"]: 4}
        cluster.discard("a")
        cluster.discard("b")
        assert not cluster._host_weights._totals
        assert not cluster._host_weights.last_positive


def test_a_host_that_has_left_does_not_count_for_the_sum() -> None:
    cluster = Maglev(locality=ZONES.__getitem__)
    most = 2**32 - 1
    cluster.put("a", most)
    with pytest.raises(InvalidWeight, match="more than 4294967295"):
        cluster.put("b", 1)
    cluster.put("c", most)
    cluster.discard("a")
    cluster.put("b", most)
    assert dict(cluster.weights) == {"c": most, "b": most}
