"""Failure detectors beside a model, and what each rule of them promises."""

import pickle
from collections import Counter
from copy import deepcopy
from fractions import Fraction
from math import inf, nan, nextafter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from balancers.errors import DuplicateBackend, InvalidSetting, InvalidTime, UnknownBackend
from balancers.redundancy import FailureDetector, MemberChange, PhiDetector, TimeoutDetector
from tests.depth import runs
from tests.redundancy.heartbeat_traces import TRACES, arrivals, generated
from tests.redundancy.heartbeats import DETECTORS, measured

NAMES = ["a", "b", "c"]
TIMEOUT = 4.0
OWN_PAUSE = 2.0


class DetectorMachine(RuleBasedStateMachine):
    """A time-out beside a dict: the state of each member in the simplest words.

    Times are multiples of a half second, so many events fall on one instant and on deadlines.
    """

    def __init__(self) -> None:
        super().__init__()
        self.detector: TimeoutDetector[str] = TimeoutDetector(TIMEOUT, own_pause=OWN_PAUSE)
        self.now = 0.0
        self.model: dict[str, dict[str, Any]] = {}
        self.drops: Counter[str] = Counter()
        self.alive: set[str] = set()

    def take(self, changes: tuple[MemberChange, ...]) -> list[tuple[str, bool, str]]:
        """Follow the changes, as a user of the detector does."""
        assert [change.at for change in changes] == sorted(change.at for change in changes)
        for change in changes:
            (self.alive.add if change.alive else self.alive.discard)(change.member)
            assert change.at <= self.now
        return [(change.member, change.alive, change.reason) for change in changes]

    @rule(half_seconds=st.integers(0, 8))
    def pass_time(self, half_seconds: int) -> None:
        self.now += half_seconds / 2

    @rule(name=st.sampled_from(NAMES))
    def add(self, name: str) -> None:
        if name in self.model:
            with pytest.raises(DuplicateBackend):
                self.detector.add(name, self.now)
            return
        self.detector.add(name, self.now)
        self.alive.add(name)
        self.model[name] = {
            "alive": True, "since": self.now, "beat": False, "excused": False,
            "incarnation": None, "number": None,
        }  # fmt: skip

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        if name not in self.model:
            with pytest.raises(UnknownBackend):
                self.detector.remove(name)
            return
        self.detector.remove(name)
        self.alive.discard(name)
        del self.model[name]

    def drop(self, name: str, incarnation: int, number: int | None) -> str:
        """Return why a message is dropped."""
        state = self.model.get(name)
        if state is None:
            return "unknown member"
        known, last = state["incarnation"], state["number"]
        if known is not None and incarnation < known:
            return "old incarnation"
        if incarnation == known and None not in {number, last} and number <= last:
            return "old number"
        return ""

    def note(self, name: str, incarnation: int, number: int | None) -> bool:
        """Store the incarnation and the number, and return whether the member has restarted."""
        state = self.model[name]
        known = state["incarnation"]
        state["incarnation"] = incarnation
        if incarnation != known or number is not None:
            state["number"] = number
        return known is not None and incarnation > known

    @rule(
        name=st.sampled_from(NAMES),
        incarnation=st.integers(0, 1),
        number=st.none() | st.integers(0, 3),
    )
    def heartbeat(self, name: str, incarnation: int, number: int | None) -> None:
        changes = self.take(self.detector.heartbeat(name, self.now, incarnation, number))
        if reason := self.drop(name, incarnation, number):
            self.drops[reason] += 1
            assert not changes
            return
        restarted = self.note(name, incarnation, number)
        state = self.model[name]
        if state["beat"] and state["alive"] and not restarted and state["since"] == self.now:
            self.drops["same time"] += number is None
            assert not changes
            return
        was_alive = state["alive"]
        state.update(alive=True, since=self.now, beat=True, excused=False)
        if restarted:
            assert changes == [(name, True, "restarted")]
        else:
            assert changes == ([] if was_alive else [(name, True, "heartbeat")])

    @rule(
        name=st.sampled_from(NAMES),
        incarnation=st.integers(0, 1),
        number=st.none() | st.integers(0, 3),
    )
    def leave(self, name: str, incarnation: int, number: int | None) -> None:
        changes = self.take(self.detector.leave(name, self.now, incarnation, number))
        if reason := self.drop(name, incarnation, number):
            self.drops[reason] += 1
            assert not changes
            return
        self.note(name, incarnation, number)
        was_alive = self.model[name]["alive"]
        self.model[name]["alive"] = False
        assert changes == ([(name, False, "left")] if was_alive else [])

    @rule()
    def tick(self) -> None:
        living = {name: state for name, state in self.model.items() if state["alive"]}
        first = min((state["since"] + TIMEOUT for state in living.values()), default=inf)
        if self.now - first > OWN_PAUSE:
            for state in living.values():
                if not state["excused"]:
                    state.update(since=self.now, beat=False, excused=True)
        late = [
            name
            for name, state in sorted(living.items(), key=lambda item: item[1]["since"])
            if state["since"] + TIMEOUT <= self.now
        ]
        for name in late:
            self.model[name]["alive"] = False
        found = self.take(self.detector.tick(self.now))
        assert sorted(found) == sorted((name, False, "silent") for name in late)

    @rule()
    @precondition(lambda self: self.detector.due < inf)
    def tick_when_due(self) -> None:
        self.now = max(self.now, self.detector.due)
        self.tick()

    @rule(earlier=st.sampled_from([0.5, 100.0]), name=st.sampled_from(NAMES))
    def an_earlier_time_counts_as_the_latest(self, earlier: float, name: str) -> None:
        self.detector.advance(self.now)
        twins = deepcopy(self.detector), deepcopy(self.detector)
        found: list[tuple[list[object], float, bytes]] = []
        for twin, now in zip(twins, (self.now, self.now - earlier), strict=True):
            answers: list[object] = [twin.tick(now)]
            if name in self.model:
                answers += [
                    twin.silence(name, now),
                    twin.heartbeat(name, now),
                    twin.leave(name, now),
                ]
            found.append((answers, twin.due, pickle.dumps(twin)))
        assert found[0] == found[1]

    @rule(how=st.sampled_from(["deep copy", "pickle"]))
    def copy(self, how: str) -> None:
        if how == "pickle":
            self.detector = pickle.loads(pickle.dumps(self.detector))  # noqa: S301 - own
        else:
            self.detector = deepcopy(self.detector)

    @invariant()
    def agrees(self) -> None:
        detector = self.detector
        assert set(detector.alive) == self.alive
        assert self.alive == {name for name, state in self.model.items() if state["alive"]}
        assert detector.members == tuple(self.model)
        assert detector.drops == {k: v for k, v in self.drops.items() if v}
        deadlines = [s["since"] + TIMEOUT for s in self.model.values() if s["alive"]]
        assert detector.due == min(deadlines, default=inf)


