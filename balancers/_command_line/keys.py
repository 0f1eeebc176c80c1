"""Reads the keys of requests from a file, or draws random ones."""

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from random import Random
from typing import BinaryIO

from balancers._command_line.bad_input import BadInput
from balancers._internal.checks import shown

__all__ = ["MOST_KEYS", "key_of", "key_text", "random_keys", "read_keys"]

MOST_KEYS = 5_000_000
_LONGEST = 1 << 20
"""The largest number of bytes of a line."""


def read_keys(path: str) -> list[bytes]:
    """Return the lines of a file, without those that are empty.  The path ``-`` is standard input.

    A key is the bytes of its line, because the programs hash bytes.  Raises BadInput.
    """
    try:
        if path == "-":
            keys = [*_lines(sys.stdin.buffer, "standard input")] if sys.stdin is not None else []
        else:
            with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes long to import
                keys = [*_lines(file, path)]
    except OSError as error:
        raise BadInput(f"{path or shown(path)}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the path
        raise BadInput(f"{shown(path)} is not the path of a file: {error}") from error
    if not keys:
        raise BadInput(f"{'standard input' if path == '-' else path} contains no keys")
    return keys


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    count = number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if b"\0" in line:
            raise BadInput(f"{name} is not a text with one key per line: line {number} has a NUL")
        if len(line) > _LONGEST:
            raise BadInput(f"{name}: line {number} is longer than {_LONGEST} bytes")
        key = line.rstrip(b"\r\n")
        if key:
            count += 1
            if count > MOST_KEYS:
                raise BadInput(f"{name} contains more than {MOST_KEYS} keys")
            yield key


def random_keys(count: int, seed: int, *, addresses: bool) -> list[bytes]:
    """Return random keys of 16 hexadecimal digits, or random IPv4 addresses."""
    rng = Random(seed)
    if addresses:
        return [str(IPv4Address(rng.randbytes(4))).encode() for _ in range(count)]
    digits = rng.randbytes(8 * count).hex().encode()
    return [digits[start : start + 16] for start in range(0, len(digits), 16)]


def key_of(text: str) -> bytes:
    """Return the bytes of an argument.  Raises BadInput for text that no argument can contain."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise BadInput(f"a key must be encodable as UTF-8, not {shown(text)}") from error


def key_text(key: bytes) -> str:
    r"""Return the text of a key.  Bytes that are not UTF-8 are escaped.

    >>> key_text("é".encode()), key_text(b"\xff")
    ('é', '\\xff')
    """
    return key.decode(errors="backslashreplace")
