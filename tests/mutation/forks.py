"""Runs a function in a fork, under limits, and patches the functions of a mutant there."""

import ast
import os
import resource
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from tests.mutation.mutants import Mutant

__all__ = ["CannotPatch", "Tracer", "fork", "patch", "processor_limit"]

MEMORY = 2 << 30
"""Bytes of address space that a fork may add to those of its parent."""


def fork(work: Callable[[Callable[[bytes], None]], int], wall: float) -> tuple[int, bytes]:
    """Run ``work(write)`` in a fork; return its exit code, or minus its signal, and what it wrote.

    A fork that takes longer than ``wall`` seconds is killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.close(reader)
            silence()
            limit_memory()
            code = work(lambda data: _write(writer, data))
        except BaseException:  # noqa: BLE001 - a fork never returns
            code = 2
        finally:
            os._exit(code)
    os.close(writer)
    data = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN | select.POLLHUP)
    while True:
        if not poll.poll(wall * 1000):
            os.kill(child, signal.SIGKILL)
            break
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        data += chunk
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), data


def _write(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]


def silence() -> None:
    """Send the output of this process to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def limit_memory() -> None:
    """Let this process allocate only a limited amount of memory more."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def processor_limit(seconds: float) -> None:
    """Let the system end this process when it has used so much processor time from now on."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


class Tracer:
    """Notes the lines of the package's files that are executed, for one fork."""

    def __init__(self, files: Iterable[str]) -> None:
        from coverage import Coverage  # noqa: PLC0415 - only the runner needs it

        self.displaced = False
        """Whether a test has set a tracer of its own: then some lines are missing."""
        self._files = list(files)
        self._coverage: Any = Coverage(
            data_file=None, config_file=False, include=self._files, check_preimported=False
        )

    def start(self) -> None:
        """Trace this thread and new ones."""
        self._coverage.start()
        settrace = sys.settrace

        def noting(function: Any) -> None:
            self.displaced = True
            settrace(function)

        sys.settrace = noting

    def stop(self) -> dict[str, set[int]]:
        """Trace no longer, and return the lines by file."""
        with warnings.catch_warnings(action="ignore"):  # that no line was executed
            self._coverage.stop()
            data: Any = self._coverage.get_data()
        return {file: set(data.lines(file) or ()) for file in self._files}


class CannotPatch(Exception):
    """Raised for a mutant that can only be applied before the import."""


def patch(mutant: Mutant, tree: ast.Module, filename: str, live: list[FunctionType]) -> None:
    """Apply a mutant to the live functions of its scope."""
    if not live:
        raise CannotPatch
    node = mutant.scope.node
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    mutant.swap()
    if mutant.default is not None:
        _patch_default(mutant.default, node, filename, live)
        return
    changed = [
        code
        for code in _codes(compile(tree, filename, "exec"))
        if code.co_firstlineno == live[0].__code__.co_firstlineno and code.co_name == node.name
    ]
    if len(changed) != 1:
        raise CannotPatch
    for function in live:
        if function.__code__.co_freevars != changed[0].co_freevars:
            raise CannotPatch
        function.__code__ = changed[0]


def _patch_default(
    number: int,
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    filename: str,
    live: list[FunctionType],
) -> None:
    positional = len(node.args.defaults)
    name = ""
    if number < positional:
        expression: ast.expr | None = node.args.defaults[number]
    else:
        expression = node.args.kw_defaults[number - positional]
        name = node.args.kwonlyargs[number - positional].arg
    assert expression is not None
    code = compile(ast.Expression(expression), filename, "eval")
    for function in live:
        try:
            value = eval(code, function.__globals__)  # noqa: S307 - a default of the package
        except NameError as error:
            raise CannotPatch from error
        if number < positional:
            defaults = list(function.__defaults__ or ())
            defaults[number] = value
            function.__defaults__ = tuple(defaults)
        else:
            function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), name: value}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Return the code of each function at module level or of a class."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            if not constant.co_flags & 0x2:  # the body of a class has no fast locals
                yield from _codes(constant)
