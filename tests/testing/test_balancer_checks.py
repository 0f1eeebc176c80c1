"""The functions that check a balancer: what they accept, return and raise."""

import pickle
import subprocess
import sys
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Any
from unittest import TestCase
from unittest import TestResult as Result
from unittest import TestSuite as Suite

import pytest

from balancers import LeastConnections, RandomChoice, Rendezvous, RoundRobin
from balancers.errors import InvalidSetting
from balancers.testing import TRAITS, LawBroken, LawReport, balancer_laws, check_balancer
from balancers.testing.laws import BALANCER_LAWS
from tests.testing.subjects import Endless, GlobalRandom, Leaking, Stuck, Unseeded, seeded

ROOT = Path(__file__).parents[2]


def broken(*arguments: Any, **options: Any) -> LawBroken:
    with pytest.raises(LawBroken) as caught:
        check_balancer(*arguments, **options)
    return caught.value


def test_a_right_balancer_gets_a_report() -> None:
    report = check_balancer(RoundRobin, ["rotating"], examples=20)
    assert isinstance(report, LawReport)
    assert report.subject == "RoundRobin"
    assert report.traits == ("rotating",)
    names = [law.name for law in BALANCER_LAWS if law.applies({"rotating"})]
    assert [result.law for result in report.results] == names
    assert str(report).splitlines()[0] == "RoundRobin (rotating), seed 0"
    assert report.comparisons == 0


def test_there_are_enough_laws_and_each_is_described() -> None:
    assert len({law.name for law in BALANCER_LAWS}) == len(BALANCER_LAWS) >= 28
    for law in BALANCER_LAWS:
        for part in ("Why: ", "How it is tested: ", "What it cannot see: "):
            assert part in law.page, law.name
        assert law.needs | law.without <= set(TRAITS)


def test_a_breach_has_a_law_a_sentence_and_a_program() -> None:
    error = broken(Stuck, examples=100, laws=["picks_only_eligible_backends"])
    assert error.law == "picks_only_eligible_backends"
    assert "was picked, which is not eligible" in error.why
    assert isinstance(error, AssertionError)
    assert error.why in str(error)
    assert error.program in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - own
    assert (again.law, again.why, again.program) == (error.law, error.why, error.program)


@pytest.mark.parametrize("subject", [Stuck, Leaking, GlobalRandom])
def test_the_program_runs_in_another_process_and_fails(subject: Any) -> None:
    traits = ["least_loaded"] if subject is Leaking else []
    program = broken(subject, traits, examples=300).program
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "AssertionError" in run.stderr


def test_the_program_of_a_local_class_contains_the_class() -> None:
    limit = 2

    class Local(RoundRobin[str]):
        def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
            if len(self.weights) > limit:
                return "z"
            return super().pick(key, now, avoid)

    for factory in (Local, lambda: Local(), partial(Local)):  # noqa: PLW0108 - a lambda is meant
        program = broken(factory, laws=["picks_only_eligible_backends"]).program
        assert "class Local(RoundRobin[str]):" in program
        assert "limit = 2" in program
        with pytest.raises(AssertionError):
            exec(program, {})  # noqa: S102 - the program of a law


def test_the_same_seed_gives_the_same_program() -> None:
    first, second = (
        broken(Leaking, laws=["started_and_finished_cancel"], seed=3) for _ in range(2)
    )
    assert first.program == second.program
    assert first.law == second.law


def test_a_program_is_short() -> None:
    program = broken(Stuck, laws=["picks_only_eligible_backends"], examples=300).program
    assert len(program.splitlines()) <= 12


def test_a_pick_that_never_ends_is_ended() -> None:
    error = broken(Endless, laws=["refuses_in_bounded_work"], examples=50)
    assert "more than 100000 lines" in error.why


def test_an_example_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balancers.testing._runner._STUCK", 0.3)
    error = broken(Endless, laws=["refuses_exactly_when_none_is_eligible"], examples=50)
    assert "did not end within 0.3 s" in error.why


def test_a_global_generator_is_named() -> None:
    error = broken(GlobalRandom, laws=["touches_no_clock_and_no_global_random"], examples=100)
    assert "random.random" in error.why


def test_a_generator_without_a_seed_is_not_deterministic() -> None:
    error = broken(Unseeded, ["weighted", "random"], laws=["hash_order_decides_nothing"])
    assert "let the factory take rng" in error.why
    check_balancer(seeded, ["weighted", "random"], examples=10)


def test_a_factory_gets_a_generator_if_it_takes_one() -> None:
    seen: list[Any] = []

    def make(*, rng: Random) -> RandomChoice[str]:
        seen.append(rng)
        return RandomChoice(rng=rng)

    check_balancer(make, ["random", "weighted"], examples=10, laws=["draws_are_independent"])
    assert seen
    assert all(isinstance(rng, Random) for rng in seen)


@pytest.mark.parametrize("wrong", [dict, lambda: None, lambda: RoundRobin(["a"]), lambda: 1 / 0])
def test_what_cannot_be_driven_gives_one_message(wrong: Any) -> None:
    error = broken(wrong)
    assert error.law == "preflight"
    assert "no law can be tested" in error.why


def test_a_factory_must_return_a_new_balancer() -> None:
    one = RoundRobin[str]()
    assert "must return a new balancer at each call" in broken(lambda: one).why


