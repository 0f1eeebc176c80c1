"""Raw sockets for tests of hostile input: send any bytes, and parse what came back strictly.

``Process``, ``scripted``, ``wait_until`` and the other helpers of ``tests.system.http_processes``
start the programs.  The parser here is written for the tests.  It shares no code with h11 or with
the package, and it accepts only what RFC 9112 requires a sender to write.
"""

import contextlib
import re
import socket
from typing import NamedTuple, Self

from tests.system.http_processes import LIMIT, connect, read_exactly, read_head

__all__ = ["Client", "Message", "answers", "exchange", "requests", "status_of"]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.[01]")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\0\r\n]*?)[ \t]*")
"""A field; control characters in a value may be kept (RFC 9110, section 5.5)."""
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})")
_NO_BODY = {b"204", b"304"}


class Message(NamedTuple):
    """A request or a response, as a strict reader understands it."""

    start: tuple[bytes, bytes]
    """The method and the target of a request, or the status and the phrase of a response."""
    fields: tuple[tuple[bytes, bytes], ...]
    """The names in lower case and the values of the header fields, in order."""
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of a field."""
        return [value for key, value in self.fields if key == name]

    @property
    def status(self) -> int:
        return int(self.start[0])


def exchange(name: str, *parts: bytes, end: bool = False, within: float = LIMIT) -> bytes:
    """Send bytes on a new connection, and return all bytes until the other side closes it.

    Each part is one write.  With ``end``, the sending side is closed after the last part.  If the
    other side is silent for ``within`` seconds, what was received so far is returned.
    """
    received = b""
    with connect(name) as connection, contextlib.suppress(OSError):
        connection.settimeout(within)
        with contextlib.suppress(OSError):  # the other side may answer and close before the end
            for part in parts:
                connection.sendall(part)
            if end:
                connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            received += data
    return received


class Client:
    """A client that keeps its connection, and opens it again when the other side closes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def get(self, target: str) -> tuple[int, bytes]:
        """Return the status and the body for a target, which is sent as it is."""
        if self.connection is None:
            self.connection = connect(self.name)
        self.connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = read_head(self.connection)
        length = re.search(rb"(?i)content-length: *([0-9]+)", head)
        body = read_exactly(self.connection, int(length[1])) if length else b""
        if re.search(rb"(?i)connection: *close", head) or not length:
            self.__exit__()
        return status_of(head), body


def requests(data: bytes) -> list[Message]:
    """Return the requests in the bytes.  Raises ValueError if anything is not strictly valid."""
    return _messages(data, _REQUEST_LINE)


def answers(data: bytes, *methods: str) -> list[Message]:
    """Return the responses in the bytes.  Raises ValueError if anything is not strictly valid.

    ``methods`` are the methods of the requests, in order.  The default is GET.  Interim responses
    (1xx) are returned too.
    """
    return _messages(data, _STATUS_LINE, [method.encode() for method in methods])


def status_of(data: bytes) -> int:
    """Return the status of the first final response, or 0 if there is none."""
    found = re.findall(rb"(?:\A|\r\n\r\n)HTTP/1\.[01] ([2-5][0-9]{2}) ", data)
    return int(found[0]) if found else 0


def _messages(
    data: bytes, line: re.Pattern[bytes], methods: list[bytes] | None = None
) -> list[Message]:
    found: list[Message] = []
    asked = list(methods or ())
    while data:
        head, empty, data = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        start = line.fullmatch(first)
        if not empty or start is None:
            raise ValueError(f"not a message: {first!r}")
        fields: list[tuple[bytes, bytes]] = []
        for text in lines:
            field = _FIELD.fullmatch(text)
            if field is None:
                raise ValueError(f"not a field: {text!r}")
            fields.append((field[1].lower(), field[2]))
        message = Message((start[1], start[2]), tuple(fields), b"")
        is_answer = methods is not None
        interim = is_answer and start[1][:1] == b"1"
        method = asked.pop(0) if asked and not interim else b"GET"
        bodiless = is_answer and (interim or method == b"HEAD" or start[1] in _NO_BODY)
        body, data = (b"", data) if bodiless else _body(message, data, until_end=is_answer)
        found.append(message._replace(body=body))
    return found


def _body(message: Message, data: bytes, until_end: bool) -> tuple[bytes, bytes]:
    """Return the body of a message, and the bytes after it."""
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"] or lengths:
            raise ValueError(f"ambiguous framing: {codings} and {lengths}")
        return _chunked(data)
    if not lengths:
        return (data, b"") if until_end else (b"", data)
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise ValueError(f"ambiguous length: {lengths}")
    size = int(lengths[0])
    if len(data) < size:
        raise ValueError(f"the body ends after {len(data)} of {size} bytes")
    return data[:size], data[size:]


def _chunked(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = _CHUNK_SIZE.fullmatch(line)
        if not end or size is None:
            raise ValueError(f"not a chunk: {line[:40]!r}")
        count = int(size[1], 16)
        if data[count : count + 2] != b"\r\n":
            raise ValueError("a chunk does not end where its size says")
        body, data = body + data[:count], data[count + 2 :]
        if not count:
            return body, data
