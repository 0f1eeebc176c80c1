"""The public packages and modules, and the names that each of them gives."""

import sys
from importlib.util import find_spec
from pathlib import Path

import balancers

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import reference

__all__ = ["DRAWN", "HOME", "HOMES", "PUBLIC", "ROOT", "home_of", "reference"]

HOME = Path(balancers.__file__).parent
PROGRAMS = ("nginx", "haproxy", "envoy", "caddy", "ketama")
DRAWN = {"balancers.quality.plots"}
"""What needs the extra ``plots``."""
HOMES = [
    *(
        home
        for home in (f"balancers.{section}" for section in reference.HOMES)
        if home not in DRAWN or find_spec("matplotlib")
    ),
    *(f"balancers.interop.{program}" for program in PROGRAMS),
]
"""Where public names live; the root only repeats the most common of them."""
PUBLIC = {home: reference.exported(home) for home in HOMES}
ROOT = reference.exported("balancers")


def home_of(name: str) -> str:
    """Return the module where a name of the root lives."""
    return next(home for home, names in PUBLIC.items() if name in names)
