"""Find the installed programs that a test needs."""

from pathlib import Path
from shutil import which

import pytest


def program(name: str, package: str) -> str:
    """Return an executable from PATH or from the folders of Debian, or skip the test."""
    versions = [folder for folder in Path("/usr/lib/postgresql").glob("*") if folder.name.isdigit()]
    newest_first = sorted(versions, key=lambda folder: int(folder.name), reverse=True)
    for path in (None, "/usr/sbin", *(str(folder / "bin") for folder in newest_first)):
        if found := which(name, path=path):
            return found
    pytest.skip(f"{name} is not installed (Debian package {package})")
