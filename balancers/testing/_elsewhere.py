"""Runs a program in another process."""

import json
import os
import subprocess
import sys
from typing import Any

__all__ = ["CannotRun", "run_elsewhere"]

_SECONDS = 120


class CannotRun(Exception):
    """Raised when the program fails in the other process."""


def run_elsewhere(program: str, name: str) -> Any:
    """Run a program in a new process with another hash seed, and return one of its variables.

    The value must be a list of values that JSON has.  Raises CannotRun.
    """
    text = f"{program}\nimport json\nprint(json.dumps({name}))\n"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        run = subprocess.run(  # noqa: S603 - this interpreter, and a program of this package
            [sys.executable, "-c", text],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(str(error)) from error
    if run.returncode:
        raise CannotRun(run.stderr.strip().rpartition("\n")[2])
    return json.loads(run.stdout.splitlines()[-1])