TestDetectorMachine = DetectorMachine.TestCase
TestDetectorMachine.settings = settings(max_examples=runs(300), stateful_step_count=30)


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from("ht"), st.integers(1, 4000)), max_size=60),
    st.sampled_from([0.0, 0.5, 3.0]),
)
def test_phi_learns_what_a_list_of_intervals_says(
    window: int, steps: list[tuple[str, int]], pause: float
) -> None:
    """The model keeps a list, and computes from it with fractions."""
    detector: PhiDetector[str] = PhiDetector(
        8.0, window=window, pause=pause, first_interval=0.5, least_deviation=0.05, own_pause=inf
    )
    detector.add("a", now=0.0)
    learned = [Fraction(3, 8), Fraction(5, 8)]
    last, now, alive = None, 0.0, True
    for kind, milliseconds in steps:
        now += milliseconds / 1000
        due = detector.due
        if kind == "t":
            assert len(detector.tick(now)) == (alive and now >= due)
            alive = alive and now < due
            continue
        detector.heartbeat("a", now)
        if last is not None and alive and now < due:
            learned.append(Fraction(now) - Fraction(last))
        last, alive = now, True
        recent = learned[-window:]
        mean = sum(recent) / len(recent)
        variance = sum((each - mean) ** 2 for each in recent) / len(recent)
        deviation = max(0.05, float(variance) ** 0.5)
        assert detector.due - now == pytest.approx(
            float(mean) + pause + 5.612001244 * deviation, abs=1e-4
        )


