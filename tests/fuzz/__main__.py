"""Run the targets under atheris: ``python -m tests.fuzz [--seconds 20] [--keep] [target ...]``."""

import argparse
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import CORPUS, TARGETS, target

MOST_KEPT = 40
LONGEST = 4096


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(TARGETS)}")
    options.add_argument("--seconds", type=int, default=20, help="for each target")
    options.add_argument("--keep", action="store_true", help="fill the corpus from what was found")
    options.add_argument("--within", metavar="FOLDER", help=argparse.SUPPRESS)
    given = options.parse_args()
    names: list[str] = given.targets or [*TARGETS]
    if strangers := set(names) - set(TARGETS):
        options.error(f"no target: {', '.join(sorted(strangers))}")
    if given.within:
        fuzz(names[0], given.seconds, Path(given.within))
    return max(watch(name, given.seconds, given.keep) for name in names)


def watch(name: str, seconds: int, keep: bool) -> int:
    """Fuzz a target in a process of its own; print how often it ran, or how it failed."""
    with TemporaryDirectory() as folder:
        found = Path(folder) / "found"
        found.mkdir()
        command = [sys.executable, "-m", "tests.fuzz", name, f"--seconds={seconds}"]
        run = subprocess.run(
            [*command, f"--within={folder}"], capture_output=True, text=True, check=False
        )
        said = run.stdout + run.stderr
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
        if run.returncode or runs is None:
            print(f"{name}: failed with {run.returncode}\n{said}", flush=True)
            return 1
        print(f"{name}: {int(runs[1])} runs in {seconds} s", flush=True)
        if keep:
            fill(CORPUS / name, found)
    return 0


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Hand the process over to atheris; what fails is written into the corpus."""
    atheris = import_module("atheris")  # it is installed only where it is run
    with atheris.instrument_imports(include=["balancers"]):
        tested = target(name)
    home, words = CORPUS / name, folder / "words"
    spelled = ("".join(f"\\x{byte:02x}" for byte in word) for word in tested.WORDS)
    words.write_text("".join(f'"{word}"\n' for word in spelled), encoding="ascii")
    flags = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-dict={words}", "-seed=1"]
    flags += ["-print_final_stats=1", f"-artifact_prefix={home}/"]
    atheris.Setup([name, *flags, str(folder / "found"), str(home)], tested.check)
    atheris.Fuzz()


def fill(home: Path, found: Path) -> None:
    """Add inputs up to the most kept, evenly from the short to the long."""
    inputs = sorted(found.iterdir(), key=lambda path: (path.stat().st_size, path.name))
    room = max(MOST_KEPT - len([*home.iterdir()]), 0)
    for path in inputs[:: max(len(inputs) // room, 1)][:room] if room else ():
        shutil.copy(path, home / path.name[:12])


if __name__ == "__main__":
    raise SystemExit(main())
