"""The replay of name servers: all recordings agree, and one wrong answer never passes."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parity.recordings import Tally, module_of, replayed
from tests.parity.replay import main

VECTORS = Path(__file__).parents[2] / "tests" / "vectors" / "gslb"
KINDS = {  # compared, statistical, out of scope
    "gdnsd client subnet option": (8, 0, 0),
    "gdnsd geoip": (357, 0, 0),
    "gdnsd metafo": (32, 0, 0),
    "gdnsd multifo": (130, 0, 0),
    "gdnsd weighted": (0, 41, 0),
    "gdnsd zone file": (1, 0, 0),
    "pdns client subnet option": (1, 0, 7),
    "PowerDNS bestwho": (61, 0, 1),
    "PowerDNS conditions": (62, 0, 0),
    "PowerDNS geoip backend": (62, 1, 0),
    "PowerDNS ifportup": (0, 6, 0),
    "PowerDNS ifportup all": (7, 0, 0),
    "PowerDNS ifportup hashed": (6, 12, 0),
    "PowerDNS pickclosest": (59, 0, 3),
    "PowerDNS pickhashed": (0, 102, 0),
    "PowerDNS pickwhashed": (0, 102, 0),
    "PowerDNS pickwrandom": (0, 1, 0),
    "PowerDNS view": (62, 0, 0),
}
FILES = sorted(path.name for path in VECTORS.glob("*.json") if path.name != "geo.json")


def recording(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return loaded


def tallies(content: dict[str, Any]) -> list[Tally]:
    module = module_of(content)
    assert module is not None
    return replayed(content, module)


def problems(content: dict[str, Any]) -> list[str]:
    return [problem for tally in tallies(content) for problem in tally.problems]


def test_every_recorded_answer_is_compared_counted_or_named_in_any_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(FILES):
        folder = tmp_path / f"folder {number}"
        folder.mkdir()
        (folder / f"{number}.json").write_text(json.dumps(recording(name)), encoding="utf-8")
    (tmp_path / "geo.json").write_text((VECTORS / "geo.json").read_text(encoding="utf-8"))
    assert main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for kind, (compared, statistical, aside) in KINDS.items():
        line = next(line for line in output.splitlines() if line.startswith(f"{kind}  "))
        numbers = [int(number) for number in re.findall(r"\d+", line.removeprefix(kind))]
        assert numbers[:4] == [compared, compared, statistical, aside]
    numbers_of_cases = [len(recording(name)["cases"]) for name in FILES]
    assert sum(map(sum, KINDS.values())) == sum(numbers_of_cases)
    assert "skipped, data without a recording: " in output
    assert "a longitude difference below -180° decides: " in output
    assert "closest 14.3.7.9/32" in output


def wrong_answer(case: dict[str, Any]) -> None:
    case["answers"] = ["192.0.2.250"]


def no_answer(case: dict[str, Any]) -> None:
    case["answers"] = []


def one_more(case: dict[str, Any]) -> None:
    case["answers"] = [*case["answers"], "192.0.2.250"]


def wrong_scope(case: dict[str, Any]) -> None:
    case["scope"] = 1 if case["scope"] is None else case["scope"] + 1


def wrong_code(case: dict[str, Any]) -> None:
    case["rcode"] = "NXDOMAIN"


CHANGES = (wrong_answer, no_answer, one_more, wrong_scope, wrong_code)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["gdnsd_geoip.json", "gdnsd_health.json", "gdnsd_no_ecs.json"])
def test_one_changed_answer_of_gdnsd_fails(
    name: str, change: Callable[[dict[str, Any]], None]
) -> None:
    content = recording(name)
    cases = content["cases"]
    # Of a name in the zone file, only the scope is known.
    known = [
        at for at, case in enumerate(cases) if case["resource"] != "static" or change is wrong_scope
    ]
    places = random.Random(name).sample(known, min(len(known), 40))
    for at in places:
        change(cases[at])
    assert len(problems(content)) == len(places)


def test_a_difference_is_reported_with_its_case_and_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = recording("gdnsd_geoip.json")
    content["cases"][100]["answers"] = ["192.0.2.99"]
    title = f"{content['cases'][100]['resource']} {content['cases'][100]['client']}"
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
    assert main([str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "258/259 compared" in output
    assert f"a.json: 1 differences, the first: gdnsd geoip: {title}: recorded" in output
    assert "192.0.2.99" in output


def other_of(answers: list[str], among: list[str]) -> list[str]:
    return [next(each for each in among if each not in answers)]


@pytest.mark.parametrize("kind", ["closest", "view", "cont", "best"])
def test_one_changed_answer_of_a_lua_record_fails(kind: str) -> None:
    content = recording("pdns_lua_pick.json")
    aside = {"14.3.7.0/24", "14.3.7.9/32", "14.3.0.0/16"} if kind == "closest" else {"0.0.0.0/0"}
    places = [
        at
        for at, case in enumerate(content["cases"])
        if case["record"] == kind and not (kind in {"closest", "best"} and case["client"] in aside)
    ]
    among = [f"192.0.2.{number}" for number in range(1, 6)]
    for at in places:
        case = content["cases"][at]
        case["answers"] = other_of(case["answers"], among)
    assert len(places) >= 58
    assert len(problems(content)) == len(places)


def test_an_answer_that_a_difference_of_powerdns_decides_is_not_compared() -> None:
    content = recording("pdns_lua_pick.json")
    for case in content["cases"]:
        if case["record"] == "closest" and case["client"].startswith("14.3."):
            case["answers"] = ["192.0.2.4"]
    assert problems(content) == []


@pytest.mark.parametrize(
    ("name", "at", "change", "message"),
    [
        ("gdnsd_weighted.json", 0, {"192.0.2.11": 478, "192.0.2.13": 542}, "beyond"),
        ("gdnsd_weighted.json", 0, {"192.0.2.14": 1, "192.0.2.13": 641}, "beyond"),
        ("gdnsd_weighted.json", 2, {"192.0.2.12": 353, "192.0.2.13 192.0.2.14": 897}, "beyond"),
        ("gdnsd_weighted.json", 2, {"192.0.2.12": 254}, "answers are counted of 1500"),
        ("pdns_weighted.json", 0, {"192.0.2.1": 1146, "192.0.2.2": 459}, "beyond"),
        ("pdns_weighted.json", 1, {"192.0.2.9": 1, "192.0.2.1": 157}, "beyond"),
        ("pdns_ifportup.json", 5, {"127.0.0.11": 204, "127.0.0.12": -2}, "beyond"),
    ],
)
def test_counts_beyond_four_sigma_fail(
    name: str, at: int, change: dict[str, int], message: str
) -> None:
    content = recording(name)
    assert "counts" in content["cases"][at]
    content["cases"][at]["counts"] |= change
    [problem] = problems(content)
    assert message in problem


def test_the_weights_of_the_configuration_decide() -> None:
    content = recording("gdnsd_weighted.json")
    content["config"] = content["config"].replace("192.0.2.13, 75", "192.0.2.13, 35")
    assert len(problems(content)) >= 5
    content = recording("pdns_hashed_many.json")
    content["zone"] = content["zone"].replace("{15,", "{400,")
    assert ["over 40 clients" in problem for problem in problems(content)] == [True]


def test_hashes_must_be_stable_and_possible() -> None:
    content = recording("pdns_hashed_many.json")
    content["cases"].append({**content["cases"][0], "answers": ["192.0.2.250"]})
    assert len(problems(content)) == 1
    same = content["cases"][0]
    others = other_of(same["answers"], [f"192.0.2.{number}" for number in range(1, 4)])
    content["cases"][-1] = {**same, "answers": others}
    [problem] = problems(content)
    assert "the same client got another answer" in problem
    content["cases"] = [{**case, "answers": ["192.0.2.1"]} for case in content["cases"]]
    assert len(problems(content)) == 2, "both hashes always pick the same address"


def test_a_wrong_code_for_a_malformed_option_fails() -> None:
    content = recording("ecs_malformed.json")
    for case in content["cases"]:
        code, case["rcode"] = case["rcode"], "SERVFAIL"
        aside = case["server"] == "pdns" and not case["case"].startswith("ok")
        assert len(problems(content)) == (not aside)
        case["rcode"] = code
    content["cases"][0]["ecs"] = ["ECS 12.1.6.0/24 scope/16"]
    content["implementation"] = "gdnsd 3.8.1 and PowerDNS 4.7.3"
    assert len(problems(content)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"implementation": "BIND 9.18"}, "no program replays 'BIND 9.18'"),
        ({"implementation": None}, "'implementation' is missing"),
        ({"cases": []}, "nothing was recorded"),
        ({"config": "plugins => { multifo => { m3 => "}, "ValueError"),
        ({"config": "plugins => } {"}, "ValueError"),
        ({"geo": [{"net": "11.1.0.0/8"}]}, "InvalidSetting"),
        ({"geo": [{"net": "11.1.0.0/16", "lat": 91, "lon": 0}]}, "InvalidSetting"),
    ],
    ids=str,
)
def test_an_invalid_recording_fails_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    good = recording("gdnsd_no_ecs.json")
    (tmp_path / "good.json").write_text(json.dumps(good), encoding="utf-8")
    (tmp_path / "bad.json").write_text(json.dumps({**good, **change}), encoding="utf-8")
    assert main([str(tmp_path)]) == 1
    [line] = [each for each in capsys.readouterr().out.splitlines() if each.startswith("FAILED")]
    assert "bad.json" in line
    assert message in line


def test_only_cases_out_of_scope_are_not_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = recording("ecs_malformed.json")
    content["cases"] = [case for case in content["cases"] if case["server"] == "pdns"][1:]
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
    assert main([str(tmp_path)]) == 1
    assert "nothing was compared" in capsys.readouterr().out
