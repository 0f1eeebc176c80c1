"""The replay: every case in scope matches, and a wrong case never passes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parity.replay import main, report, verdicts

HOME = Path(__file__).parents[2]
VECTORS = HOME / "tests" / "vectors"
SAMPLE = VECTORS / "nginx_caddy_ketama" / "nginx_hash_dead.json"


def in_scope() -> dict[str, int]:
    lines = (VECTORS / "in_scope.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: int(count) for name, count in pairs}


def test_every_recorded_pick_in_scope_matches() -> None:
    pytest.importorskip("xxhash")
    results = [verdict for verdict in verdicts([VECTORS]) if verdict.picks]
    failed = [f"{verdict.path.name}: {verdict.problem}" for verdict in results if verdict.problem]
    assert not failed, "\n".join(report(results))
    played = {
        verdict.path.relative_to(VECTORS).as_posix(): verdict.total
        for verdict in results
        if verdict.in_scope
    }
    required = {name: played[name] for name in in_scope()}
    assert required == in_scope()
    assert (len(required), sum(required.values())) == (284, 62045)
    assert (len(played), sum(played.values())) == (309, 64610), "with the cases beyond the scope"
    assert sum(verdict.matched for verdict in results) == 64610
    assert len(results) == 329


def case() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    return loaded


def replayed(folder: Path, content: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Replay one file, together with one that matches."""
    (folder / "matching.json").write_text(json.dumps(case()), encoding="utf-8")
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "changed.json").write_text(text, encoding="utf-8")
    return main([str(folder)]), capsys.readouterr().out


def test_a_file_that_matches_passes_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = replayed(tmp_path, case(), capsys)
    assert code == 0
    assert "600/600    2 files" in output
    assert "compared: 2 files, 600/600 picks" in output


def test_a_changed_pick_fails_and_is_reported_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = case()
    right = wrong["picks"][17]
    wrong["picks"][17] = 1
    code, output = replayed(tmp_path, wrong, capsys)
    assert code == 1
    assert "599/600" in output
    assert "changed.json: 299 of 300" in output
    assert f"pick 17: recorded [1], ours [{right}]" in output
    assert json.dumps(wrong["keys"][17]) in output
    assert "127.0.0.1:19041" in output


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in case().items() if name not in names}


def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    copied = case()
    change(copied)
    return copied


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{]", "JSONDecodeError"),
        ("", "JSONDecodeError"),
        ("[]", "not an object"),
        ("{}", "'oracle' is missing"),
        (without("policy"), "'policy' is missing"),
        (without("config"), "KeyError"),
        (without("keys"), "MissingKey"),
        (without("picks", "tries"), "nothing was recorded"),
        (without("picks"), "no picks were recorded"),
        ({**without("tries"), "picks": []}, "nothing was recorded"),
        ({**case(), "picks": []}, "no picks were recorded"),
        ({**case(), "oracle": "nosuch 1.0"}, "no program replays 'nosuch 1.0'"),
        (changed(lambda it: it["picks"].pop()), "299 of 299"),
        (changed(lambda it: it["picks"].append(0)), "300 of 301"),
        (changed(lambda it: it["keys"].pop()), "299 of 300"),
        (changed(lambda it: it["tries"].pop()), "ValueError: zip()"),
        (
            changed(lambda it: it["tries"].insert(0, it["tries"].pop())),
            "not the servers that were tried",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_file_fails_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, message: str
) -> None:
    code, output = replayed(tmp_path, content, capsys)
    assert code == 1
    line = next(line for line in output.splitlines() if line.startswith("FAILED"))
    assert "changed.json" in line
    assert message in line


def test_unreadable_bytes_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "garbage.json").write_bytes(b"\xff\xfe\x00")
    assert main([str(tmp_path)]) == 1
    assert "garbage.json: UnicodeDecodeError" in capsys.readouterr().out


def test_folders_without_files_fail_even_with_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "case.json").write_text(json.dumps(case()), encoding="utf-8")
    assert main([str(tmp_path / "full")]) == 0
    for folder in ("empty", "missing"):
        if folder == "empty":
            (tmp_path / folder).mkdir()
        assert main([str(tmp_path / "full"), str(tmp_path / folder)]) == 1
        assert f"{folder}: empty" in capsys.readouterr().out


def recorded(name: str, **changes: Any) -> dict[str, Any]:
    [path] = VECTORS.rglob(f"{name}.json")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {**loaded, **changes}


def configured(name: str, **changes: Any) -> dict[str, Any]:
    loaded = recorded(name)
    return {**loaded, "config": {**loaded["config"], **changes}}


def of_first(name: str, **changes: Any) -> dict[str, Any]:
    """Change the first host of a case."""
    loaded = recorded(name)
    loaded["config"]["hosts"][0] |= changes
    return loaded


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**case(), "policy": "hash_consistant"}, "no such policy: 'hash_consistant'"),
        (recorded("envoy_ring_xx_equal_1024", policy="RING_HASHH"), "no such policy: 'RING_HASHH'"),
        (recorded("libmemcached_modula", policy="ketama_wieghted"), "no such policy"),
        (recorded("twemproxy_modula", policy="random"), "no such policy: 'random'"),
        (recorded("uhashring_default", policy="ketama"), "no such policy: 'ketama'"),
        (recorded("caddy_first", policy="frist"), "no such policy: 'frist'"),
        (configured("haproxy_first_idle", balance="roundrobbin"), "no such policy"),
        (recorded("caddy_rr_4", picks=[9] * 30), "0 of 30"),
        (recorded("twemproxy_modula", picks=[9] * 300), "0 of 300"),
        (configured("haproxy_first_idle", directives=["option allbackup"]), "'option allbackup'"),
        (configured("haproxy_first_idle", maxconn=1), "no such setting of HAProxy: 'maxconn'"),
        (configured("envoy_ring_xx_equal_1024", lb={"min_ring_size": 7}), "'min_ring_size'"),
        (configured("caddy_first", maxfails=1), "'maxfails'"),
        (configured("uhashring_default", vnode=1), "'vnode'"),
        (changed(lambda it: it["config"]["servers"][0].update(slow_start=5)), "'slow_start'"),
        (recorded("haproxy_first_idle", policy="frist"), "no such policy: 'frist'"),
        (configured("haproxy_first_idle", balance="first x"), "balance 'first x'"),
        (configured("haproxy_first_idle", directives=["option allbackups 5"]), "allbackups 5'"),
        (configured("haproxy_first_idle", directives=["hash-balance-factor150"]), "factor150'"),
        (configured("haproxy_first_idle", hash_type="consistent sdbm x"), "no such hash-type"),
        (
            configured("haproxy_cookie_insert", directives=["cokie SRV insert"]),
            "'cokie SRV insert'",
        ),
        (configured("caddy_first", fallback="frist"), "'frist'"),
        (of_first("envoy_ring_xx_equal_1024", health="UNHEALTY"), "'UNHEALTY'"),
        (of_first("envoy_round_robin_equal", priority=1), "no such priority of ROUND_ROBIN: 1"),
        (configured("envoy_round_robin_equal", lb={"table_size": 7}), "'table_size'"),
        (recorded("nginx_random_one", policy="randon"), "no such policy: 'randon'"),
        (configured("nginx_random_one", slow=1), "'slow'"),
        (recorded("envoy_random_equal", policy="RANDON"), "no such policy: 'RANDON'"),
        (configured("haproxy_random_1_mixed", balance="randon"), "balance 'randon'"),
    ],
)
def test_a_name_that_no_preset_supports_fails_with_that_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, message: str
) -> None:
    code, output = replayed(tmp_path, content, capsys)
    assert code == 1
    assert message in next(line for line in output.splitlines() if line.startswith("FAILED"))


def test_cases_with_only_a_number_of_requests_are_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["s1", "s2"]
    servers = [{"name": name, "port": 1, "weight": 1} for name in names]
    section = {"balance": "roundrobin", "hash_type": None, "servers": servers}
    fields = {"oracle": "haproxy 2.6.12", "policy": "roundrobin", "config": section, "n": 4}
    assert replayed(tmp_path, {**fields, "picks": names * 2}, capsys)[0] == 0
    assert replayed(tmp_path, {**fields, "picks": ["s2"] * 4}, capsys)[0] == 1


def test_a_phase_is_searched_within_one_period(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = [
        {"address": "127.0.0.1", "port": port, "weight": weight}
        for port, weight in ((1, 100_000), (2, 200_000))
    ]
    fields = {"oracle": "envoy 1.40.0", "policy": "ROUND_ROBIN", "kind": "sequence", "n": 200}
    fields |= {"config": {"hosts": hosts, "lb": {}}, "picks": [1] * 200}
    assert replayed(tmp_path, fields, capsys)[0] == 1


def test_a_lone_surrogate_is_printed_as_an_escape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xxhash")
    config = {"upstreams": ["a", "b"]}
    fields = {"oracle": "caddy 2.11\ud800", "policy": "uri_hash", "config": config}
    code, output = replayed(tmp_path, {**fields, "keys": ["a"], "picks": [7]}, capsys)
    assert code == 1
    assert "caddy 2.11\\ud800" in output


def test_statistical_files_are_listed_and_are_not_enough_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statistical = VECTORS / "nginx_caddy_ketama" / "nginx_random_one.json"
    code, output = replayed(tmp_path, statistical.read_text(encoding="utf-8"), capsys)
    assert code == 0
    assert "statistical: 1 files: changed.json" in output
    (tmp_path / "matching.json").unlink()
    assert main([str(tmp_path)]) == 1
    assert "nothing was compared" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nginx_random_one", "haproxy_random_1_mixed"])
def test_random_picks_are_listed_and_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, output = replayed(tmp_path, recorded(name, picks=[0, 1]), capsys)
    assert code == 0
    assert "not covered by a preset: 1 files: changed.json" in output


def test_a_file_given_twice_is_replayed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SAMPLE), str(SAMPLE)]) == 0
    assert "compared: 1 files, 300/300 picks" in capsys.readouterr().out


@pytest.mark.parametrize("program", [["tests/parity/replay.py"], ["-m", "tests.parity.replay"]])
def test_it_runs_as_a_script_and_as_a_module(program: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, *program, str(SAMPLE.parent / "nginx_wrr_dead.json")],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "90/90" in run.stdout
