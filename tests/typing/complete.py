"""Checks that every public name has a complete type, as type checkers of users see it.

``python -m tests.typing.complete`` prints each incomplete name, and exits with 1 if there is one.
The pictures are left out: in this mode, pyright does not resolve the types of matplotlib.  They are
checked by mypy and pyright like all code.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHOUT = "balancers.quality.plots."
COMMAND = ["-m", "pyright", "--pythonpath", sys.executable, "--ignoreexternal", "--outputjson"]


def main() -> int:
    """Return 1 if a name has no complete type, and print it."""
    run = subprocess.run(
        [sys.executable, *COMMAND, "--verifytypes", "balancers"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    symbols = json.loads(run.stdout)["typeCompleteness"]["symbols"]
    public = [one for one in symbols if one["isExported"] and not one["name"].startswith(WITHOUT)]
    wrong = [one["name"] for one in public if not one["isTypeKnown"] or one["isTypeAmbiguous"]]
    print(f"{len(public)} public names, {len(wrong)} without a complete type", *wrong, sep="\n")
    return int(bool(wrong) or not public)


if __name__ == "__main__":
    raise SystemExit(main())
