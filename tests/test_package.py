"""The package has one version, and its metadata states only what exists."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import balancers

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = SETTINGS["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_written_in_one_place() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert SETTINGS["tool"]["hatch"]["version"]["path"] == "balancers/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", balancers.__version__)
    assert f'\n__version__ = "{balancers.__version__}"\n' in text("balancers/__init__.py")
    assert "version_of" not in text("docs/conf.py")


def test_the_newest_dated_section_of_the_changelog_is_of_this_version() -> None:
    headings = re.findall(r"^## (.*)", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    newest = re.fullmatch(r"\[(.+)\] - (.+)", headings[1])
    assert newest
    assert newest[1] == balancers.__version__
    dates = [date.fromisoformat(heading.partition(" - ")[2]) for heading in headings[1:]]
    assert dates == sorted(dates, reverse=True)


def test_an_address_that_does_not_exist_is_not_stated() -> None:
    assert PROJECT["authors"] == [{"name": "The balancers developers"}]
    assert "urls" not in PROJECT
    missing = text("RELEASING.md").partition("## What does not exist yet")[2]
    for what in ("repository", "issue tracker", "vulnerabilities", "PyPI", "documentation", "tags"):
        assert what in missing, what


def test_ci_installs_every_extra_and_each_of_them_exists() -> None:
    installed, new = set[str](), {"dev"}
    while new:
        installed |= new
        own = (item for extra in new for item in EXTRAS[extra] if item.startswith("balancers["))
        named = {name for item in own for name in re.findall(r"[\w-]+", item.partition("[")[2])}
        new = named - installed
    assert installed == set(EXTRAS)


def test_one_command_builds_and_checks_and_ci_runs_it() -> None:
    script = text(".ci/dist")
    for check in ("validate_pyproject", "-m build", "twine check --strict", "check_wheel_contents"):
        assert check in script, check
    assert "set -euo pipefail" in script
    assert "bash .ci/dist\n" in text(".ci/run")
    assert re.search(r"^dist: ## .*\n\t.* bash \.ci/dist ", text("Makefile"), re.MULTILINE)


def test_each_file_at_the_top_is_in_the_sdist() -> None:
    included = SETTINGS["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    found = {path.relative_to(ROOT) for pattern in included for path in ROOT.glob(pattern[1:])}
    names = {str(path) for path in found}
    pages = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"}
    assert pages | {"LICENSE", "Makefile", ".ci", ".gitignore", "docs", "tests"} <= names


def test_links_between_the_pages_at_the_top_exist() -> None:
    for page in ROOT.glob("*.md"):
        for link in re.findall(r"\]\((?!https://)([^)#]+)\)", text(page.name)):
            assert (ROOT / link).exists(), f"{page.name}: {link}"
