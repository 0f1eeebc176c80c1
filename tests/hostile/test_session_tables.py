"""Hostile session ids, addresses and headers: bounded tables, and no choice of a backend."""

from random import Random
from typing import Any

import pytest

from balancers import NoBackendAvailable, Pool, RoundRobin
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http import Request
from balancers.sessions import AddressSessions, HeaderSessions, LearnedSessions
from tests.depth import runs
from tests.hostile.shown import shown
from tests.work import work_of

IDS: list[Any] = [
    *(
        "",
        " ",
        "\0",
        "\r\nSet-Cookie: a=b",
        "a" * 1_000_000,
        "é",
        "\U0010ffff",
        "%00",
        "../a",
        "{}",
    ),
    *(b"", b"\0", b"\xff" * 100_000, 0, -1, (1 << 63) - 1),
]
NO_IDS: list[Any] = ["\ud800", "a\udc00b", 1 << 63, -(1 << 64), 1 << 5000]
NO_ADDRESSES: list[Any] = [
    *(
        "unknown",
        "10.0.0.1:80",
        "[::1]",
        "10.0.0.256",
        "010.0.0.1",
        "10.1",
        " 10.0.0.1",
        "10.0.0.1\0",
    ),
    *("\ud800", "x" * 100_000, "1" * 5000, "localhost", "::g", "fe80::1%", "10.0.0.1/8", "-1"),
    *(b"abc", bytes(5), 1, 2**32, 1.5, ("10.0.0.1", 80), True),
]
NAMES = ["a", "b:80", "c"]


def pool() -> Pool[str]:
    return Pool(RoundRobin(NAMES))


def learn(table: LearnedSessions[str], members: Pool[str], session: Any, now: float) -> str:
    lease = members.acquire(now)
    table.learn(session, lease, now)
    members.release(lease, now)
    return lease.backend


@pytest.mark.parametrize("session", IDS, ids=shown)
def test_any_id_is_stored_and_found_in_the_same_space(session: Any) -> None:
    members = pool()
    table = LearnedSessions(members)
    assert table.resolve(session, 0.0).reason == "absent"
    assert len(table) == 0
    backend = learn(table, members, session, 0.0)
    assert table.resolve(session, 1.0).backend == backend
    assert [len(key) for key in table._table] == [16]
    table.forget(session)
    assert len(table) == 0


@pytest.mark.parametrize("session", NO_IDS, ids=shown)
def test_what_is_no_id_is_malformed_in_a_request_and_an_error_in_a_response(session: Any) -> None:
    members = pool()
    table = LearnedSessions(members)
    found = table.resolve(session, 0.0)
    assert (found.backend, found.reason) == (None, "malformed")
    lease = members.acquire(0.0)
    table.issue(lease, 0.0, found)
    with pytest.raises(InvalidKey):
        table.learn(session, lease, 0.0)
    with pytest.raises(InvalidKey):
        table.forget(session)
    assert len(table) == 0


def test_requests_with_invented_ids_store_nothing() -> None:
    rng = Random(1)
    members = pool()
    table = LearnedSessions(members, max_sessions=10)
    known = {
        f"known {number}": learn(table, members, f"known {number}", 0.0) for number in range(10)
    }
    for number in range(runs(20_000)):
        found = table.resolve(rng.randbytes(rng.randrange(40)), 1.0)
        lease = members.acquire(1.0, prefer=found.backend)
        table.issue(lease, 1.0, found)
        members.release(lease, 1.0)
        assert len(table) == 10, number
    assert {session: table.resolve(session, 2.0).backend for session in known} == known
    assert table.evicted == 0


def test_a_flood_of_addresses_stays_inside_the_table() -> None:
    rng = Random(2)
    members = pool()
    table = AddressSessions(members, max_sessions=100)
    for number in range(runs(20_000)):
        address = rng.randbytes(rng.choice((4, 16)))
        found = table.resolve(address, float(number) / 1000)
        lease = members.acquire(0.0, prefer=found.backend)
        table.issue(lease, 0.0, found)
        members.release(lease, 0.0)
        assert len(table) <= 100
        assert table.resolve(address, 0.0).backend == lease.backend
    assert sum(table.counts().values()) == len(table)
    assert work_of(lambda: table.resolve(bytes(16), 0.0)).lines < 200


def test_every_address_of_one_network_is_one_client() -> None:
    rng = Random(3)
    members = pool()
    table = AddressSessions(members, max_sessions=4)
    for _ in range(runs(2000)):
        address = bytes.fromhex("20010db800000001") + rng.randbytes(8)
        found = table.resolve(address, 0.0)
        table.issue(members.acquire(0.0, prefer=found.backend), 0.0, found)
        assert len(table) == 1


@pytest.mark.parametrize("address", NO_ADDRESSES, ids=shown)
def test_what_is_no_address_is_malformed_and_not_stored(address: Any) -> None:
    members = pool()
    table = AddressSessions(members)
    sent: list[Any] = [address, Request(client=address)] if isinstance(address, str) else [address]
    for session in sent:
        found = table.resolve(session, 0.0)
        assert (found.backend, found.reason) == (None, "malformed")
        table.issue(members.acquire(0.0), 0.0, found)
        assert len(table) == 0


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "d",
            "A",
            "a ,b:80",
            "a,b:80",
            "a;",
            '"a"',
            "a\0",
            "a\x0b",
            "b%3A80",
            "b:80:",
            "b",
        ),
        *("a\r\nX: y", "\ud800", "é", "a" * 100_000, "*", "a\u00a0", "\u2028a", "c.", "[a]", "%61"),
    ],
    ids=shown,
)
def test_a_plain_header_chooses_only_by_the_exact_name_of_a_member(value: str) -> None:
    sticky = HeaderSessions(pool(), trusted=True)
    found = sticky.resolve(Request(headers=[("X-Session-Server", value)]), 0.0, 0.0)
    assert found.backend is None
    assert found.reason in {"malformed", "unknown backend"}


@pytest.mark.parametrize(
    "names", [("X-Session-Server",) * 2, ("x-session-server", "X-SESSION-SERVER")]
)
def test_a_repeated_header_binds_nothing(names: tuple[str, str]) -> None:
    sticky = HeaderSessions(pool(), trusted=True)
    for values in (("a", "a"), ("a", "c"), ("", "a"), ("a", "")):
        headers = list(zip(names, values, strict=True))
        found = sticky.resolve(Request(headers=headers), 0.0, 0.0)
        assert (found.backend, found.reason) == (None, "malformed")


@pytest.mark.parametrize("name", ["a b", "é", "", "\0", "a\r\n", "\ud800"])
def test_a_member_that_a_header_cannot_name_is_refused(name: str) -> None:
    with pytest.raises((InvalidSetting, InvalidKey)):
        HeaderSessions(Pool(RoundRobin([name])), trusted=True)


def test_a_binding_to_a_closed_pool_stays_a_refusal() -> None:
    members = pool()
    table = LearnedSessions(members, failover="strict")
    backend = learn(table, members, "session", 0.0)
    for name in NAMES:
        members.set_weight(name, 0, 0.0)
    found = table.resolve("session", 0.0)
    assert members.acquire(0.0, prefer=found.backend, strict=found.strict).backend == backend
    members.remove(backend, 0.0)
    with pytest.raises(NoBackendAvailable):
        members.acquire(0.0, prefer=table.resolve("session", 0.0).backend)
