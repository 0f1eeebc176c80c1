"""The program of a breach has the class, wherever it was typed; else it says what is missing."""

import linecache
import subprocess
import sys
from typing import Any

import pytest

from balancers.testing._source import Source
from balancers.testing._source_text import source_text
from tests.testing.tutorial import run

TYPED = """
from balancers import RoundRobin
from balancers.testing import LawBroken, check_balancer

MOST = 2

def decorated(cls):
    return cls

@decorated
class Mine(RoundRobin):
    def pick(self, key=None, now=0.0, avoid=()):
        return "z" if len(self.weights) > MOST else super().pick(key, now, avoid)

FACTORY = Mine
def checked():
    try:
        check_balancer(FACTORY, laws=["picks_only_eligible_backends"], examples=100)
    except LawBroken as broken:
        return broken.program
"""


def fails(program: str) -> bool:
    """Return whether a program shows the breach in another process."""
    done = run(["-c", program])
    return done.returncode == 1 and "AssertionError: " in done.stderr


def test_a_class_of_a_notebook_is_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook stores the text of a cell in linecache, by the name of a file that is none."""
    cell = "/no/such/folder/ipykernel/1.py"
    lines = TYPED.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, cell, (len(TYPED), None, lines, cell))
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(TYPED, cell, "exec"), space)  # noqa: S102 - a cell
    program = space["checked"]()
    assert "@decorated\nclass Mine(RoundRobin):" in program
    assert "MOST = 2" in program
    assert fails(program)


def test_a_class_of_a_command_is_in_the_program() -> None:
    done = run(["-c", f"{TYPED}\nprint(checked())"])
    assert "class Mine(RoundRobin):" in done.stdout
    assert fails(done.stdout)


def test_a_class_without_source_text_needs_its_session() -> None:
    """The input of an interpreter that reads a pipe has no text that could be found."""
    text = f"{TYPED}\nprint(program := checked())\nexec(program)\n"
    done = subprocess.run(
        [sys.executable, "-"], input=text, capture_output=True, text=True, check=False
    )
    assert "# The source text of Mine is not known" in done.stdout
    assert "\nmake = Mine\n" in done.stdout
    assert "AssertionError: " in done.stderr, "exec runs it in the same session"


def test_a_lambda_of_a_command_is_found() -> None:
    text = TYPED.replace("FACTORY = Mine", "FACTORY = lambda: Mine()")
    done = run(["-c", f"{text}\nprint(checked())"])
    assert "make = lambda: Mine()" in done.stdout
    assert fails(done.stdout)


def test_a_lambda_inside_a_function_is_found() -> None:
    """What is a global name of its text is a variable of the function around it."""
    wanted = 3

    class Local:
        def method(self) -> int:
            return wanted

    source = Source()
    source.define("make", lambda: Local())  # noqa: PLW0108 - a lambda is meant
    space: dict[str, Any] = {}
    exec("\n".join(source.lines), space)  # noqa: S102 - the beginning of a program
    assert space["make"]().method() == 3


def test_what_has_no_text_at_all_is_an_error() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class Typed:\n    def method(self): pass\nclass Empty: pass\n", space)  # noqa: S102 - typed
    for name in ("Typed", "Empty"):
        with pytest.raises(OSError, match=r"Empty|method|Typed"):
            source_text(space[name])
