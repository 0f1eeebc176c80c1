"""Configurations that nginx refuses are refused, and nothing has changed then."""

from typing import Any

import pytest

from balancers.errors import (
    DuplicateBackend,
    InvalidKey,
    InvalidSetting,
    InvalidWeight,
    MissingKey,
    RingTooLarge,
)
from balancers.interop import nginx
from tests.interop.nginx_worker import CLIENTS

KEYED = (nginx.Hash, nginx.ConsistentHash, nginx.IPHash)
EVERY = [nginx.RoundRobin, nginx.LeastConn, *KEYED]


@pytest.mark.parametrize(
    "arguments",
    [
        {"address": ""},
        {"address": "\ud800"},
        {"address": "a\n"},
        {"weight": 0},
        {"weight": -1},
        {"weight": 1.5},
        {"weight": True},
        {"max_conns": -1},
        {"max_fails": -1},
        {"fail_timeout": -1},
        {"fail_timeout": 0.5},
        {"backup": 1},
        {"down": None},
    ],
    ids=str,
)
def test_a_server_line_that_nginx_refuses_is_refused(arguments: dict[str, Any]) -> None:
    complete: dict[str, Any] = {"address": "a", **arguments}
    with pytest.raises(InvalidSetting):
        nginx.Server(**complete)


@pytest.mark.parametrize("kind", EVERY)
def test_invalid_servers_are_refused_and_nothing_has_changed(kind: type[nginx.RoundRobin]) -> None:
    upstream = kind({"a": 2, "b": 1})
    for weight in (0.5, -1, float("nan")):
        for name in ("a", "new"):
            with pytest.raises(InvalidWeight):
                upstream.put(name, weight)
    with pytest.raises(DuplicateBackend):
        upstream.add(nginx.Server("a", weight=9))
    with pytest.raises(DuplicateBackend):
        kind(["a", "b", "a"])
    with pytest.raises(InvalidSetting):
        upstream.put("")
    no_text: Any = 7
    for bad in (lambda: upstream.put(no_text), lambda: kind("a:80"), lambda: kind([no_text])):
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(TypeError):
        upstream.pick("192.0.2.1", avoid="a")
    assert upstream.weights == {"a": 2, "b": 1}
    assert {upstream.pick(client) for client in CLIENTS} == {"a", "b"}


def test_backups_are_refused_where_nginx_refuses_them() -> None:
    backup = nginx.Server("b", backup=True)
    for kind in KEYED:
        with pytest.raises(InvalidSetting, match="allows no backup servers, and 'b' is one"):
            kind(["a", backup])
    for other in (nginx.RoundRobin, nginx.LeastConn):
        with pytest.raises(InvalidSetting, match="at least one that is no backup"):
            other([backup])


def test_a_ring_with_too_many_points_is_refused_with_their_number() -> None:
    upstream = nginx.ConsistentHash(["a", "b"])
    with pytest.raises(RingTooLarge, match="needs 160000320 points"):
        upstream.add(nginx.Server("c", weight=1_000_000))
    with pytest.raises(RingTooLarge, match="needs 160000160 points"):
        upstream.put("a", 1_000_000)
    assert upstream.weights == {"a": 1, "b": 1}
    upstream.put("c")
    assert {upstream.pick(client) for client in CLIENTS} == {"a", "b", "c"}


@pytest.mark.parametrize("key", ["not an address", "192.0.2.1:80", b"abc", 7])
def test_ip_hash_needs_an_address(key: Any) -> None:
    upstream = nginx.IPHash(["a", "b"])
    with pytest.raises(InvalidKey):
        upstream.pick(key)
    with pytest.raises(MissingKey):
        upstream.pick()
