"""What h11 accepts in a request and this proxy refuses.

h11 accepts folded lines, control characters, lines that end with LF, and several equal lengths.
Other programs read these in other ways.  If a proxy in front reads a request differently, its body
can contain another request that only one of the two sees.  So a request must be as in RFC 9112,
without what that document allows for old programs.
"""

import re
from http import HTTPStatus

import h11

LIMIT = 65536  # bytes of a head, of a line between chunks, and of all trailers
VERSIONS = {b"1.0", b"1.1"}

LINE = re.compile(rb"[!-~\x80-\xff][\t -~\x80-\xff]*\r\n")
HEAD = re.compile(rb"(?:%s)+\r\n" % LINE.pattern)
VERSION = re.compile(rb"[!-~]+ [!-~]+ HTTP/([0-9]+(?:\.[0-9]+)?)\r\n")
LENGTH = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t -~]*)?\r\n")


def check_head(head: bytearray) -> None:
    """Check the lines of a head, its version and its lengths.  Raises h11.RemoteProtocolError."""
    if not HEAD.fullmatch(head):
        message = "a line is folded, has a control character, or does not end with CR LF"
        raise h11.RemoteProtocolError(message, HTTPStatus.BAD_REQUEST)
    lengths = LENGTH.findall(head)
    if len(lengths) > 1 or b"," in b"".join(lengths):
        raise h11.RemoteProtocolError("more than one Content-Length", HTTPStatus.BAD_REQUEST)
    version = VERSION.match(head)
    if version and version[1] not in VERSIONS:
        status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        raise h11.RemoteProtocolError("only HTTP/1.0 and HTTP/1.1 are supported", status)


class Chunks:
    """Checks the sizes and the trailers of a chunked body; h11 checks everything else."""

    def __init__(self) -> None:
        self.line = b""  # the beginning of the next line
        self.size = 0  # bytes of this line, or of all trailers
        self.data = 0  # bytes before it
        self.trailers = self.ended = False

    def check(self, received: bytes) -> None:
        """Check the next bytes of a connection.  Raises h11.RemoteProtocolError."""
        start = 0
        while not self.ended and start + self.data < len(received):
            start, self.data = start + self.data, 0
            end = received.find(b"\n", start) + 1
            part = received[start : end or None]
            self.line += part
            self.size += len(part)
            if self.size > LIMIT:
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                message = f"a line between chunks, or the trailers, have more than {LIMIT} bytes"
                raise h11.RemoteProtocolError(message, status)
            if not end:
                break
            if not self.trailers:
                self.size = 0
            self.check_line(self.line)
            self.line, start = b"", end
        else:
            self.data -= len(received) - start

    def check_line(self, line: bytes) -> None:
        if self.trailers:
            self.ended = line == b"\r\n"
            valid = self.ended or LINE.fullmatch(line)
        else:
            valid = size = CHUNK_SIZE.fullmatch(line)
            count = int(size[1], 16) if size else 0
            self.trailers = count == 0
            self.data = count and count + len(b"\r\n")
        if not valid:
            raise h11.RemoteProtocolError("invalid line between chunks", HTTPStatus.BAD_REQUEST)
