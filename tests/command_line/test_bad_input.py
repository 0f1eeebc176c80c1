"""Bad input is one line that names the value, exit code 2, and never a traceback."""

import builtins
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest

from balancers._command_line import main as module_of_main
from balancers._command_line.methods import METHODS, POLICIES, Method
from tests.command_line.command import bad, run
from tests.depth import runs

LONG = "9" * 5000
PREDICT = ("predict", "maglev", "a,b")
CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "no command": ((), "COMMAND"),
    "unknown command": (("simulate",), "'simulate'"),
    "abbreviated option": (("predict", "maglev", "a,b", "--rand", "3"), "--rand"),
    "unknown option": ((*PREDICT, "--fast"), "--fast"),
    "dashes as a value": ((*PREDICT, "--key=--"), "--key=--"),
    "no servers": (("predict", "maglev"), "SERVERS"),
    "unknown method": (("predict", "magle", "a"), "'magle'"),
    "unknown policy": (("compare", "--policies", "nginx:hash"), "unknown policy 'nginx:hash'"),
    "the last of the known methods": (("predict", "magle", "a"), "uhashring:ketama"),
    "two methods": (("predict", "maglev,hash_ring", "a"), "'maglev,hash_ring'"),
    "no method": (("predict", "", "a"), "''"),
    "setting without a method": (("predict", "size=3", "a"), "'size=3'"),
    "unknown setting": (("predict", "maglev,points=3", "a"), "'points'"),
    "setting that is not a number": (("predict", "maglev,size=x", "a"), "'x'"),
    "setting that the method refuses": (("predict", "maglev,size=4", "a"), "not 4"),
    "setting that is no choice": (("predict", "haproxy:consistent,hash=md5", "a"), "'md5'"),
    "setting that is no flag": (("predict", "haproxy:consistent,avalanche=1", "a"), "'1'"),
    "hash that the program lacks": (("predict", "twemproxy:ketama,hash=md4", "a"), "'md4'"),
    "tag of one character": (("predict", "twemproxy:ketama,hash_tag={", "a"), "'{'"),
    "capacity below the members": (("predict", "anchor,capacity=1", "a,b"), "1"),
    "empty list": (("predict", "maglev", ""), "no servers"),
    "empty name": (("predict", "maglev", "a,,b"), "no name"),
    "only a weight": (("predict", "maglev", "=2"), "'=2'"),
    "duplicate": (("predict", "maglev", "a,b,a=2"), "'a'"),
    "all weights 0": (("predict", "maglev", "a=0,b=0"), "no backend available"),
    "fraction for nginx": (("predict", "nginx:hash", "a=1.5"), "1.5"),
    "fraction for Envoy": (("predict", "envoy:maglev", "a=1.5"), "1.5"),
    "name that HAProxy refuses": (("predict", "haproxy:map-based", "a/b"), "'a/b'"),
    "too many points": (("predict", "hash_ring", "a=99999999"), "15999999840"),
    "missing file of servers": (("predict", "maglev", "@/nowhere/s"), "/nowhere/s"),
    "folder of servers": (("predict", "maglev", "@/"), "Is a directory"),
    "NUL in a path": (("predict", "maglev", "@a\0b"), r"'a\x00b'"),
    "missing file of keys": ((*PREDICT, "--keys", "/nowhere/k"), "/nowhere/k"),
    "folder of keys": ((*PREDICT, "--keys", "/"), "Is a directory"),
    "NUL in the path of keys": ((*PREDICT, "--keys", "a\0b"), r"'a\x00b'"),
    "no keys": ((*PREDICT, "--keys", "/dev/null"), "/dev/null"),
    "endless keys": ((*PREDICT, "--keys", "/dev/zero"), "/dev/zero"),
    "random garbage as keys": ((*PREDICT, "--keys", "/dev/urandom"), "/dev/urandom"),
    "nothing on standard input": ((*PREDICT, "--keys", "-"), "standard input"),
    "keys twice": ((*PREDICT, "--keys", "-", "--random", "3"), "--random"),
    "no random key": ((*PREDICT, "--random", "0"), "'0'"),
    "negative number": ((*PREDICT, "--random", "-1"), "-1"),
    "too many random keys": ((*PREDICT, "--random", "100000000000"), "'100000000000'"),
    "number that Python cannot convert": ((*PREDICT, "--random", LONG), "999"),
    "seed": ((*PREDICT, "--seed", "x"), "'x'"),
    "negative seed": ((*PREDICT, "--seed=-1"), "'-1'"),
    "no path of servers": (("predict", "maglev", "@"), "''"),
    "no path of keys": ((*PREDICT, "--keys", ""), "''"),
    "key that is no text": ((*PREDICT, "--key", "\ud800"), r"'\ud800'"),
    "too many probes": (("predict", "multi_probe,probes=2000000000", "a"), "'2000000000'"),
    "too large a capacity": (("predict", "anchor,capacity=2000000000", "a"), "'2000000000'"),
    "lone surrogate": (("predict", "maglev", "a\udc80"), r"'a\udc80'"),
}


