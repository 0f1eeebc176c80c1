"""The command as a process: what it loads, its exit codes, and its streams."""

import os
import re
import signal
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest

from balancers import __version__
from balancers.__main__ import main
from tests.command_line.command import process, run
from tests.packages import HOME

COMMANDS = ["compare", "remap", "predict"]
LOADED = "import sys; from balancers.__main__ import main; main({}); print(*sys.modules)"


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = LOADED.format(arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "balancers._command_line.arguments" in loaded
    heavy = {"numpy", "mmh3", "xxhash", "sortedcontainers", "matplotlib"}
    assert not heavy.intersection(loaded)
    above = re.compile(r"balancers\.(simulation|quality|hashing|interop|_command_line\.compare)\b")
    assert not [name for name in loaded if above.match(name)]


def test_the_process() -> None:
    done = process("predict", "maglev", "a,b", "--key", "one")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("predict", "maglev", "a,b", "--key", "one").out
    done = process("predict", "maglev", "a=x")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" not in done.stderr


def test_names_that_are_not_utf_8() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "balancers", "predict", "maglev", b"a\xff=2"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)


def test_keys_from_a_pipe_and_output_in_ascii() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "balancers", "predict", "maglev", "é,b", "--each", "--keys", "-"],
        input="ü\n".encode(),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert rb"\xfc" in done.stdout


@pytest.mark.parametrize("more", ["--random 50000 --each", "--each --json", "--key k", "--help"])
def test_a_reader_that_goes_away(more: str) -> None:
    """A short output is written when the buffer is flushed."""
    command = [sys.executable, "-m", "balancers", "predict", "maglev", "a,b"]
    with subprocess.Popen(
        [*command, *more.split()],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 141


def test_an_interrupt() -> None:
    """The keys are longer than the buffer of a pipe, so the command reads them already."""
    with subprocess.Popen(
        [sys.executable, "-m", "balancers", "predict", "maglev", "a,b", "--keys", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as done:
        assert done.stdin is not None
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdin.write(b"key\n" * 100_000)
        done.send_signal(signal.SIGINT)
        assert (done.stdout.read(), done.stderr.read()) == (b"", b"")
    assert done.returncode == 130


def test_a_complaint_without_a_reader() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "balancers", "predict"], stderr=subprocess.PIPE
    ) as done:
        assert done.stderr is not None
        done.stderr.close()
    assert done.returncode == 2


def test_a_full_device() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "balancers", "predict", "maglev", "a,b"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "balancers: standard output: No space left on device\n"


def test_streams_that_are_closed() -> None:
    line = f"{sys.executable} -m balancers predict maglev a,b"
    for streams, code in {
        ">&-": 0,
        ">&- 2>&-": 0,
        "--keys - <&-": 2,
        "--keys - <&- 2>&-": 2,
    }.items():
        done = subprocess.run(
            ["/bin/sh", "-c", f"{line} {streams}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_help_and_version() -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert all(name in out for name in COMMANDS)
    assert run("--version") == (0, f"balancers {__version__}\n", "")
    for name in COMMANDS:
        code, out, err = run(name, "--help")
        assert (code, err) == (0, "")
        assert "examples:" in out
        assert out.isascii()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_are_valid(command: str) -> None:
    """Files of examples do not exist; everything else must run, with fewer requests and keys."""
    help_ = run(command, "--help").out
    lines = re.findall(r"^  balancers (.+)$", help_, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        less = ["--requests", "2000"] if command == "compare" else ["--random", "1000"]
        code, _, err = run(*line.split(), *([] if "--keys keys.txt" in line else less))
        assert code == 0 or "No such file or directory" in err, line


def test_the_entry_point() -> None:
    with (HOME.parent / "pyproject.toml").open("rb") as file:
        module, _, name = tomllib.load(file)["project"]["scripts"]["balancers"].partition(":")
    assert getattr(import_module(module), name) is main
