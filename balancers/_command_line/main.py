"""Reads the arguments, runs a command, and writes its result.

The exit code is 0 if the command has run, 2 for bad input, 130 after Ctrl-C, and 141 if the reader
of the output has gone away.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from balancers._command_line.arguments import new_parser
from balancers._command_line.bad_input import BadInput
from balancers._command_line.output import Report, as_json, one_line, write
from balancers.errors import BalancersError

__all__ = ["main"]

_BAD_INPUT = 2
_INTERRUPTED = 130
_CLOSED_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, write its result, and return the exit code.

    ``arguments`` are those of the process by default.
    """
    try:
        return _run(arguments)
    except (BadInput, BalancersError) as error:
        return _refuse(str(error))
    except MemoryError:
        return _refuse("there is not enough memory for so much input")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return _CLOSED_PIPE
    except OSError as error:  # files are read and written elsewhere, so this is the output
        _discard_output()
        return _refuse(f"standard output: {error.strerror or error}")


def _run(arguments: Sequence[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else [*arguments]
    for argument in given:
        if argument.startswith("--") and argument.endswith("=--"):  # argparse loses such a value
            raise BadInput(f"{argument} has no value")
    try:
        options = new_parser().parse_args(given)
    except SystemExit:  # after the help or the version was printed
        _flush()
        return 0
    picture = None
    if options.plot is not None:
        picture = import_module(f"{__package__}.picture").Picture(options.plot)
    report: Report = import_module(f"{__package__}.{options.command}").run(options)
    if picture is not None:
        picture.save(report.draw)
    write(sys.stdout, as_json(report.data) if options.json else report.text)
    _flush()
    return 0


def _refuse(message: str) -> int:
    """Write one line to the error output, and return the exit code."""
    with suppress(OSError):  # its reader may have gone away
        write(sys.stderr, one_line(f"balancers: {message}"))
    return _BAD_INPUT


def _flush() -> None:
    """Flush the output now, because an error at the exit of Python would be a traceback."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard_output() -> None:
    """Discard what is still in the buffer of the output, which cannot be written."""
    with suppress(OSError, ValueError):  # the output may not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
