"""Reads servers with their weights, from an argument or from a file.

A file contains names, names with weights, or the lines of the configuration of a program.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from balancers._command_line.bad_input import BadInput
from balancers._command_line.numbers import real, whole_number
from balancers._internal.checks import shown

__all__ = ["Server", "read_servers"]

_LARGEST_FILE = 1 << 26
_LARGEST_WEIGHT = 1e300
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True, slots=True)
class Server:
    """Describes one server: its name, its weight, and the other words of its line, if any."""

    name: str
    weight: float = 1
    words: dict[str, str] = field(default_factory=dict[str, str])
    """The parameters of the line.  A word without a value has the value ''."""


def read_servers(text: str, program: str = "") -> list[Server]:
    """Return the servers of an argument: ``a=2,b,c``, or ``@FILE``.

    Each name occurs once, and there is at least one.  Raises BadInput.
    """
    if text.startswith("@"):
        path = text[1:]
        content = _content(path)
        servers = [*_lines(content, path, program)]
    else:
        path = "the list of servers"
        servers = [_server(part, path) for part in text.split(",")] if text.strip() else []
    if not servers:
        raise BadInput(f"{path} contains no servers")
    names = set[str]()
    for server in servers:
        if server.name in names:
            raise BadInput(f"{path} contains {shown(server.name)} twice")
        names.add(server.name)
    return servers


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes long to import
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise BadInput(f"{path or shown(path)}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the path
        raise BadInput(f"{shown(path)} is not the path of a file: {error}") from error
    if len(data) > _LARGEST_FILE:
        raise BadInput(f"{path} is larger than {_LARGEST_FILE} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = shown(data[error.start :][:1])
        raise BadInput(f"{path}: line {line} is not UTF-8: {byte}") from error


def _lines(content: str, path: str, program: str) -> Iterator[Server]:
    """Yield the servers of a file.

    If a line is a server of a configuration of the program, the other lines are ignored.
    """
    lines = [
        (f"{path}: line {number}", line)
        for number, text in enumerate(content.split("\n"), 1)
        if (line := _COMMENT.sub("", text).strip())
    ]
    if program == "nginx":
        lines = [
            (where, part.strip())
            for where, line in lines
            for part in re.split(r"[;{}]", line)
            if part.strip()
        ]
    first, read = _CONFIGURATIONS.get(program, ("", None))
    own = [(where, line.split()[1:]) for where, line in lines if line.split()[0] == first]
    if read is None or not own:
        for where, line in lines:
            for part in line.split(","):
                yield _server(part, where)
        return
    _check_other_lines(lines)
    for where, words in own:
        yield read(words, where)


def _check_other_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Raise BadInput if the servers belong to several sections, or if not all of them are named."""
    sections = set[str]()
    for where, line in lines:
        word = line.split()[0]
        if word in sections:
            raise BadInput(f"{where}: {shown(word)} again: leave one section in the file")
        if word in {"upstream", "backend", "listen"}:
            sections.add(word)
        if word in {"default-server", "server-template"}:
            raise BadInput(f"{where}: {shown(word)} cannot be read: write one line per server")


def _server(part: str, where: str) -> Server:
    """Return the server of a text such as ``a`` or ``a=2``."""
    name, equals, weight = part.strip().rpartition("=")
    if not equals:
        name, weight = weight, "1"
    name = name.strip()
    if not name:
        raise BadInput(f"{where}: a server has no name in {shown(part)}")
    if len(name.split()) > 1:
        raise BadInput(
            f"{where}: {shown(name)} is not the name of a server, because it contains a blank "
            "(a configuration is read only for the methods of its program)"
        )
    value = real(weight.strip())
    if value is None or not 0 <= value <= _LARGEST_WEIGHT:
        raise BadInput(
            f"{where}: weight of {shown(name)} must be a number from 0 to {_LARGEST_WEIGHT:g}, "
            f"not {shown(weight.strip())}"
        )
    return Server(name, value)


def _nginx(words: list[str], where: str) -> Server:
    """Return the server of a line such as ``server 10.0.0.1:80 weight=2 down;``."""
    if not words:
        raise BadInput(f"{where}: a server has no address")
    given = {name: value for name, _, value in (word.partition("=") for word in words[1:])}
    for name in given.keys() - {
        "weight", "max_conns", "max_fails", "fail_timeout", "backup", "down",
    }:  # fmt: skip
        raise BadInput(f"{where}: parameter {shown(name)} is not covered")
    return Server(words[0], _whole_weight(given, where), given)


def _haproxy(words: list[str], where: str) -> Server:
    """Return the server of a line such as ``server s1 10.0.0.1:80 weight 2 backup``."""
    if len(words) < 2:  # noqa: PLR2004 - a name and an address
        raise BadInput(f"{where}: a server needs a name and an address")
    given, rest = dict[str, str](), iter(words[2:])
    for word in rest:
        if word in {"weight", "id", "maxconn"}:
            given[word] = next(rest, "")
        elif word in {"backup", "disabled"}:
            given[word] = ""
    return Server(words[0], _whole_weight(given, where), given)


def _twemproxy(words: list[str], where: str) -> Server:
    """Return the server of a line such as ``- 10.0.0.1:11211:1 name``."""
    address, colon, weight = (words[0] if words else "").rpartition(":")
    if not colon or ":" not in address or len(words) > 2:  # noqa: PLR2004 - the address and a name
        raise BadInput(f"{where}: a server must be host:port:weight, and a name if it has one")
    given = {"weight": weight, **({"name": words[1]} if words[1:] else {})}
    return Server(address, _whole_weight(given, where), given)


_CONFIGURATIONS = {
    "nginx": ("server", _nginx),
    "haproxy": ("server", _haproxy),
    "twemproxy": ("-", _twemproxy),
}
"""For each program, the first word of the line of a server, and the function that reads it."""


def _whole_weight(given: dict[str, str], where: str) -> int:
    text = given.get("weight", "1")
    value = whole_number(text)
    if value is None:
        raise BadInput(f"{where}: weight must be a whole number, not {shown(text)}")
    return value
