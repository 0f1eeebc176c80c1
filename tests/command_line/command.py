"""Runs the command line in this process, or in one of its own."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple
from unittest.mock import patch

from balancers.__main__ import main

__all__ = ["Result", "bad", "data", "process", "run", "text"]


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(*arguments: str, stdin: bytes = b"", encoding: str = "utf-8") -> Result:
    """Run a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with (
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = main(arguments)
    texts = list[str]()
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    return Result(code, *texts)


def text(*arguments: str, stdin: bytes = b"") -> str:
    """Return what a command prints, after a check that it ran without a complaint."""
    result = run(*arguments, stdin=stdin)
    assert result[::2] == (0, ""), result
    return result.out


def data(*arguments: str, stdin: bytes = b"") -> Any:
    """Return the JSON document that a command prints."""
    return json.loads(text(*arguments, "--json", stdin=stdin))


def bad(*arguments: str, stdin: bytes = b"") -> str:
    """Return the only line about bad input, after a check that nothing else is printed."""
    code, out, err = run(*arguments, stdin=stdin)
    assert (code, out) == (2, ""), (code, out, err)
    assert err.startswith("balancers: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert len(err) < 500
    return err[len("balancers: ") : -1]


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "balancers", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )
