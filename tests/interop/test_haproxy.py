"""HAProxy algorithms, compared with plain restatements of the rules of HAProxy."""

import pickle
from collections.abc import Callable, Iterable
from copy import deepcopy
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import Balancer, NoBackendAvailable
from balancers.errors import DuplicateBackend, InvalidWeight
from balancers.interop import haproxy
from balancers.interop.haproxy import Consistent, Hash, LeastConn, MapBased, Server, StaticRR
from balancers.interop.haproxy.farm import Farm

SPREAD = Hash(haproxy.sdbm, avalanche=True)
ALGORITHMS: list[Callable[..., Farm]] = [
    MapBased,
    Consistent,
    StaticRR,
    LeastConn,
    haproxy.First,
    haproxy.RoundRobin,
]
NAMES = [f"s{number}" for number in range(1, 7)]


@st.composite
def farms(draw: st.DrawFn) -> list[Server]:
    """Generate servers of every kind, with or without an id."""
    ids = draw(st.lists(st.integers(1, 60), min_size=6, max_size=6, unique=True))
    return [
        Server(
            name,
            weight=draw(st.integers(0, 9)) * draw(st.sampled_from([1, 1, 2, 10])),
            id=number if draw(st.booleans()) else None,
            backup=draw(st.booleans()),
            disabled=draw(st.integers(0, 3)) == 0,
        )
        for name, number in zip(NAMES[: draw(st.integers(1, 6))], ids, strict=False)
    ]


changes = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 9)), max_size=6)
keys = st.lists(st.one_of(st.none(), st.binary(max_size=5)), min_size=1, max_size=25)


def ids_of(servers: Iterable[Server]) -> dict[str, int]:
    """Return the ids: those of the lines, and the lowest free ones for the others."""
    servers = list(servers)
    taken, free, ids = {server.id for server in servers}, 1, dict[str, int]()
    for server in servers:
        while free in taken:
            free += 1
        ids[server.name] = server.id or free
        free += 1
    return ids


def changed(farm: Farm, servers: list[Server], steps: list[tuple[str, int]]) -> list[Server]:
    """Change the weights of servers; return the servers as they are then, up or down."""
    known = {server.name: server for server in servers}
    current = {server.name: 0 if server.disabled else server.weight for server in servers}
    for name, weight in steps:
        if name in known:
            farm.put(name, weight)
            current[name] = weight
            server = known[name]
            known[name] = Server(name, weight or server.weight, server.id, 0, server.backup)
    return [
        Server(s.name, s.weight, s.id, 0, s.backup, disabled=not current[s.name])
        for s in known.values()
    ]


def serving(servers: list[Server]) -> list[Server]:
    """Return the active servers that are up, or else the backups that are up."""
    up = [server for server in servers if not server.disabled and server.weight]
    return [server for server in up if not server.backup] or up


