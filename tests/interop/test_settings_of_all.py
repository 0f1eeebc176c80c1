"""Invalid settings are refused at construction, and the cost of a change does not grow."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancers import BalancersError
from balancers.errors import InvalidSetting, RingTooLarge
from balancers.http import Request
from balancers.interop import caddy, envoy, haproxy, ketama, nginx
from balancers.keys import Murmur3
from tests.work import work_of

SERVERS = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]


INVALID: list[tuple[Any, list[Any], dict[str, Any], str]] = [
    (haproxy.Consistent, [SERVERS], {"hasher": "djb2"}, "djb2"),
    (haproxy.MapBased, [SERVERS], {"hasher": None}, "None"),
    (envoy.Locality, [], {"zone": 5}, "5"),
    (envoy.Header, ["x"], {"pattern": "a+"}, "a+"),
    (envoy.Header, [5], {}, "5"),
    (envoy.Cookie, [7], {}, "7"),
    (envoy.QueryParameter, [None], {}, "None"),
    (envoy.request_hash, [["x"], Request()], {}, "'x'"),
    (envoy.request_hash, [envoy.Header("x"), Request()], {}, "x"),
    (envoy.LeastRequest, [SERVERS], {"rng": None}, "None"),
    (caddy.Rendezvous, [SERVERS], {"fallback": "first"}, "first"),
    (caddy.Rendezvous, [SERVERS], {"fallback": caddy.First}, "First"),
]


@pytest.mark.parametrize(("make", "arguments", "settings", "named"), INVALID)
def test_invalid_settings_are_refused_at_construction(
    make: Any, arguments: list[Any], settings: dict[str, Any], named: str
) -> None:
    with pytest.raises((InvalidSetting, TypeError), match=named):
        make(*arguments, **settings)


def wide(data: bytes) -> int:
    return 1 << 40 | len(data)


def test_a_plain_function_is_used_like_a_haproxy_hash_of_32_bits() -> None:
    """The function may return more bits; the result is as with ``Hash(function)``."""
    for kind in (haproxy.Consistent, haproxy.MapBased):
        plain = kind(dict.fromkeys("abc", 1), hasher=Murmur3())
        wrapped = kind(dict.fromkeys("abc", 1), hasher=haproxy.Hash(Murmur3()))
        assert [plain.pick(f"{i}") for i in range(50)] == [wrapped.pick(f"{i}") for i in range(50)]
    assert haproxy.Consistent([*"abc"], hasher=wide).pick("x") in "abc"


def test_plain_ketama_needs_a_hundred_points_per_server() -> None:
    client = ketama.LibmemcachedKetama[str](f"h{i}" for i in range(60_000))
    assert len(client.weights) == 60_000
    with pytest.raises(RingTooLarge, match=str(160 * 60_000)):
        client.put("h0", 2)
    assert client.weights["h0"] == 1


def test_haproxy_ids_are_the_lowest_free_ones() -> None:
    farm = haproxy.MapBased([*"abcd"])
    rng, ids = Random(3), {name: number for number, name in enumerate("abcd", 1)}
    for number in range(300):
        if rng.random() < 0.5 and ids:
            gone = rng.choice(sorted(ids))
            farm.discard(gone)
            del ids[gone]
        else:
            name = f"s{number}"
            farm.put(name)
            ids[name] = next(i for i in range(1, 1000) if i not in ids.values())
        assert {name: server.id for name, server in farm._servers.items()} == ids


@pytest.mark.parametrize(
    "make",
    [
        nginx.ConsistentHash,
        nginx.Hash,
        nginx.RoundRobin,
        haproxy.MapBased,
        haproxy.Consistent,
        haproxy.LeastConn,
        envoy.RingHash,
        envoy.RoundRobin,
        caddy.Rendezvous,
        ketama.LibmemcachedKetama,
    ],
    ids=lambda make: f"{make.__module__.split('.')[2]}.{make.__name__}",
)
def test_adding_a_server_costs_the_same_in_a_large_farm(make: Callable[[], Any]) -> None:
    lb = make()

    def lines(n: int) -> int:
        """Add servers up to ``n``; return the number of lines executed for the last hundred."""
        for number in range(len(lb.weights), n - 100):
            lb.put(f"10.{number >> 8}.{number & 255}.1:80")
        names = [f"10.{number >> 8}.{number & 255}.1:80" for number in range(n - 100, n)]
        return work_of(lambda: [lb.put(name) for name in names]).lines

    assert lines(400) * 1.2 >= lines(4000)
    assert len(lb.weights) == 4000


def test_nginx_counts_the_points_of_servers_that_are_down() -> None:
    ring = nginx.ConsistentHash({f"10.0.0.{i}:80": 5000 for i in range(1, 6)})
    ring.put("10.0.0.1:80", 0)
    with pytest.raises(BalancersError, match=str(160 * (5 * 5000 + 2000))):
        ring.put("10.0.0.9:80", 2000)
    ring.discard("10.0.0.1:80")
    ring.put("10.0.0.9:80", 2000)