def test_a_heartbeat_after_a_silence_is_not_learned() -> None:
    detector: PhiDetector[str] = PhiDetector(pause=0.0, own_pause=inf)
    detector.add("a", now=0.0)
    for second in range(1, 50):
        detector.heartbeat("a", float(second))
    before = detector.estimate("a")
    due = detector.due
    assert detector.tick(100.0) == (MemberChange(due, "a", False, "silent"),)
    assert detector.heartbeat("a", 100.0) == (MemberChange(100.0, "a", True, "heartbeat"),)
    assert detector.estimate("a") == before
    detector.heartbeat("a", 300.0)  # late, and nothing has called tick: not learned either
    assert detector.estimate("a") == before
    detector.heartbeat("a", 301.5)
    assert detector.estimate("a") != before


@pytest.mark.parametrize("number", [None, 7])
@pytest.mark.parametrize("late", [False, True])
def test_an_interval_that_ends_when_the_member_is_due_is_late(
    late: bool, number: int | None
) -> None:
    detector: PhiDetector[str] = PhiDetector()
    detector.add("a", now=0.0)
    detector.heartbeat("a", 1.0)
    before, due = detector.estimate("a"), detector.due
    detector.heartbeat("a", due if late else nextafter(due, 0.0), number=number)
    assert (detector.estimate("a") == before) == late


def test_a_restart_forgets_what_was_learned() -> None:
    detector: PhiDetector[str] = PhiDetector()
    fresh: PhiDetector[str] = PhiDetector()
    for each in (detector, fresh):
        each.add("a", now=0.0)
    for tenth in range(1, 200):
        detector.heartbeat("a", tenth / 10, incarnation=7)
    assert detector.estimate("a") != fresh.estimate("a")
    assert detector.heartbeat("a", 20.0, incarnation=8) == (
        MemberChange(20.0, "a", True, "restarted"),
    )
    assert detector.estimate("a") == fresh.estimate("a")
    assert detector.heartbeat("a", 20.1, incarnation=7) == ()
    assert detector.drops == {"old incarnation": 1}


def test_a_late_heartbeat_does_not_undo_a_goodbye() -> None:
    detector: TimeoutDetector[str] = TimeoutDetector(3.0)
    detector.add("a", now=0.0)
    detector.heartbeat("a", 1.0, incarnation=1, number=10)
    assert detector.leave("a", 2.0, incarnation=1, number=12)[0].reason == "left"
    assert detector.heartbeat("a", 2.1, incarnation=1, number=11) == ()
    assert detector.due == inf
    assert detector.heartbeat("a", 9.0, incarnation=2, number=0)[0].reason == "restarted"


def test_a_shorter_interval_may_make_a_member_due_earlier() -> None:
    detector: PhiDetector[str] = PhiDetector(window=1, pause=0.0, first_interval=50.0)
    detector.add("a", now=0.0)
    detector.heartbeat("a", 1.0)
    before = detector.due
    detector.tick(1.0)
    detector.heartbeat("a", 1.5)
    assert detector.due < 3.0 < before
    assert len(detector.tick(detector.due)) == 1


@pytest.mark.parametrize("seconds", [1.0, 2.0, 9.0])
def test_numbers_only_rise(seconds: float) -> None:
    detector: TimeoutDetector[str] = TimeoutDetector(3.0)
    detector.add("a", now=0.0)
    now, expected = 0.0, Counter[str]()
    for incarnation, number, drop in [
        (1, 5, None), (1, 5, "old number"), (1, 4, "old number"), (1, None, None),
        (1, 5, "old number"), (1, 6, None), (2, None, None), (2, 0, None), (2, 0, "old number"),
        (1, 9, "old incarnation"), (2, 10**30, None), (2, 10**30, "old number"), (3, -7, None),
        (3, -6, None),
    ]:  # fmt: skip
        now += seconds
        before = detector.due
        detector.heartbeat("a", now, incarnation, number)
        if drop:
            expected[drop] += 1
            assert detector.due == before
        else:
            assert detector.due == now + 3.0
        assert detector.drops == expected


