"""Several balancers, each with a cluster of its own, that exchange heartbeats."""

import pickle
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import AlreadyInUse, InvalidTime, UnknownBackend
from balancers.redundancy import (
    AnswerSet,
    Cluster,
    FailureDetector,
    MemberChange,
    OwnerChange,
    Owners,
    PhiDetector,
    TimeoutDetector,
)

BALANCERS = ["lb1", "lb2", "lb3"]
ADDRESSES = [f"192.0.2.{i}" for i in range(5)]
DETECTORS = [PhiDetector, lambda: TimeoutDetector(3.0)]


class Node:
    """One balancer: its cluster, and the addresses that it has installed by following changes."""

    def __init__(self, name: str, owners: Owners[str, str], detector: FailureDetector[str]) -> None:
        self.name = name
        self.cluster = Cluster(name, owners, detector, now=0.0)
        self.installed = set(self.cluster.owned)
        self.mirror = self.cluster.owners

    def follow(self, changes: tuple[MemberChange | OwnerChange, ...]) -> None:
        for change in changes:
            if isinstance(change, OwnerChange):
                assert self.mirror.get(change.address) == change.before != change.after
                self.mirror[change.address] = change.after
                if change.after == self.name:
                    self.installed.add(change.address)
                if change.before == self.name:
                    self.installed.remove(change.address)
        assert self.mirror == self.cluster.owners
        assert self.installed == set(self.cluster.owned)


class Network:
    """Balancers that send a heartbeat each second to all others that they can reach."""

    def __init__(self, create: Any = lambda: TimeoutDetector(3.0)) -> None:
        self.create = create
        self.nodes = {name: self.started(name) for name in BALANCERS}
        self.second = 0

    def started(self, name: str) -> Node:
        return Node(name, Owners(ADDRESSES, BALANCERS), self.create())

    def run(self, seconds: int, *parts: str) -> None:
        """Let time pass.  Each part is the balancers that reach each other; others are dead."""
        for _ in range(seconds):
            self.second += 1
            for part in parts or (" ".join(BALANCERS),):
                names = part.split()
                for receiver in names:
                    node = self.nodes[receiver]
                    while node.cluster.due < self.second:
                        node.follow(node.cluster.tick(node.cluster.due))
                    for sender in names:
                        if sender != receiver:
                            node.follow(node.cluster.heartbeat(sender, float(self.second)))

    def owners(self) -> dict[str, list[str]]:
        """The balancers that have each address installed."""
        return {
            address: [name for name in BALANCERS if address in self.nodes[name].installed]
            for address in ADDRESSES
        }


@pytest.mark.parametrize("create", DETECTORS)
def test_a_death_moves_the_addresses_of_the_dead_and_a_return_restores_them(create: Any) -> None:
    network = Network(create)
    network.run(10)
    before = network.owners()
    assert all(len(owners) == 1 for owners in before.values())
    network.run(8, "lb1 lb3")
    dead = network.nodes.pop("lb2")
    network.nodes["lb2"] = network.started("lb2")
    network.nodes["lb2"].installed.clear()
    during = network.owners()
    assert all(len(owners) == 1 for owners in during.values())
    assert {a for a in ADDRESSES if before[a] != during[a]} == dead.installed
    network.nodes["lb2"] = dead
    network.run(1)
    assert network.owners() == before


@pytest.mark.parametrize("create", DETECTORS)
def test_each_part_of_a_divided_network_owns_every_address(create: Any) -> None:
    """Documented, and not prevented: without a third party, neither part can know."""
    network = Network(create)
    network.run(10)
    before = network.owners()
    network.run(8, "lb1", "lb2 lb3")
    assert network.nodes["lb1"].cluster.alive == ("lb1",)
    assert network.nodes["lb2"].cluster.alive == ("lb2", "lb3")
    for owners in network.owners().values():
        assert len(owners) == 2
        assert "lb1" in owners
    network.run(8, "lb1", "lb2", "lb3")
    assert set(map(tuple, network.owners().values())) == {tuple(BALANCERS)}
    network.run(1)
    assert network.owners() == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["heartbeat", "leave", "tick", "due"]),
            st.sampled_from(BALANCERS),
            st.integers(0, 6),
        ),
        max_size=50,
    ),
    st.sampled_from(DETECTORS),
)
def test_owners_are_always_those_of_the_living(
    events: list[tuple[str, str, int]], create: Any
) -> None:
    node = Node("lb1", owners := Owners(ADDRESSES, BALANCERS), create())
    now = 0.0
    for number, (kind, member, half_seconds) in enumerate(events):
        now += half_seconds / 2
        if kind == "heartbeat":
            node.follow(node.cluster.heartbeat(member, now, number=number))
        elif kind == "leave":
            node.follow(node.cluster.leave(member, now, number=number))
        else:
            now = max(now, node.cluster.due) if kind == "due" and node.cluster.due < 1e9 else now
            node.follow(node.cluster.tick(now))
        assert "lb1" in node.cluster.alive
        assert node.cluster.owners == owners.assign(node.cluster.alive)
        assert node.cluster.answer_set({"lb2": "x", "lb3": "y"}).all_dead == (
            node.cluster.alive == ("lb1",)
        )


