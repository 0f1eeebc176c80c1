"""Run the targets under atheris: ``python -m tests.fuzz [--seconds 20] [--keep] [target ...]``.

As many targets run at the same time as there are cores.  The exit code is 1 if a target fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import CORPUS, TARGETS, target

MAX_INPUTS = 40
MAX_LENGTH = 4096
SLOWEST = 30  # seconds that one input may take


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(TARGETS)}")
    options.add_argument("--seconds", type=int, default=20, help="per target")
    options.add_argument("--keep", action="store_true", help="add the inputs found to the corpus")
    options.add_argument("--within", metavar="FOLDER", help=argparse.SUPPRESS)
    given = options.parse_args()
    names: list[str] = given.targets or [*TARGETS]
    if unknown := set(names) - set(TARGETS):
        options.error(f"unknown target: {', '.join(sorted(unknown))}")
    if given.within:
        fuzz(names[0], given.seconds, Path(given.within))
    watched = partial(watch, seconds=given.seconds, keep=given.keep)
    with ThreadPoolExecutor(os.cpu_count()) as cores:
        return max(cores.map(watched, names))


def watch(name: str, seconds: int, keep: bool) -> int:
    """Fuzz a target in its own process; print how often it ran, or how it failed."""
    with TemporaryDirectory() as folder:
        found = Path(folder) / "found"
        found.mkdir()
        command = [sys.executable, "-m", "tests.fuzz", name, f"--seconds={seconds}"]
        run = subprocess.run(
            [*command, f"--within={folder}"], capture_output=True, text=True, check=False
        )
        output = run.stdout + run.stderr
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
        if run.returncode or runs is None:
            print(f"{name}: failed with {run.returncode}\n{output}", flush=True)
            return 1
        print(f"{name}: {int(runs[1])} runs in {seconds} s", flush=True)
        if keep:
            fill(CORPUS / name, found)
    return 0


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Run atheris in this process; an input that fails is written to the corpus."""
    atheris = import_module("atheris")  # an optional package
    with atheris.instrument_imports(include=["balancers"]):
        tested = target(name)
    inputs, words = CORPUS / name, folder / "words"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in tested.WORDS)
    words.write_text("".join(f'"{word}"\n' for word in escaped), encoding="ascii")
    flags = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", f"-dict={words}", "-seed=1"]
    flags += ["-print_final_stats=1", f"-timeout={SLOWEST}", f"-artifact_prefix={inputs}/"]
    atheris.Setup([name, *flags, str(folder / "found"), str(inputs)], tested.check)
    atheris.Fuzz()


def fill(corpus: Path, found: Path) -> None:
    """Add inputs until the corpus is full, evenly spread from short to long."""
    inputs = sorted(found.iterdir(), key=lambda path: (path.stat().st_size, path.name))
    missing = max(MAX_INPUTS - len([*corpus.iterdir()]), 0)
    for path in inputs[:: max(len(inputs) // missing, 1)][:missing] if missing else ():
        shutil.copy(path, corpus / path.name[:12])


if __name__ == "__main__":
    raise SystemExit(main())
