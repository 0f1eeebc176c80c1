"""Read the configuration format of gdnsd: ``key => value``, ``{ … }``, ``[ … ]`` and comments.

A value is a text, a list of values or a hash.  A comma between two entries is optional, ``=`` is
the same as ``=>``, and a text with spaces stands in quotes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

__all__ = ["Resource", "number", "parsed", "resources", "several", "yes"]

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<sign>=>|[=,{}\[\]]) | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | (?P<bare>(?:[^\s\#=,{}\[\]"\\]|\\.)+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(\d{3}|.)", re.DOTALL)


def parsed(text: str) -> dict[str, Any]:
    """Return the configuration as a hash."""
    tokens = list(_tokens(text))
    if tokens[:1] == [(True, "{")]:
        tokens = tokens[1:-1]
    tokens.append((True, "}"))
    value, rest = _hash(tokens, 0)
    if rest != len(tokens):
        raise ValueError(f"gdnsd configuration: text after its end: {tokens[rest:][:5]}")
    return value


def _tokens(text: str) -> Iterator[tuple[bool, str]]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"gdnsd configuration: {text[place : place + 20]!r}")
        place = found.end()
        if (sign := found["sign"]) is not None:
            yield True, sign
            continue
        word = found["bare"] if found["quoted"] is None else found["quoted"]
        if word is not None:
            yield False, _ESCAPE.sub(_unescaped, word)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code)) if code.isdigit() and len(code) == 3 else code


def _hash(tokens: list[tuple[bool, str]], place: int) -> tuple[dict[str, Any], int]:
    entries: dict[str, Any] = {}
    while tokens[place] != (True, "}"):
        sign, key = tokens[place]
        if (sign, key) == (True, ","):
            place += 1
            continue
        if sign or tokens[place + 1] not in ((True, "=>"), (True, "=")):
            raise ValueError(f"gdnsd configuration: not an entry of a hash: {key!r}")
        if key in entries:
            raise ValueError(f"gdnsd configuration: the key {key!r} twice")
        entries[key], place = _value(tokens, place + 2)
    return entries, place + 1


def _value(tokens: list[tuple[bool, str]], place: int) -> tuple[Any, int]:
    sign, text = tokens[place]
    if not sign:
        return text, place + 1
    if text == "{":
        return _hash(tokens, place + 1)
    if text != "[":
        raise ValueError(f"gdnsd configuration: not a value: {text!r}")
    values: list[Any] = []
    place += 1
    while tokens[place] != (True, "]"):
        if tokens[place] == (True, ","):
            place += 1
            continue
        value, place = _value(tokens, place)
        values.append(value)
    return values, place + 1


def several(value: Any) -> list[str]:
    """Return a list of texts; a single text stands for a list of one."""
    return [value] if isinstance(value, str) else [str(each) for each in value]


def yes(value: Any) -> bool:
    """Return a setting that is true or false."""
    if str(value).lower() in {"true", "on", "yes", "1"}:
        return True
    if str(value).lower() in {"false", "off", "no", "0"}:
        return False
    raise ValueError(f"gdnsd configuration: neither true nor false: {value!r}")


def number(value: Any) -> float:
    """Return a number, as an int if it is a whole one in the configuration."""
    return int(value) if re.fullmatch(r"-?\d+", str(value)) else float(value)


class Resource(NamedTuple):
    """A named resource of a plugin, with the settings it inherits filled in."""

    plugin: str
    name: str
    settings: Mapping[str, Any]


_INHERITED = {
    "multifo": ("service_types", "up_thresh", "ignore_health"),
    "weighted": ("service_types", "up_thresh", "multi"),
    "simplefo": ("service_types",),
}
"""The settings that a plugin's resources take from the plugin's own level."""


def resources(plugins: Mapping[str, Any]) -> dict[tuple[str, str], Resource]:
    """Return every resource by plugin and name."""
    found: dict[tuple[str, str], Resource] = {}
    for plugin, body in plugins.items():
        if not isinstance(body, Mapping):
            continue
        section = cast("Mapping[str, Any]", body)
        if plugin in {"metafo", "geoip"}:
            special = {"resources", "maps"}
            entries: Mapping[str, Any] = section.get("resources", {})
            shared = {key: value for key, value in section.items() if key not in special}
        else:
            inherited = _INHERITED.get(plugin, ())
            entries = {key: value for key, value in section.items() if key not in inherited}
            shared = {key: section[key] for key in inherited if key in section}
        for name, settings in entries.items():
            if isinstance(settings, Mapping):
                whole = {**shared, **cast("Mapping[str, Any]", settings)}
            else:
                labels = {str(place): text for place, text in enumerate(several(settings), 1)}
                whole = {**shared, **labels}
            found[plugin, name] = Resource(plugin, name, whole)
    return found