def test_two_operators_change_the_configuration_in_different_orders() -> None:
    """One adds lb3 first and the other removes an address first: in the end both agree."""
    small = Owners(ADDRESSES, ["lb1", "lb2"])
    steps = {
        "lb1": [Owners(ADDRESSES, BALANCERS), Owners(ADDRESSES[1:], BALANCERS)],
        "lb2": [Owners(ADDRESSES[1:], ["lb1", "lb2"]), Owners(ADDRESSES[1:], BALANCERS[::-1])],
    }
    nodes = {name: Node(name, small, TimeoutDetector(3.0)) for name in ("lb1", "lb2")}
    for name, node in nodes.items():
        for step in steps[name]:
            node.cluster.heartbeat("lb2" if name == "lb1" else "lb1", 1.0)
            changes = node.cluster.update(step, 1.0)
            for change in changes:
                if change.after is None:
                    assert change.address == ADDRESSES[0]
                    assert node.mirror.pop(change.address) == change.before
                    node.installed.discard(change.address)
                else:
                    node.mirror[change.address] = change.after
                    (node.installed.add if change.after == name else node.installed.discard)(
                        change.address
                    )
            node.follow(())
    first, second = nodes["lb1"].cluster, nodes["lb2"].cluster
    assert first.owners == second.owners
    assert set(first.alive) == set(second.alive) == set(BALANCERS)
    assert first.update(steps["lb1"][1], 1.0) == ()


def test_an_update_keeps_what_is_known() -> None:
    cluster = Cluster("lb1", Owners(ADDRESSES, BALANCERS), TimeoutDetector(3.0), now=0.0)
    cluster.leave("lb2", 1.0)
    cluster.heartbeat("lb3", 2.0)
    cluster.update(Owners(ADDRESSES, ["lb1", "lb2", "lb3", "lb4"]), 2.5)
    assert cluster.alive == ("lb1", "lb3", "lb4")
    assert cluster.due == 5.0
    with pytest.raises(UnknownBackend):
        cluster.update(Owners(ADDRESSES, ["lb2"]), 3.0)
    before = pickle.dumps(cluster)
    with pytest.raises(InvalidTime):
        cluster.update(Owners(ADDRESSES, ["lb1"]), float("nan"))
    assert pickle.dumps(cluster) == before
    assert {c.after for c in cluster.update(Owners(ADDRESSES, ["lb1"]), 3.0)} <= {"lb1"}
    assert cluster.owned == tuple(ADDRESSES)
    assert cluster.due == float("inf")


def test_answers_of_a_cluster() -> None:
    cluster = Cluster("lb1", Owners([], BALANCERS), TimeoutDetector(3.0), now=0.0)
    records = {name: f"203.0.113.{name[-1]}" for name in BALANCERS}
    cluster.heartbeat("lb3", 1.0)
    cluster.tick(3.0)
    assert cluster.answer_set(records) == AnswerSet(("203.0.113.1", "203.0.113.3"), False)
    assert cluster.answer_set(records, turn=1, most=1).addresses == ("203.0.113.3",)
    assert cluster.answer_set({"lb2": "203.0.113.2"}) == AnswerSet(("203.0.113.2",), True)


def test_bad_clusters() -> None:
    owners = Owners(ADDRESSES, BALANCERS)
    with pytest.raises(UnknownBackend):
        Cluster("lb9", owners, TimeoutDetector(3.0), now=0.0)
    used: TimeoutDetector[str] = TimeoutDetector(3.0)
    used.add("lb2", 0.0)
    with pytest.raises(AlreadyInUse, match="without members"):
        Cluster("lb1", owners, used, now=0.0)
    fresh: TimeoutDetector[str] = TimeoutDetector(3.0)
    with pytest.raises(InvalidTime):
        Cluster("lb1", owners, fresh, now=float("nan"))
    assert fresh.members == ()
    with pytest.raises(InvalidTime):
        Cluster("lb1", Owners(ADDRESSES, ["lb1"]), fresh, now=float("nan"))
    cluster = Cluster("lb1", owners, fresh, now=0.0)
    assert cluster.heartbeat("lb1", 1.0) == cluster.heartbeat("lb9", 1.0) == ()
    copied = deepcopy(cluster)
    copied.tick(3.0)
    assert (len(cluster.alive), len(copied.alive)) == (3, 1)
    assert repr(copied) == "<Cluster: 1 of 3 alive, 5 addresses owned>"


def test_a_cluster_of_one() -> None:
    cluster = Cluster("lb1", Owners(ADDRESSES, ["lb1"]), PhiDetector(), now=0.0)
    assert cluster.owned == tuple(ADDRESSES)
    assert cluster.due == float("inf")
    assert cluster.tick(1e9) == ()