def test_traits_must_agree_with_keyed() -> None:
    assert "keyed must be False" in broken(Rendezvous).why
    assert "keyed must be True" in broken(RoundRobin, ["keyed"]).why


def test_an_excuse_silences_one_law_and_shows_in_the_report() -> None:
    laws = ["once_in_n", "picks_only_eligible_backends"]
    excuses = {"picks_only_eligible_backends": "it always picks the first"}
    with pytest.raises(LawBroken, match="once_in_n"):
        check_balancer(Stuck, ["rotating"], laws=laws, excuses=excuses, examples=100)
    report = check_balancer(
        Stuck, laws=["picks_only_eligible_backends"], excuses=excuses, examples=100
    )
    assert report.results[0].excuse == "it always picks the first"
    assert "excused: it always picks the first" in str(report)


def test_an_excuse_that_is_not_needed_is_an_error() -> None:
    error = broken(
        RoundRobin,
        laws=["picks_only_eligible_backends"],
        excuses={"picks_only_eligible_backends": "none"},
        examples=20,
    )
    assert "no longer needed" in error.why
    assert str(error) == f"{error.law}: {error.why}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"traits": ["fast"]}, "'fast' is no trait"),
        ({"laws": ["unknown"]}, "'unknown' is no law"),
        ({"laws": ["once_in_n"]}, "does not apply to these traits"),
        ({"excuses": {"unknown": "why"}}, "'unknown' is no law"),
        ({"excuses": {"pick_counts_nothing": " "}}, "must give a reason"),
        (
            {"laws": ["last_put_wins"], "excuses": {"pick_counts_nothing": "why"}},
            "not among the laws to test",
        ),
        ({"examples": 0}, "examples must be a whole number above 0, not 0"),
        ({"examples": 2.5}, "not 2.5"),
        ({"seed": "x"}, "seed must be a whole number, not 'x'"),
        ({"max_members": 0}, "max_members must be from 1"),
        ({"bound": 2}, "go together"),
        ({"traits": ["bounded"]}, "go together"),
        ({"traits": ["bounded"], "bound": 0.5}, "1 or more, not 0.5"),
        ({"traits": ["bounded"], "bound": float("nan")}, "not nan"),
        ({"keys": []}, "keys must not be empty"),
        ({"weights": []}, "weights must not be empty"),
        ({"weights": [1, -1]}, "not -1"),
        ({"weights": [float("inf")]}, "not inf"),
        ({"weights": [True]}, "not True"),
        ({"traits": [list[str]()]}, "is no trait"),
    ],
)
def test_arguments_that_are_not_valid(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        check_balancer(RoundRobin, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"traits": "keyed"},
        {"traits": None},
        {"excuses": ["once_in_n"]},
        {"laws": "once_in_n"},
        {"keys": "text"},
        {"keys": 3},
        {"weights": "every"},
        {"weights": 3},
        {"factory": None},
        {"factory": RoundRobin()},
    ],
)
def test_arguments_of_a_wrong_type(options: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"factory": RoundRobin, **options}
    with pytest.raises(TypeError):
        check_balancer(**arguments)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_small_limit_of_members_is_kept(most: int) -> None:
    class Small(LeastConnections[str]):
        def update_index(self, backend: str, old: float | None, new: float | None) -> None:
            if old is None and len(self.weights) >= most:
                raise InvalidSetting(f"at most {most} members, not {backend!r} too")
            super().update_index(backend, old, new)

    check_balancer(Small, ["least_loaded", "rotating"], max_members=most, examples=30)


def test_keys_and_weights_are_those_of_the_caller() -> None:
    class Strict(Rendezvous[str]):
        def put(self, backend: str, weight: float = 1) -> None:
            assert not 0 < weight < inf or weight in {1, 3, 9}, weight
            super().put(backend, weight)

        def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
            assert key is None or key.startswith("user"), key
            return super().pick(key, now, avoid)

    traits = ["keyed", "weighted", "minimal_disruption"]
    keys = [f"user{number}" for number in range(200)]
    check_balancer(Strict, traits, keys=keys, weights=[1, 3, 9], examples=30)
    check_balancer(Strict, traits, keys="user{}".format, weights=[1, 3, 9], examples=30)


def test_a_class_of_tests_has_one_test_for_each_law() -> None:
    case = balancer_laws(Leaking, ["least_loaded"], examples=200)
    assert issubclass(case, TestCase)
    names = [name for name in dir(case) if name.startswith("test_")]
    assert sorted(names) == sorted(
        f"test_{law.name}" for law in BALANCER_LAWS if law.applies({"least_loaded"})
    )
    result = Result()
    laws = ["started_and_finished_cancel", "ties_spread"]
    chosen = balancer_laws(Leaking, ["least_loaded"], laws=laws, examples=200)
    Suite([chosen(f"test_{law}") for law in laws]).run(result)
    assert len(result.failures) == 1
    assert "started_and_finished_cancel" in result.failures[0][1]
    assert not result.errors


def test_pytest_collects_the_class(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from balancers import RoundRobin\n"
        "from balancers.testing import balancer_laws\n"
        "TestMine = balancer_laws(RoundRobin, ['rotating'], examples=5)\n"
        "class TestSubclass(balancer_laws(RoundRobin, laws=['last_put_wins'], examples=5)): ...\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    laws = sum(law.applies({"rotating"}) for law in BALANCER_LAWS)
    assert f"{laws + 1} passed" in run.stdout, run.stdout
