"""Configurations that HAProxy refuses are refused, and nothing has changed then."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from balancers.errors import DuplicateBackend, InvalidKey, InvalidSetting, InvalidWeight
from balancers.interop import haproxy
from balancers.interop.haproxy import Consistent, Hash, LeastConn, MapBased, Server, StaticRR
from balancers.interop.haproxy.farm import Farm

ALGORITHMS: list[Callable[..., Farm]] = [
    MapBased,
    Consistent,
    StaticRR,
    LeastConn,
    haproxy.First,
    haproxy.RoundRobin,
]


@pytest.mark.parametrize("make", ALGORITHMS)
class TestEveryAlgorithm:
    @pytest.mark.parametrize("weight", [-1, 257, 1.5, float("nan"), float("inf"), True, "1", None])
    def test_refuses_weights_that_haproxy_refuses(
        self, make: Callable[..., Farm], weight: Any
    ) -> None:
        farm = make(["a"])
        for name in ("a", "b"):
            with pytest.raises(InvalidWeight):
                farm.put(name, weight)
        with pytest.raises(InvalidWeight):
            make({"a": weight})
        assert dict(farm.weights) == {"a": 1}

    def test_refuses_text_as_servers_and_flags_that_are_no_bool(
        self, make: Callable[..., Farm]
    ) -> None:
        with pytest.raises(TypeError):
            make("ab")
        with pytest.raises(InvalidSetting):
            make(["a"], allbackups=1)
        with pytest.raises(DuplicateBackend):
            make(["a", "a"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "ü"},
        {"name": "\ud800"},
        {"name": "a", "weight": -1},
        {"name": "a", "weight": 257},
        {"name": "a", "weight": 1.0},
        {"name": "a", "id": 0},
        {"name": "a", "id": 1 << 31},
        {"name": "a", "maxconn": -1},
        {"name": "a", "backup": 1},
        {"name": "a", "disabled": None},
    ],
)
def test_a_server_line_that_haproxy_refuses_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        Server(**arguments)


def test_settings_out_of_range_are_refused() -> None:
    for factor in (-1, 1, 100, 1.5, True):
        with pytest.raises(InvalidSetting):
            Consistent(balance_factor=cast("Any", factor))
    with pytest.raises(InvalidSetting):
        Consistent([Server("a", id=1 << 20)])
    with pytest.raises(InvalidSetting):
        haproxy.uri("/", length=-1)
    with pytest.raises(TypeError):
        Server(cast("Any", 1))
    with pytest.raises(TypeError):
        Hash(cast("Any", "sdbm"))
    with pytest.raises(InvalidSetting):
        Hash(haproxy.sdbm, avalanche=cast("Any", 1))
    for text in ("\ud800", "a\udfff"):
        with pytest.raises(InvalidKey):
            MapBased(["a", "b"]).pick(text)
        with pytest.raises(InvalidKey):
            haproxy.hdr(text)