def test_a_goodbye_of_a_new_incarnation_forgets_the_old_one() -> None:
    detector: PhiDetector[str] = PhiDetector()
    detector.add("a", now=0.0)
    first = detector.estimate("a")
    for tenth in range(1, 50):
        detector.heartbeat("a", tenth / 10, incarnation=1)
    assert detector.estimate("a") != first
    detector.leave("a", 6.0, incarnation=2)
    detector.heartbeat("a", 7.0, incarnation=2)
    assert detector.estimate("a") == first


def test_members_are_suspected_in_the_order_in_which_they_were_due() -> None:
    detector: TimeoutDetector[str] = TimeoutDetector(3.0, own_pause=inf)
    for name in NAMES:
        detector.add(name, now=0.0)
    for now, name in ((1.0, "b"), (2.0, "a")):
        detector.heartbeat(name, now)
    assert [(c.at, c.member) for c in detector.tick(9.0)] == [(3.0, "c"), (4.0, "b"), (5.0, "a")]


def test_our_own_pause_suspects_no_member_at_once() -> None:
    detector: PhiDetector[str] = PhiDetector(own_pause=1.0)
    for name in NAMES:
        detector.add(name, now=0.0)
    for name in NAMES:
        detector.heartbeat(name, now=1.0)
    assert detector.tick(60.0) == ()  # this process was frozen for a minute
    assert detector.due > 63.0
    for name in "ab":
        assert detector.heartbeat(name, 60.5) == ()
    (change,) = detector.tick(detector.due)
    assert (change.member, change.alive) == ("c", False)
    assert detector.alive == ("a", "b")


def test_a_pause_excuses_a_member_once() -> None:
    """A caller that always calls ``tick`` late detects a death all the same."""
    detector: TimeoutDetector[str] = TimeoutDetector(3.0)
    detector.add("a", now=0.0)
    assert detector.tick(10.0) == ()
    assert detector.tick(20.0) == (MemberChange(13.0, "a", False, "silent"),)


def test_a_sender_that_slows_down_at_once_is_suspected_each_time() -> None:
    """This is the price of not learning: see the page."""
    detector: PhiDetector[str] = PhiDetector(pause=0.0)
    detector.add("a", now=0.0)
    time, suspected = 0.0, 0
    for interval in [1.0] * 100 + [5.0] * 100:
        time += interval
        while detector.due < time:
            suspected += len(detector.tick(detector.due))
        detector.heartbeat("a", time)
    assert suspected == 100


@pytest.mark.parametrize("trace", TRACES)
def test_traces_are_what_the_seed_generates(trace: str) -> None:
    assert generated(trace) == "".join(f"{round(1000 * time)}\n" for time in arrivals(trace))


