"""``python -m tests.mutation [PACKAGE]``: runs what has not been run, and prints the scores."""

import argparse
import os
import sys
from fnmatch import fnmatchcase

from tests.mutation.mutants import Mutant
from tests.mutation.results import NOT_RUN, SURVIVED, UNDECIDED, UNREACHED, Results
from tests.mutation.table import TESTS

FIXED = {"HYPOTHESIS_PROFILE": "mutants", "PYTHONHASHSEED": "0"}


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run mutants, and return 1 if a survivor has no reason or a reason no survivor."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds of tests each")
    parser.add_argument(
        "--only", default="*", help="only scopes, as 'file.py Class.method'; * fits"
    )
    parser.add_argument("--again", action="store_true", help="run the survivors again")
    parser.add_argument("--report", action="store_true", help="run nothing, print the scores")
    parser.add_argument("--verbose", action="store_true", help="print each mutant")
    options = parser.parse_args()
    packages: list[str] = options.packages or list(TESTS)
    unknown = set(packages) - TESTS.keys()
    if unknown:
        parser.error(f"no package of the core: {', '.join(sorted(unknown))}")
    if not options.report:
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        if any(os.environ.get(name) != value for name, value in FIXED.items()):
            os.environ.update(FIXED)
            command = [sys.executable, "-m", "tests.mutation", *sys.argv[1:]]
            os.execv(sys.executable, command)  # noqa: S606 - the hash seed is read at the start
        from tests.mutation.runner import run, tests_of  # noqa: PLC0415 - it imports pytest

        for package in packages:
            tests = tests_of(package)
            again = options.again or Results(package).tests not in ("", tests)

            def wanted(fate: str, name: str, mutant: Mutant, *, again: bool = again) -> bool:
                scope = f"{name} {mutant.scope.name}"
                alive = fate in (SURVIVED, UNREACHED)
                return fnmatchcase(scope, f"*{options.only}") and (
                    fate in (NOT_RUN, UNDECIDED) or (alive and again)
                )

            if not run(
                package, wanted, options.seconds, budget=options.budget, verbose=options.verbose
            ):
                say(f"{package}: nothing is run, since the tests fail without a mutant")
                return 1
    faults: list[str] = []
    for package in packages:
        results = Results(package)
        faults += results.faults()
        say(results.score())
        if results.stale:
            say(f"{'':11}{len(results.stale)} functions changed since {results.commit[:12]}")
        else:
            say(f"{'':11}results of commit {results.commit[:12]}")
    for fault in faults:
        say(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