def slots(servers: list[Server], allbackups: bool) -> list[str]:
    """Fill the slots one by one, by the published rule."""
    divisor = gcd(*(server.weight for server in servers))
    competing = serving(servers)
    weights = {server.name: server.weight // divisor for server in competing}
    alone = bool(competing) and competing[0].backup and not allbackups
    total = next(iter(weights.values())) if alone else sum(weights.values())
    scores = dict.fromkeys(weights, 0)
    filled: list[str] = []
    for _ in range(total):
        best = ""
        for name, weight in weights.items():
            scores[name] += weight
        for name in weights:
            ranks = {each: int((scores[each] + total) / total) for each in (best, name) if each}
            if not best or ranks[name] > ranks[best]:
                best = name
        if total == 1:
            best = next(iter(weights))
        scores[best] -= total
        filled.append(best)
    return filled


def picked(farm: Balancer[str], key: bytes | None = None, avoid: Iterable[str] = ()) -> str:
    try:
        return farm.pick(key, avoid=list(avoid))
    except NoBackendAvailable:
        return ""


@given(farms(), changes, keys, st.booleans())
def test_map_based_and_static_rr_use_the_slots_of_the_rule(
    servers: list[Server], steps: list[tuple[str, int]], requests: list[bytes | None], every: bool
) -> None:
    hashed = MapBased(servers, hasher=SPREAD, allbackups=every)
    turning = StaticRR(servers, allbackups=every)
    for here in (changed(hashed, servers, steps), changed(turning, servers, steps)):
        filled = slots(here, every)
    competing = serving(here)
    single = len(competing) == 1 or (bool(competing) and competing[0].backup and not every)
    turn = 0
    for place, key in enumerate(requests):
        if not filled:
            assert picked(hashed, key) == picked(turning) == ""
            continue
        assert picked(turning) == filled[place % len(filled)]
        if single:
            expected = filled[0]
        elif key is None:
            expected = filled[turn % len(filled)]
            turn += 1
        else:
            expected = filled[SPREAD(key) % len(filled)]
        assert picked(hashed, key) == expected


@given(farms(), changes, keys, st.booleans(), st.sampled_from([0, 101, 150]), st.data())
def test_consistent_picks_the_nearest_point_of_a_server_below_its_bound(
    servers: list[Server],
    steps: list[tuple[str, int]],
    requests: list[bytes | None],
    every: bool,
    factor: int,
    data: st.DataObject,
) -> None:
    farm = Consistent(servers, allbackups=every, balance_factor=factor)
    ids, served = ids_of(servers), dict.fromkeys(NAMES, 0)
    here = {server.name: server for server in serving(changed(farm, servers, steps))}
    points = sorted(
        (haproxy.avalanche(ids[name] * 4096 + number), name)
        for name, server in here.items()
        for number in range(16 * server.weight)
    )
    points_before = {
        server.name: sum(
            16 * other.weight
            for other in servers[:place]
            if other.backup is server.backup and not (other.disabled or server.disabled)
        )
        * bool(server.weight)
        for place, server in enumerate(servers)
    }
    total = len(points)
    last, expected = -1, ""
    for key in requests:
        if not here:
            assert picked(farm, key) == ""
            continue
        first = next(iter(here.values()))
        if len(here) == 1 or (first.backup and not every):
            expected = first.name
        elif key is None:
            last, expected = next((each for each in points if each[0] > last), points[0])
        else:
            digest = SPREAD(key)
            above = next((i for i, each in enumerate(points) if each[0] >= digest), 0)
            after, before = (points[i][0] - digest for i in (above, above - 1))
            start = above - 1 if -before % (1 << 32) <= after % (1 << 32) else above
            each, rest = divmod(((sum(served.values()) + 1) * factor + 99) // 100, total)
            for step in range(total):
                expected = points[(start + step) % total][1]
                mine, before_it = 16 * here[expected].weight, points_before[expected]
                share = mine * each + (before_it + mine) * rest // total - before_it * rest // total
                if not factor or served[expected] < max(1, share):
                    break
        assert picked(farm, key) == expected
        farm.started(expected)
        served[expected] += 1
        if data.draw(st.booleans()):
            ended = data.draw(st.sampled_from([name for name in NAMES if served[name]]))
            farm.finished(ended)
            served[ended] -= 1


def test_a_single_server_does_not_advance_the_turn() -> None:
    farm, fresh = Consistent({"a": 3, "b": 3}), Consistent({"a": 3, "b": 3})
    farm.put("b", 0)
    assert {farm.pick(None) for _ in range(5)} == {"a"}
    farm.put("b", 3)
    assert [farm.pick(None) for _ in range(9)] == [fresh.pick(None) for _ in range(9)]


def test_a_server_that_was_added_down_has_no_points_before_it() -> None:
    servers = [Server("a", 10), Server("b", 15, disabled=True), Server("c", 5, disabled=True)]
    farm = Consistent(servers, balance_factor=110)
    farm.put("b", 15)
    mine = next(f"key-{n}" for n in range(99) if farm.pick(f"key-{n}") == "b")
    farm.started("b")
    # Of 3 slots, its 240 of 400 points give 1 from the start, but 2 after the 160 points of "a".
    assert farm.pick(mine) == "a"
    added_up = Consistent([Server("a", 10), Server("b", 15)], balance_factor=110)
    added_up.started("b")
    assert added_up.pick(mine) == "b"


def as_number(data: bytes) -> int:
    return int.from_bytes(data, "big")


@given(st.integers(0, 95))
def test_halfway_between_two_points_the_one_before_is_used(place: int) -> None:
    farm = Consistent(NAMES, hasher=Hash(as_number))
    points = sorted(
        (haproxy.avalanche((number + 1) * 4096 + step), name)
        for number, name in enumerate(NAMES)
        for step in range(16)
    )
    (low, before), (high, after) = points[place - 1], points[place]
    gap = (high - low) % (1 << 32)
    for offset, owner in [
        (0, before),
        (gap // 2, before),
        (gap // 2 + 1, after),
        (gap, after),
    ]:
        digest = (low + offset) % (1 << 32)
        assert farm.pick(digest.to_bytes(4, "big")) == owner


class PlainLeastConn:
    """A list in the order of queueing, and a linear search for the least load."""

    def __init__(self, servers: list[Server], every: bool) -> None:
        self.backups = {server.name for server in servers if server.backup}
        self.every = every
        self.weights = {server.name: 0 if server.disabled else server.weight for server in servers}
        self.served = dict.fromkeys(self.weights, 0)
        self.queue = [name for name in self.weights if self.weights[name]]

    def load(self, name: str) -> int:
        served = self.served[name]
        return served and (served + 1) * 4096 // (16 * self.weights[name])

    def pick(self) -> str:
        tier = [name for name in self.queue if name not in self.backups]
        if not tier and not self.every:
            return next((name for name in self.weights if name in self.queue), "")
        return min(tier or self.queue, key=self.load, default="")

    def count(self, name: str, change: int) -> None:
        self.served[name] += change
        if name in self.queue:
            self.queue.remove(name)
            self.queue.append(name)

    def put(self, name: str, weight: int) -> None:
        if weight == self.weights[name]:
            return
        self.weights[name] = weight
        if name in self.queue:
            self.queue.remove(name)
        if weight:
            self.queue.append(name)


@given(farms(), st.booleans(), st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-4, 5))))
def test_leastconn_picks_the_least_load_that_was_queued_first(
    servers: list[Server], every: bool, steps: list[tuple[str, int]]
) -> None:
    farm, plain = LeastConn(servers, allbackups=every), PlainLeastConn(servers, every)
    for name, step in steps:
        expected = plain.pick()
        assert picked(farm) == expected
        if step < 0 and expected:
            farm.started(expected)
            plain.count(expected, 1)
        elif step == 0 and plain.served.get(name):
            farm.finished(name)
            plain.count(name, -1)
        elif step > 0 and name in plain.weights:
            farm.put(name, step - 1)
            plain.put(name, step - 1)


def test_leastconn_includes_the_next_request_and_rounds_down() -> None:
    farm = LeastConn({"a": 1, "b": 2})
    for name in ("a", "b", "b"):
        farm.started(name)
    assert farm.pick() == "b"
    close = LeastConn({"a": 255, "b": 256})
    close.started("a")
    close.started("b")
    assert close.pick() == "a"


def test_leastconn_queues_a_server_last_when_its_weight_changes() -> None:
    farm = LeastConn({"a": 1, "b": 1})
    farm.put("a", 3)
    farm.put("b", 1)
    assert farm.pick() == "b"


@given(st.permutations(range(1, 5)), st.lists(st.booleans(), max_size=20))
def test_first_fills_the_lowest_id_that_is_not_full(ids: list[int], opened: list[bool]) -> None:
    farm = haproxy.First([Server(f"s{9 - n}", id=n, maxconn=n, weight=n) for n in ids])
    held: list[str] = []
    for begin in opened:
        free = [n for n in range(1, 5) if held.count(f"s{9 - n}") < n]
        assert picked(farm) == (f"s{9 - free[0]}" if free else "")
        if begin and free:
            held.append(farm.pick())
            farm.started(held[-1])
        elif held:
            farm.finished(held.pop(0))


def test_all_backups_compete_for_the_slots_of_the_first_backup() -> None:
    servers = [
        Server("a", disabled=True),
        *(Server(n, w, backup=True) for n, w in [("b", 2), ("c", 9)]),
    ]
    assert {MapBased(servers).pick(f"key-{i}") for i in range(50)} == {"c"}
    assert Consistent(servers).pick("key") == LeastConn(servers).pick() == "b"
    assert {StaticRR(servers).pick() for _ in range(9)} == {"c"}
    close = [servers[0], *(Server(n, w, backup=True) for n, w in [("b", 3), ("c", 5), ("d", 4)])]
    assert {MapBased(close).pick(f"key-{i}") for i in range(50)} == {"b"}
    turning = StaticRR(close)
    assert [turning.pick() for _ in range(6)] == ["b", "c", "c", "b", "c", "c"]
    even = [
        Server("a", 2, disabled=True),
        *(Server(n, w, backup=True) for n, w in [("b", 2), ("c", 8)]),
    ]
    assert MapBased(even).pick("key") == "b"
    light = [servers[0], Server("b", 1, backup=True), servers[2]]
    assert MapBased(light).pick("key") == "b"


@given(st.lists(st.sampled_from([*NAMES, ""]), max_size=60))
def test_round_robin_picks_a_server_that_comes_up_after_all_the_others(steps: list[str]) -> None:
    farm, queue = haproxy.RoundRobin(NAMES), list(NAMES)
    for name in steps:
        if not name:
            assert picked(farm) == (queue[0] if queue else "")
            queue = queue[1:] + queue[:1]
        elif name in queue:
            farm.put(name, 0)
            queue.remove(name)
        else:
            farm.put(name, 1)
            queue.append(name)


def test_static_rr_keeps_its_place_when_the_slots_change() -> None:
    farm = StaticRR({"a": 1, "b": 1, "c": 1})
    assert [farm.pick() for _ in range(3)] == ["a", "b", "c"]
    farm.put("d")
    assert farm.pick() == "d"


def test_round_robin_refuses_unequal_weights() -> None:
    farm = haproxy.RoundRobin({"a": 3, "b": 3, "c": 0})
    with pytest.raises(InvalidWeight, match="unequal"):
        farm.put("c", 2)
    assert dict(farm.weights) == {"a": 3, "b": 3, "c": 0}
    with pytest.raises(InvalidWeight, match="unequal"):
        farm.add(Server("d", 1))
    assert "d" not in farm.weights
    farm.put("c", 3)
    farm.started("b")
    assert sorted(farm.pick() for _ in range(3)) == ["a", "b", "c"]
    backups = [Server("a", disabled=True), Server("b", 1, backup=True), Server("c", 2, backup=True)]
    assert haproxy.RoundRobin(backups).pick() == "b"
    with pytest.raises(InvalidWeight):
        haproxy.RoundRobin(backups, allbackups=True)


@pytest.mark.parametrize("make", [StaticRR, LeastConn, haproxy.First, haproxy.RoundRobin])
def test_a_full_server_is_skipped_until_a_request_ends(make: Callable[..., Farm]) -> None:
    farm = make([Server("a", maxconn=1), Server("b", maxconn=2)])
    for name in ("a", "b", "b"):
        farm.started(name)
    with pytest.raises(NoBackendAvailable, match="saturated"):
        farm.pick()
    farm.finished("b")
    assert [farm.pick() for _ in range(3)] == ["b", "b", "b"]
    farm.finished("a")
    farm.finished("a")
    assert "a" in {farm.pick() for _ in range(3)}


@pytest.mark.parametrize("make", ALGORITHMS)
class TestEveryAlgorithm:
    def test_avoids_servers_and_reports_why_no_server_is_left(
        self, make: Callable[..., Farm]
    ) -> None:
        farm = make(["a", "b", Server("c", backup=True)])
        for _ in range(4):
            assert farm.pick("k", avoid=["a"]) == "b"
            assert farm.pick("k", avoid={"b"}) == "a"
        with pytest.raises(NoBackendAvailable) as refused:
            farm.pick("k", avoid=["a", "b"])
        assert refused.value.counts == {"avoided": 2, "standby": 1}
        farm.put("a", 0)
        farm.put("b", 0)
        assert farm.pick("k") == "c"
        with pytest.raises(NoBackendAvailable):
            farm.pick("k", avoid=["c"])
        farm.put("c", 0)
        with pytest.raises(NoBackendAvailable, match="quiesced"):
            farm.pick("k")
        with pytest.raises(NoBackendAvailable, match="empty"):
            make().pick("k")
        with pytest.raises(TypeError):
            farm.pick("k", avoid="ab")

    def test_copies_and_pickles_continue_like_the_original(self, make: Callable[..., Farm]) -> None:
        farm = make([Server(name, maxconn=9) for name in "abcde"])
        for number in range(7):
            farm.started(farm.pick(b"%d" % number))
        farm.pick(None)
        farm.put("c", 0)
        farm.pick(None)
        copies = [deepcopy(farm), pickle.loads(pickle.dumps(farm))]  # noqa: S301 - own
        for each in (farm, *copies):
            each.put("c", 1)
            each.finished("b")
        for request in (b"1", None, b"2", b"3", None):
            picks = {each.pick(request) for each in (farm, *copies)}
            assert len(picks) == 1

    def test_removes_a_server_and_reuses_its_id(self, make: Callable[..., Farm]) -> None:
        farm = make(["a", "b"])
        farm.started("a")
        farm.discard("a")
        farm.discard("a")
        farm.finished("a")
        assert farm.pick("k") == "b"
        farm.put("c")
        assert {farm.pick(f"k{number}") for number in range(30)} <= {"b", "c"}
        with pytest.raises(DuplicateBackend):
            farm.add(Server("d", id=1))
        with pytest.raises(DuplicateBackend):
            farm.add(Server("b"))
        assert list(farm.weights) == ["b", "c"]


def test_a_ring_with_few_servers_up_equals_a_ring_of_those() -> None:
    names = [f"s{number}" for number in range(40)]
    farm, few = Consistent(names), Consistent()
    for number in (7, 8, 21):
        few.add(Server(f"s{number}", id=number + 1))
    for name in names:
        if name not in few.weights:
            farm.put(name, 0)
    requests = [f"key-{number}" for number in range(200)]
    assert [farm.pick(key) for key in requests] == [few.pick(key) for key in requests]
    for name in names:
        farm.put(name, 1)
    complete = Consistent(names)
    assert [farm.pick(key) for key in requests] == [complete.pick(key) for key in requests]


@given(st.integers(1, 500), st.sampled_from([(0,), (1,), (0, 2), (1, 2)]), st.booleans())
def test_requests_without_a_key_skip_a_point_if_the_last_point_was_removed(
    turns: int, weights: tuple[int, ...], other: bool
) -> None:
    farm = Consistent(dict.fromkeys(NAMES, 2))

    def ring(weight: int, of: str) -> list[tuple[int, str]]:
        return sorted(
            (haproxy.avalanche((place + 1) * 4096 + number), name)
            for place, name in enumerate(NAMES)
            for number in range(16 * (weight if name == of else 2))
        )

    name = [farm.pick(None) for _ in range(turns)][-1]
    last = ring(2, name)[(turns - 1) % len(ring(2, name))]
    assert last[1] == name
    emptied = [ring(weights[0], name)]
    if other:
        farm.put(name, 3)  # above its greatest weight: all its points are removed and added again
        emptied.insert(0, ring(0, name))
    for weight in weights:
        farm.put(name, weight)
    for left in emptied:
        if last[1] and last not in left:
            last = next((each for each in left if each > last), (-1, ""))
    there = ring(weights[-1], name)
    start = next((place for place, each in enumerate(there) if each > last), 0)
    assert [farm.pick(None) for _ in range(9)] == [
        each[1] for each in (there * 2)[start : start + 9]
    ]
