"""The replay of VRRP routers: every recording agrees, and a wrong recording is found.

``python -m tests.parity.test_vrrp_replay [number]`` prints the share of wrong recordings found.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache

import pytest

from balancers.redundancy.vrrp import Action, Announce, Datagram, Send, VirtualRouter
from tests.depth import runs
from tests.parity import vrrp_made, vrrp_rules
from tests.parity.recordings import Tally
from tests.parity.vrrp import replay
from tests.parity.vrrp_damage import DAMAGES, Damage, Recording
from tests.parity.vrrp_page import PAGE, PATHS, table

NAMES = sorted(PATHS)
RULES = {
    rule
    for name, rule in vars(vrrp_rules).items()
    if name.isupper() and isinstance(rule, str) and not name.startswith("_")
}


@cache
def _text(name: str) -> str:
    return PATHS[name].read_text(encoding="utf-8")


def load(name: str) -> Recording:
    loaded: Recording = json.loads(_text(name))
    return loaded


def problems(recording: Recording) -> list[str]:
    tallies: list[Tally] = list(replay(recording))
    return [problem for tally in tallies for problem in tally.problems]


@pytest.mark.parametrize("name", NAMES)
def test_every_recording_agrees(name: str) -> None:
    assert problems(load(name)) == []


def test_every_rule_is_needed_by_a_recording() -> None:
    found: set[str] = set()
    for name in NAMES:
        for tally in replay(load(name)):
            found |= {note.rpartition(" (")[0] for note in tally.notes}
            found |= tally.out_of_scope.keys()
    assert found == RULES


def test_the_page_names_the_rules_and_their_recordings() -> None:
    assert "\n".join(table()) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_names_and_the_time_of_the_recording_decide_nothing(name: str) -> None:
    """The last node comes first, every node has another name, and all is 1000 s later."""
    recording = load(name)
    renamed = {"A": "Z", "B": "Y", "C": "X", "M": "N"}
    recording["name"] = "x"
    recording["meta"] = {renamed.get(key, key): value for key, value in recording["meta"].items()}
    nodes = reversed(recording.get("nodes", {}).items())
    recording["nodes"] = {renamed[node]: configs for node, configs in nodes}
    rows = [row for part in _PARTS for row in recording.get(part, ())]
    for row in (*rows, *(row for configs in recording["nodes"].values() for row in configs)):
        row["t"] += 1000
        if "node" in row:
            row["node"] = renamed[row["node"]]
        if "vips" in row:
            row["vips"] = {renamed[node]: vips for node, vips in row["vips"].items()}
    assert problems(recording) == []


_PARTS = ("events", "packets", "transitions", "log", "checks")


# A record is wrong.


def shares(
    number: int, seed: int, damages: Sequence[Damage] = DAMAGES
) -> Iterator[tuple[str, int, list[str]]]:
    """Yield for each damage the number of damaged recordings, and those that were not found."""
    for damage in damages:
        rng = random.Random(f"{seed} {damage.__name__}")
        tried, missed = 0, list[str]()
        while tried < number:
            name = rng.choice(NAMES)
            recording = deepcopy(load(name))
            if not damage(recording, rng):
                continue
            tried += 1
            try:
                found = bool(problems(recording))
            except Exception:  # noqa: BLE001 - the replay reports it as a failure
                found = True
            if not found:
                missed.append(name)
        yield damage.__name__, tried, missed


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_recordings_are_found(damage: Damage) -> None:
    """A few cannot be found: a packet that no node but its sender should have, for example."""
    for _, tried, missed in shares(runs(400), 2, [damage]):
        assert len(missed) <= tried // 6, missed


# Our router is wrong.


class SlowBackup(VirtualRouter):
    def startup(self, now: float) -> tuple[Action, ...]:
        return super().startup(now + 0.7)


class TiesWin(VirtualRouter):
    def receive(self, datagram: Datagram, now: float) -> tuple[Action, ...]:
        if self.state == "backup" and datagram.payload[2:3] == bytes((self.priority,)):
            return ()
        return super().receive(datagram, now)


class KeepsOnAfterZero(VirtualRouter):
    def receive(self, datagram: Datagram, now: float) -> tuple[Action, ...]:
        return super().receive(datagram, now) if datagram.payload[2] else ()


class NeverYields(VirtualRouter):
    def receive(self, datagram: Datagram, now: float) -> tuple[Action, ...]:
        return super().receive(datagram, now) if self.state == "backup" else ()


class LearnsNothing(VirtualRouter):
    def receive(self, datagram: Datagram, now: float) -> tuple[Action, ...]:
        actions = super().receive(datagram, now)
        snapshot = self.snapshot(now)
        if snapshot.learned_cs:
            down = (1024 - self.priority) * self.interval / 256
            self.restore(snapshot._replace(learned_cs=0, remaining=down), now)
        return actions


class NoAnnouncement(VirtualRouter):
    def tick(self, now: float) -> tuple[Action, ...]:
        return tuple(each for each in super().tick(now) if not isinstance(each, Announce))


class NoResignation(VirtualRouter):
    def shutdown(self, now: float) -> tuple[Action, ...]:
        return tuple(each for each in super().shutdown(now) if not isinstance(each, Send))


class Bursts(VirtualRouter):
    def tick(self, now: float) -> tuple[Action, ...]:
        return (*super().tick(now), *(super().tick(now + self.interval)))


@pytest.mark.parametrize(
    "faulty",
    [
        SlowBackup,
        TiesWin,
        KeepsOnAfterZero,
        NeverYields,
        LearnsNothing,
        NoAnnouncement,
        NoResignation,
        Bursts,
    ],
)
def test_a_faulty_router_is_found(
    faulty: type[VirtualRouter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vrrp_made, "VirtualRouter", faulty)
    assert any(problems(load(name)) for name in NAMES)


if __name__ == "__main__":
    for kind, total, overlooked in shares(int((sys.argv[1:] or ["200"])[0]), seed=1):
        print(f"{kind:<32} {total - len(overlooked)}/{total} found", *sorted(overlooked))  # noqa: T201 - the report
