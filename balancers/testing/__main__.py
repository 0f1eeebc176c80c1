"""Replays a log from the command line.

    python -m balancers.testing replay FILE --make module:function

The exit code is 0 if everything was the same, 1 at the first difference, and 2 for bad input.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from balancers._internal.checks import shown

__all__ = ["main"]


class _BadInput(Exception):
    """Raised for what the user must correct; its text is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code."""
    parser = ArgumentParser(prog="python -m balancers.testing", description="Tools for testing.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("replay", help="repeat the calls of a log, and compare them")
    command.add_argument("file", metavar="FILE", help="the log that a Recorder has written")
    command.add_argument(
        "--make",
        required=True,
        metavar="module:function",
        help="the function that constructs the pool again",
    )
    command.add_argument(
        "--resolve",
        metavar="module:function",
        help="the function that returns the backend of a name",
    )
    command.add_argument(
        "--unfinished",
        action="store_true",
        help="accept a log without a last line, for example of a process that was killed",
    )
    options = parser.parse_args(arguments)
    try:
        return _replay(options.file, options.make, options.resolve, unfinished=options.unfinished)
    except _BadInput as error:
        _write(sys.stderr, " ".join(str(error).split()))
        return 2


def _replay(file: str, make: str, resolve: str | None, *, unfinished: bool) -> int:
    from balancers.testing.replay import (  # noqa: PLC0415 - after the arguments were read
        Diverged,
        replay,
    )

    try:
        with open(file, encoding="utf-8", errors="replace") as opened:  # noqa: PTH123 - no pathlib
            lines = [*opened]
    except OSError as error:
        raise _BadInput(f"{file}: {error.strerror}") from error
    functions = _function("--make", make), _function("--resolve", resolve) if resolve else None
    try:
        replayed = replay(lines, functions[0], resolve=functions[1], unfinished=unfinished)
    except Diverged as diverged:
        _write(sys.stdout, str(diverged))
        return 1
    except (Exception, SystemExit) as error:  # an exit code of the module would be misread
        raise _BadInput(f"{file}: {type(error).__name__}: {error}") from error
    sys.stdout.write(
        f"{replayed.lines} lines and {replayed.requests} requests: everything is the same\n"
    )
    return 0


def _function(option: str, name: str) -> Callable[..., Any]:
    """Return the function of a name like ``module:function``."""
    from importlib import import_module  # noqa: PLC0415 - after the arguments were read

    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise _BadInput(f"{option} must be module:function, not {shown(name)}")
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise _BadInput(f"{option} {name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise _BadInput(f"{option} {name} is not a function")
    function: Callable[..., Any] = found
    return function


def _write(stream: TextIO, text: str) -> None:
    """Write a text, which may come from a log.  Control characters have no effect.

    What the encoding of the stream does not have is escaped.
    """
    encoding = stream.encoding or "utf-8"
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    stream.write(f"{shown.encode(encoding, 'backslashreplace').decode(encoding)}\n")


if __name__ == "__main__":
    sys.exit(main())