@pytest.mark.parametrize(("arguments", "named"), CASES.values(), ids=CASES)
def test_the_line_names_the_value(arguments: tuple[str, ...], named: str) -> None:
    assert named in bad(*arguments)


@pytest.mark.parametrize(
    "weight",
    ["x", "-1", "nan", "inf", "-inf", "1e999", "1e301", "1_0", "٣", "0x1", "", "1.5.2", LONG],
)
def test_weights_that_are_no_numbers(weight: str) -> None:
    message = bad("predict", "maglev", f"b,a={weight}")
    assert "weight of 'a' must be a number from 0 to 1e+300, not " in message
    assert weight[:300] in message


def test_binary_files(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert "line 3 has a NUL" in bad(*PREDICT, "--keys", str(file))
    assert "line 1 is not UTF-8" in bad("predict", "maglev", f"@{file}")
    file.write_bytes(b"x" * (1 << 21))
    assert "longer than" in bad(*PREDICT, "--keys", str(file))


def test_a_file_of_servers_without_servers(tmp_path: Path) -> None:
    file = tmp_path / "servers"
    file.write_text("\n# nothing\n")
    assert "contains no servers" in bad("predict", "maglev", f"@{file}")
    file.write_text("a\nb=x\n")
    assert "line 2" in bad("predict", "maglev", f"@{file}")


@pytest.mark.parametrize(
    ("method", "content", "named"),
    [
        ("envoy:maglev", "upstream x {\n  server 10.0.0.1:80;\n}\n", "line 1: 'upstream x {'"),
        ("hash_ring", "server s1 10.0.0.1:80 check\n", "line 1: 'server s1 10.0.0.1:80 check'"),
        ("nginx:hash", "upstream x {\n}\n", "line 1: 'upstream x'"),
        ("maglev", "a\nb 2=3\n", "line 2: 'b 2'"),
        ("maglev", "a\nserver b weight=2;\n", "line 2: 'server b weight'"),
    ],
)
def test_lines_of_a_configuration_are_no_names(
    tmp_path: Path, method: str, content: str, named: str
) -> None:
    """Only the methods of a program read its configuration."""
    file = tmp_path / "servers"
    file.write_text(content)
    assert named in bad("predict", method, f"@{file}")


def test_a_file_of_servers_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "servers"
    file.write_text("a,b")
    monkeypatch.setattr("balancers._command_line.servers._LARGEST_FILE", 2)
    assert "larger than 2 bytes" in bad("predict", "maglev", f"@{file}")


def test_too_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balancers._command_line.keys.MOST_KEYS", 3)
    assert "more than 3 keys" in bad(*PREDICT, "--keys", "-", stdin=b"a\nb\n\nc\nd\n")


def test_a_long_message_is_cut() -> None:
    assert bad("predict", "x" * 10_000, "a").endswith("...")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of the tests may be root, who may read everything."""

    refuse = Mock(side_effect=PermissionError(13, os.strerror(13)))
    monkeypatch.setattr(builtins, "open", refuse)
    assert f"{tmp_path}: Permission denied" in bad(*PREDICT, "--keys", str(tmp_path))


@pytest.mark.parametrize("package", ["matplotlib", "xxhash"])
def test_a_missing_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.split(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "matplotlib":
        message = bad(*PREDICT, "--plot", str(tmp_path / "a.png"))
        assert message == "--plot needs the package matplotlib: install balancers[plots]"
    else:
        assert "install balancers[xxhash]" in bad("predict", "envoy:maglev", "a,b")


def test_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    for path, named in {
        "picture": "'picture'",
        "picture.xyz": "'picture.xyz'",
        "": "''",
        "-": "'-'",
        "a\0.png": "a",
        str(tmp_path / "none" / "a.png"): "none",
        str(folder): "Is a directory",
        "/proc/a.png": "/proc/a.png",
    }.items():
        assert named in bad(*PREDICT, "--plot", path)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (OSError(28, os.strerror(28)), 2, "balancers: standard output: No space left on device\n"),
        (MemoryError(), 2, "balancers: there is not enough memory for so much input\n"),
    ],
)
def test_interrupts(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = Mock(side_effect=error)
    monkeypatch.setattr(sys.modules[module_of_main.__module__], "import_module", fail)
    assert run(*PREDICT) == (code, "", line)


SERVERS = ["a,b", "a=2,b,c=0.5", "a=0,b", "", "@/nowhere", "a,a", "a=1e300,b=1e-300", "é b,ü", "\0",
           "a=99999999999999999999,b", "/a.sock,b:11211", "-", "--", "=", "a\tb", "%s", "{}", "3",
           "[::1]:80=2,[::2]:80", "a=5e-324,b=5e-324"]  # fmt: skip
VALUES = ["0", "1", "2", "101", "-1", "yes", "no", "md5", "crc32", "sdbm", "{}", "é", "source", "x"]
LAWS = ["constant", "pareto:1.2", "lognormal:1e6", "regular", "bursty:1000", "bursty:1e9",
        "zipf:3:-1", "zipf:1:0", "uniform:1", "zipf:100:1e6"]  # fmt: skip


def arbitrary(rng: Random) -> list[str]:
    """Return arguments that may or may not be valid."""

    def method(known: Mapping[str, Method]) -> str:
        name = rng.choice([*known])
        settings = [each for each in known[name].settings if rng.random() < 0.4]
        return ",".join([name, *(f"{each}={rng.choice(VALUES)}" for each in settings)])

    command = rng.choice(["predict", "remap", "compare"])
    if command == "predict":
        options = [method(METHODS), rng.choice(SERVERS), "--random", "20"]
        options += rng.choice([["--explain"], ["--each"], [f"--key={rng.choice(SERVERS)}"]])
        options += rng.choice([[], ["--down", rng.choice(SERVERS)]])
    elif command == "remap":
        options = [*rng.choices(SERVERS, k=rng.randrange(2, 4)), "--random", "20"]
        options += ["--methods", method(METHODS)]
        options += rng.choice([[], ["--new-method", method(METHODS)]])
    else:
        options = ["--policies", method(POLICIES), "--requests", "200", "--runs", "2"]
        options += [f"--servers={rng.choice(SERVERS)}", rng.choice(["--service", "--keys"])]
        options += [rng.choice(LAWS), "--load", rng.choice(["1e-300", "0.5", "0.999999", "1"])]
    return [command, *options, *rng.choice([[], ["--json"]])]


@pytest.mark.parametrize("seed", range(3))
def test_arbitrary_arguments(seed: int) -> None:
    """There is a result or one line, and never an exception."""
    rng, codes = Random(seed), Counter[int]()
    for _ in range(runs(200)):
        arguments = arbitrary(rng)
        code, out, err = run(*arguments)
        codes[code] += 1
        if code == 0:
            assert out
            assert not err, arguments
        else:
            assert (code, out, err.count("\n")) == (2, "", 1), arguments
    assert codes[0]
    assert codes[2]
