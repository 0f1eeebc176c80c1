"""A restatement of nginx after its source: the same field names, and a state per request."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random
from typing import Any
from zlib import crc32

from hypothesis import strategies as st

__all__ = ["CLIENTS", "NAMES", "WITH_BACKUPS", "Worker", "cases", "long_run", "points_of"]

WITH_BACKUPS = ("round_robin", "least_conn")
NAMES = [f"10.0.0.{i}:80" for i in range(1, 9)]
CLIENTS = [f"192.0.{i}.1" for i in range(200)]


@dataclass
class RestatedPeer:
    """One peer, with the field names of the source of nginx."""

    line: dict[str, Any]
    cw: int = 0
    conns: int = 0
    fails: int = 0
    accessed: float = -1e9
    checked: float = -1e9
    ew: int = field(init=False)

    def __post_init__(self) -> None:
        self.ew = self.line["weight"]


class Worker:
    """One worker; a request has a list of tried peers, a hash and a number of rejections."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.policy = case["policy"]
        self.peers = [RestatedPeer(server) for server in case["config"]["servers"]]
        self.single = len(self.peers) == 1
        self.now = 0.0
        self.ring = sorted(
            {
                point: peer
                for peer in reversed(range(len(self.peers)))
                for point in points_of(self.peers[peer].line)
            }.items()
        )

    def usable(self, i: int, tried: Collection[int]) -> bool:
        peer, line = self.peers[i], self.peers[i].line
        if i in tried or line["down"] or 0 < line["max_conns"] <= peer.conns:
            return False
        recent = self.now - peer.checked <= line["fail_timeout"]
        return self.single or not (0 < line["max_fails"] <= peer.fails and recent)

    def turn(self, among: list[int]) -> int:
        best, total = -1, 0
        for i in among:
            peer = self.peers[i]
            peer.cw += peer.ew
            total += peer.ew
            if peer.ew < peer.line["weight"]:
                peer.ew += 1
            if best < 0 or peer.cw > self.peers[best].cw:
                best = i
        self.peers[best].cw -= total
        return best

    def without_key(self, tried: Collection[int]) -> int:
        for backup in (False, True):
            among = [
                i
                for i, peer in enumerate(self.peers)
                if peer.line["backup"] == backup and self.usable(i, tried)
            ]
            if among and self.policy == "least_conn":
                ratio = {i: self.peers[i].conns / self.peers[i].line["weight"] for i in among}
                among = [i for i in among if ratio[i] == min(ratio.values())]
                if len(among) == 1:
                    return among[0]
            if among:
                return self.turn(among)
        return -1

    def request(self, key: str, failing: Collection[int]) -> tuple[list[int], int]:
        """Return the peers that were tried, and the one that has the request."""
        tried: list[int] = []
        budget = max(1, sum(not peer.line["down"] for peer in self.peers))
        self.hash, self.rehash, self.rejected = 89 if self.policy == "ip_hash" else 0, 0, 0
        if self.policy == "hash_consistent":
            places = [i for i, (point, _) in enumerate(self.ring) if point >= crc32(key.encode())]
            self.hash = places[0] if places else 0
        while len(tried) < budget:
            i = self.with_key(key, tried)
            if i < 0:
                tried.append(-1)
                break
            peer = self.peers[i]
            if self.now - peer.checked > peer.line["fail_timeout"]:
                peer.checked = self.now
            peer.conns += 1
            tried.append(i)
            if i not in failing:
                return tried, i
            peer.conns -= 1
            if not self.single:
                peer.fails += 1
                peer.accessed = peer.checked = self.now
                if peer.line["max_fails"]:
                    peer.ew = max(0, peer.ew - peer.line["weight"] // peer.line["max_fails"])
        return tried, -1

    def end(self, i: int) -> None:
        peer = self.peers[i]
        peer.conns -= 1
        if peer.accessed < peer.checked:
            peer.fails = 0

    def with_key(self, key: str, tried: list[int]) -> int:
        if self.policy in WITH_BACKUPS or self.single or not key:
            return self.without_key(tried)
        while self.rejected <= 20:
            if self.policy == "hash_consistent":
                i = self.ring[self.hash % len(self.ring)][1]
                if self.usable(i, tried):
                    return self.turn([i])
                self.hash += 1
            else:
                i = self.modulo(key)
                if self.usable(i, tried):
                    return i
            self.rejected += 1
        return self.without_key(tried)

    def modulo(self, key: str) -> int:
        if self.policy == "hash":
            prefix = str(self.rehash) if self.rehash else ""
            self.hash += (crc32((prefix + key).encode()) >> 16) & 0x7FFF
            self.rehash += 1
        else:
            for byte in ip_address(key).packed[: 3 if "." in key else 16]:
                self.hash = (self.hash * 113 + byte) % 6271
        slots = [i for i, peer in enumerate(self.peers) for _ in range(peer.line["weight"])]
        return slots[self.hash % len(slots)]


def points_of(server: dict[str, Any]) -> Iterable[int]:
    host, port = server["server"].split(":")
    point = b"\0\0\0\0"
    for _ in range(160 * server["weight"]):
        value = crc32(host.encode() + b"\0" + port.encode() + point)
        point = value.to_bytes(4, "little")
        yield value


@st.composite
def cases(draw: st.DrawFn, policy: str) -> dict[str, Any]:
    """Generate a few servers of any kind, and operations on them."""
    count = draw(st.integers(1, 5))
    servers: list[dict[str, Any]] = [
        {
            "server": name,
            "weight": draw(st.integers(1, 4)),
            "max_conns": draw(st.sampled_from([0, 0, 0, 1, 2])),
            "max_fails": draw(st.integers(0, 3)),
            "fail_timeout": draw(st.integers(0, 3)),
            "down": draw(st.integers(0, 3)) == 0,
            "backup": policy in WITH_BACKUPS and place > 0 and draw(st.integers(0, 2)) == 0,
        }
        for place, name in enumerate(NAMES[:count])
    ]
    key = st.sampled_from(["", *CLIENTS] if "hash" in policy and policy != "ip_hash" else CLIENTS)
    operations = st.one_of(
        st.tuples(st.just("req"), key),
        st.tuples(st.just("req"), key),
        st.tuples(st.just("open"), key),
        st.tuples(st.just("close"), st.integers(0, 30)),
        st.tuples(st.just("mode"), st.integers(0, count - 1), st.sampled_from(["fail", "ok"])),
        st.tuples(st.just("after"), st.sampled_from([0.25, 1.0, 3.5])),
    )
    ops = draw(st.lists(operations, max_size=40))
    return {"policy": policy, "config": {"servers": servers}, "ops": ops}


def long_run(policy: str) -> dict[str, Any]:
    """Return a long case with many rejections: half of the servers are down, the others flip."""
    rng = Random(policy)
    heavy = [9] * 4 if policy == "hash_consistent" else [40, 25, 35, 40]
    parameters = zip((4, 3, 6, 4), (2, 1, 3, 0), (1, 2, 1, 10), (0, 3, 0, 2), strict=True)
    servers: list[dict[str, Any]] = []
    for weight, (light, max_fails, fail_timeout, max_conns) in zip(heavy, parameters, strict=True):
        shared: dict[str, Any] = {"max_fails": max_fails, "fail_timeout": fail_timeout}
        shared |= {"max_conns": max_conns, "backup": False}
        for down in (True, False):
            name = NAMES[len(servers)]
            servers.append(
                {"server": name, "weight": weight if down else light, "down": down, **shared}
            )
    servers[-1]["backup"] = policy in WITH_BACKUPS
    ops: list[tuple[Any, ...]] = []
    for _ in range(3000):
        key = f"192.{rng.randrange(99)}.{rng.randrange(99)}.1"
        ops += rng.choices(
            [
                ("req", key),
                ("open", key),
                ("close", rng.randrange(6)),
                ("mode", rng.randrange(1, 8, 2), rng.choice(["fail", "ok", "ok"])),
                ("after", 1.0),
            ],
            weights=[8, 3, 3, 2, 2],
        )
    return {"policy": policy, "config": {"servers": servers}, "ops": ops}