def test_phi_against_a_time_out_on_the_same_heartbeats() -> None:
    found = {
        trace: {name: measured(create(), arrivals(trace)) for name, create in DETECTORS.items()}
        for trace in TRACES
    }
    short, long, sharp, patient = DETECTORS
    assert found["regular"][sharp].false_alarms == 0
    assert found["regular"][sharp].longest < found["regular"][short].detection
    assert found["jittered"][sharp].false_alarms == 0 < found["jittered"][short].false_alarms
    assert found["bursts of loss"][patient].false_alarms == 0
    assert found["bursts of loss"][long].false_alarms > 0
    assert found["bursts of loss"][sharp].false_alarms > found["bursts of loss"][short].false_alarms
    assert found["slowing"][sharp].false_alarms == 0
    assert found["slowing"][long].false_alarms > 500


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0}, "threshold must be above 0"),
        ({"threshold": nan}, "threshold must be above 0"),
        ({"threshold": 2e6}, "threshold must be above 0"),
        ({"threshold": "8"}, "threshold must be a number"),
        ({"threshold": True}, "threshold must be a number"),
        ({"window": 0}, "window must be an int, 1 or more"),
        ({"window": 1_000_001}, "window must be up to 1000000"),
        ({"window": 10.0}, "window must be an int"),
        ({"least_deviation": 0}, "least_deviation must be 1e-09 to"),
        ({"least_deviation": inf}, "least_deviation must be 1e-09 to"),
        ({"least_deviation": 5e-324}, "least_deviation must be 1e-09 to"),
        ({"first_interval": 5e-324}, "first_interval must be 1e-09 to"),
        ({"pause": -1}, "pause must be 1e-09 to"),
        ({"pause": nan}, "pause must be 1e-09 to"),
        ({"first_interval": 0}, "first_interval must be 1e-09 to"),
        ({"first_interval": 1e10}, "first_interval must be 1e-09 to"),
        ({"own_pause": 0}, "own_pause must be positive"),
        ({"own_pause": nan}, "own_pause must be positive"),
    ],
)
def test_invalid_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        PhiDetector(**settings)


@pytest.mark.parametrize("timeout", [0, -1, nan, inf, "3", None, True])
def test_invalid_timeouts(timeout: Any) -> None:
    with pytest.raises(InvalidSetting, match="timeout"):
        TimeoutDetector(timeout)


@pytest.mark.parametrize("create", [PhiDetector, lambda: TimeoutDetector(3.0)])
def test_bad_calls_change_nothing(create: Any) -> None:
    detector: FailureDetector[Any] = create()
    detector.add("a", now=0)
    detector.heartbeat("a", now=1, incarnation=1, number=1)
    before = pickle.dumps(detector)
    for now in (nan, inf, -inf, "1", None, True, 1e301, 10**400):
        for method in (detector.tick, detector.advance):
            with pytest.raises(InvalidTime):
                method(now)  # type: ignore[arg-type]  # refused
        for with_member in (detector.heartbeat, detector.leave, detector.silence):
            with pytest.raises(InvalidTime):
                with_member("a", now)  # type: ignore[arg-type]  # refused
        with pytest.raises(InvalidTime):
            detector.add("b", now)  # type: ignore[arg-type]  # refused
    for bad in (1.0, True, "1", nan, None):
        with pytest.raises(InvalidSetting, match="incarnation must be an int"):
            detector.heartbeat("a", 2.0, incarnation=bad)  # type: ignore[arg-type]  # refused
        with pytest.raises(InvalidSetting, match="incarnation must be an int"):
            detector.leave("a", 2.0, incarnation=bad)  # type: ignore[arg-type]  # refused
        if bad is not None:
            with pytest.raises(InvalidSetting, match="number must be an int"):
                detector.heartbeat("a", 2.0, 1, number=bad)  # type: ignore[arg-type]  # refused
    for call in (detector.heartbeat, detector.leave, detector.add):
        with pytest.raises(TypeError):
            call([], 2.0)
    for unknown in (detector.is_alive, detector.remove):
        with pytest.raises(UnknownBackend):
            unknown("x")
    with pytest.raises(UnknownBackend):
        detector.silence("x", 1.0)
    with pytest.raises(DuplicateBackend):
        detector.add("a", 2.0)
    assert pickle.dumps(detector) == before


def test_members_are_any_hashable_objects() -> None:
    detector: TimeoutDetector[Any] = TimeoutDetector(3.0)
    members = [("10.0.0.1", 80), 7, b"x", "ü", frozenset({1}), object()]
    for member in members:
        detector.add(member, 0.0)
    changes = detector.tick(3.0)
    assert [change.member for change in changes] == members
    copied = deepcopy(detector)
    assert copied.members == detector.members
    copied.remove(members[0])
    assert len(detector.members) == len(members)
    assert repr(detector) == "<TimeoutDetector: 3 s, 0 of 6 alive>"
    assert repr(PhiDetector()) == "<PhiDetector: threshold 8, 0 of 0 alive>"
