"""Read the zones of PowerDNS: LUA records that are one call or a chain of conditions, and YAML.

A Lua text, number or name, a table ``{…}`` and a call ``name(…)`` are read; another program raises
``ValueError``.  Of YAML, mappings and lists by indentation and in ``[…]`` and ``{…}`` are read.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

__all__ = ["Call", "Chain", "Table", "lua", "lua_records", "origin", "yaml"]


class Call(NamedTuple):
    """A call of a function with its arguments."""

    name: str
    arguments: list[Any]


class Table(NamedTuple):
    """A Lua table: its values by place, and those by name."""

    values: list[Any]
    named: dict[str, Any]


class Chain(NamedTuple):
    """Conditions in order, each with the value that is returned if it is true; None is ``else``."""

    cases: list[tuple[Call | None, Any]]


_LUA = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_]\w*)
    |(?P<sign>[(){},;=]))""",
    re.VERBOSE,
)
_RECORD = re.compile(r'(\S+)\s+(?:(\d+)\s+)?(?:IN\s+)?LUA\s+(\S+)\s+"((?:[^"\\]|\\.)*)"')


def lua_records(zone: str) -> dict[str, tuple[str, int, str]]:
    """Return the type, TTL and program of every LUA record by its name within the zone."""
    found: dict[str, tuple[str, int, str]] = {}
    for line in zone.splitlines():
        if record := _RECORD.match(line.strip()):
            name, ttl, kind, program = record.groups()
            found[name] = (kind, int(ttl or 0), re.sub(r"\\(.)", r"\1", program))
    return found


def origin(zone: str) -> str:
    """Return the name of the zone, without the dot at its end."""
    found = re.search(r"^\$ORIGIN\s+(\S+)", zone, re.MULTILINE)
    return found[1].rstrip(".") if found else ""


def lua(program: str) -> Any:
    """Return the value, call or chain that a program consists of."""
    tokens = [*_tokens(program), ("end", "")]
    if program.lstrip().startswith(";"):
        value, place = _statement(tokens, 1)
    else:
        value, place = _expression(tokens, 0)
    if tokens[place][0] != "end":
        raise ValueError(f"Lua: more than one call: {program!r}")
    return value


def _tokens(program: str) -> Iterator[tuple[str, str]]:
    place = 0
    program = program.rstrip()
    while place < len(program):
        found = _LUA.match(program, place)
        if found is None:
            raise ValueError(f"Lua: not read: {program[place:]!r}")
        place = found.end()
        kind = str(found.lastgroup)
        yield kind, found[kind]


def _expression(tokens: list[tuple[str, str]], place: int) -> tuple[Any, int]:
    kind, text = tokens[place]
    if kind == "text":
        return text[1:-1], place + 1
    if kind == "number":
        return (float(text) if "." in text else int(text)), place + 1
    if (kind, text) == ("sign", "{"):
        return _table(tokens, place + 1)
    if kind == "word" and tokens[place + 1] == ("sign", "("):
        arguments: list[Any] = []
        place += 2
        while tokens[place] != ("sign", ")"):
            value, place = _expression(tokens, place)
            arguments.append(value)
            if tokens[place] == ("sign", ","):
                place += 1
        return Call(text, arguments), place + 1
    if text in {"true", "false", "nil"}:
        return {"true": True, "false": False}.get(text), place + 1
    raise ValueError(f"Lua: not read: {text!r}")


def _table(tokens: list[tuple[str, str]], place: int) -> tuple[Table, int]:
    table = Table([], {})
    while tokens[place] != ("sign", "}"):
        named = tokens[place][0] == "word" and tokens[place + 1] == ("sign", "=")
        value, after = _expression(tokens, place + 2 * named)
        if named:
            table.named[tokens[place][1]] = value
        else:
            table.values.append(value)
        place = after
        if tokens[place] in {("sign", ","), ("sign", ";")}:
            place += 1
    return table, place + 1


def _statement(tokens: list[tuple[str, str]], place: int) -> tuple[Any, int]:
    """Read ``return …``, or ``if … then return … elseif … else return … end``."""
    if tokens[place] == ("word", "return"):
        return _expression(tokens, place + 1)
    cases: list[tuple[Call | None, Any]] = []
    expected = "if"
    while tokens[place] in {("word", expected), ("word", "else")}:
        otherwise = tokens[place][1] == "else"
        condition, place = (None, place + 1) if otherwise else _condition(tokens, place + 1)
        if tokens[place] != ("word", "return"):
            raise ValueError("Lua: a branch that is not a return")
        value, place = _expression(tokens, place + 1)
        cases.append((condition, value))
        expected = "elseif"
    if not cases or tokens[place] != ("word", "end"):
        raise ValueError("Lua: neither a call nor a chain of conditions")
    return Chain(cases), place + 1


def _condition(tokens: list[tuple[str, str]], place: int) -> tuple[Call, int]:
    bracket = tokens[place] == ("sign", "(")
    value, place = _expression(tokens, place + bracket)
    if bracket:
        place += 1
    if not isinstance(value, Call) or tokens[place] != ("word", "then"):
        raise ValueError("Lua: a condition that is not one call")
    return value, place + 1


def yaml(text: str) -> Any:
    """Return the mappings, lists and texts of a YAML document."""
    lines = [
        (len(line) - len(line.lstrip()), line.strip())
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    return _block(lines)


def _block(lines: list[tuple[int, str]]) -> Any:
    if not lines:
        return None
    depth = lines[0][0]
    starts = [
        place
        for place, (indent, line) in enumerate(lines)
        if indent == depth and (line.startswith("- ") == lines[0][1].startswith("- "))
    ]
    parts = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    if lines[0][1].startswith("- "):
        return [_block([(depth + 2, part[0][1][2:].strip()), *part[1:]]) for part in parts]
    if len(lines) == 1 and not re.search(r":(\s|$)", lines[0][1]):
        return _flow(lines[0][1])
    entries: dict[str, Any] = {}
    for (_, line), *rest in parts:
        key, _, value = _colon(line)
        entries[key] = _flow(value) if value else _block(rest)
    return entries


def _colon(line: str) -> tuple[str, str, str]:
    found = re.match(r"""('[^']*'|"[^"]*"|.*?):(?:\s+(.*))?$""", line)
    if found is None:
        raise ValueError(f"YAML: not an entry: {line!r}")
    return found[1].strip("'\""), ":", (found[2] or "").strip()


def _flow(text: str) -> Any:
    if text[:1] == "[":
        return [_flow(part) for part in _split(text)]
    if text[:1] == "{":
        pairs = [_colon(part) for part in _split(text)]
        return {key: _flow(value) for key, _, value in pairs}
    return text.strip("'\"")


def _split(text: str) -> list[str]:
    parts: list[str] = cast("list[str]", re.findall(r"""(?:'[^']*'|"[^"]*"|[^,'"])+""", text[1:-1]))
    return [part.strip() for part in parts if part.strip()]
