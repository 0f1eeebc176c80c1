"""Requests that programs read in different ways, and a strict reader that says what they contain.

Each request is one of a battery that is sent over a raw socket.  ``MARK`` stands for a word that
occurs in no other request.
"""

import re
from random import Random
from typing import NamedTuple

__all__ = [
    "HEADS",
    "MARK",
    "Head",
    "changed",
    "is_strict_head",
    "strict_request",
    "strict_requests",
]

MARK = b"MARK"
HIDDEN = b"GET /MARK/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
NEXT = b"GET /MARK/next HTTP/1.1\r\nHost: x\r\n\r\n"


class Head(NamedTuple):
    name: str
    data: bytes


def post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """Return a POST request with these lines, and the bytes that follow its head."""
    first = b"POST /MARK/first HTTP/" + version
    return b"\r\n".join([first, b"Host: x", *lines, b"", body])


def get(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    return end.join([b"GET /MARK/first HTTP/1.1", b"Host: x", *lines, b"", b""])


def both_ways(name: str, line: bytes) -> list[Head]:
    """Return requests that hide another one from a reader of the length, or of the chunks."""
    chunked = b"0\r\n\r\n" + HIDDEN
    length = b"Content-Length: %d" % len(chunked)
    hidden = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    return [
        Head(f"CL.TE {name}", post(length, line, body=chunked)),
        Head(f"TE.CL {name}", post(line, b"Content-Length: 4", body=hidden)),
        Head(f"TE only, {name}", post(line, body=b"0\r\n\r\n" + NEXT)),
    ]


CODINGS = {
    "plain": b"Transfer-Encoding: chunked",
    "upper case": b"TRANSFER-ENCODING: CHUNKED",
    "space before colon": b"Transfer-Encoding : chunked",
    "tab before colon": b"Transfer-Encoding\t: chunked",
    "no space": b"Transfer-Encoding:chunked",
    "tab after colon": b"Transfer-Encoding:\tchunked",
    "trailing space": b"Transfer-Encoding: chunked ",
    "trailing tab": b"Transfer-Encoding: chunked\t",
    "leading space": b" Transfer-Encoding: chunked",
    "leading tab": b"\tTransfer-Encoding: chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded into another line": b"X: y\r\n Transfer-Encoding: chunked",
    "after a bare LF": b"X: y\nTransfer-Encoding: chunked",
    "after a bare CR": b"X: y\rTransfer-Encoding: chunked",
    "ended by a bare LF": b"Transfer-Encoding: chunked\nX: y",
    "vertical tab": b"Transfer-Encoding: \x0bchunked",
    "form feed": b"Transfer-Encoding: \x0cchunked",
    "NUL": b"Transfer-Encoding: chunked\x00",
    "NUL in the name": b"Transfer-Encoding\x00: chunked",
    "no-break space": b"Transfer-Encoding: \xa0chunked",
    "next line": b"X: y\x85Transfer-Encoding: chunked",
    "file separator": b"X: y\x1cTransfer-Encoding: chunked",
    "underscore": b"Transfer_Encoding: chunked",
    "quoted": b'Transfer-Encoding: "chunked"',
    "misspelled": b"Transfer-Encoding: xchunked",
    "plural": b"Transfer-Encoding: chunkedd",
    "list of two": b"Transfer-Encoding: chunked, chunked",
    "identity last": b"Transfer-Encoding: chunked, identity",
    "identity first": b"Transfer-Encoding: identity, chunked",
    "gzip": b"Transfer-Encoding: gzip, chunked",
    "empty element": b"Transfer-Encoding: , chunked",
    "comma after": b"Transfer-Encoding: chunked,",
    "parameter": b"Transfer-Encoding: chunked;q=1",
    "two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "two lines, one unknown": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    "empty": b"Transfer-Encoding:",
    "named by Connection": b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "with Expect": b"Expect: 100-continue\r\nTransfer-Encoding: chunked",
}
LENGTHS = {
    "plus": b"+5",
    "minus": b"-5",
    "hexadecimal": b"0x5",
    "underscore": b"0_5",
    "exponent": b"5e0",
    "fraction": b"5.0",
    "list": b"5, 5",
    "list of two": b"5, 45",
    "semicolon": b"5;",
    "space inside": b"0 5",
    "tab before": b"\t5",
    "vertical tab": b"\x0b5",
    "NUL": b"5\x00",
    "Arabic digit": "\u0665".encode(),
    "empty": b"",
    "many digits": b"0" * 30 + b"5",
    "leading zero": b"05",
    "folded": b"\r\n 5",
    "second line, the same": b"5\r\nContent-Length: 5",
    "second line, another": b"5\r\nContent-Length: 0",
    "second line with an underscore": b"5\r\nContent_Length: 0",
    "second line, space before colon": b"5\r\nContent-Length : 0",
    "huge": b"9" * 19,
}
CHUNK_SIZES = {
    "plus": b"+5",
    "minus": b"-5",
    "hexadecimal": b"0x5",
    "underscore": b"0_5",
    "space before": b" 5",
    "space after": b"5 ",
    "tab after": b"5\t",
    "extension": b"5;name=value",
    "quoted extension": b'5;name="a;b"',
    "extension with LF": b"5;\n",
    "extension with CR": b"5;a\rb",
    "LF before": b"\n5",
    "CR before CR LF": b"5\r",
    "no digit": b"",
    "no number": b"g",
    "NUL": b"5\x00",
    "leading zeros": b"00005",
    "many leading zeros": b"0" * 60 + b"5",
    "64 bits and more": b"10000000000000005",
    "Arabic digit": "\u0665".encode(),
    "comma": b"5,5",
}
TRAILERS = {
    "a trailer": b"0\r\nX: y\r\n\r\n",
    "a length": b"0\r\nContent-Length: 5\r\n\r\n",
    "LF after the size": b"0\n\r\n",
    "LF in the trailers": b"0\r\nX: y\n\r\n",
    "LF ends the trailers": b"0\r\nX: y\r\n\n",
    "only an LF": b"0\r\n\n",
    "only a CR": b"0\r\n\r",
    "folded": b"0\r\nX:\r\n y\r\n\r\n",
    "space before colon": b"0\r\nX : y\r\n\r\n",
    "NUL": b"0\r\nX: \x00\r\n\r\n",
    "a request as a trailer": b"0\r\nGET /MARK/smuggled HTTP/1.1: x\r\n\r\n",
    "several zeros": b"000\r\n\r\n",
}
VERSIONS = [
    b"0.9",
    b"1.2",
    b"1.10",
    b"2.0",
    b"2",
    b"3",
    b"1.1 ",
    b"11",
    b"1,1",
    b"",
    b"1.1\t",
    b"-1.1",
]
REQUEST_LINES = {
    "two spaces": b"GET  /MARK/first HTTP/1.1",
    "tabs": b"GET\t/MARK/first\tHTTP/1.1",
    "space in the path": b"GET /MARK/first HTTP/1.1 /x HTTP/1.1",
    "leading space": b" GET /MARK/first HTTP/1.1",
    "leading line": b"\r\nGET /MARK/first HTTP/1.1",
    "leading LF": b"\nGET /MARK/first HTTP/1.1",
    "CR in the path": b"GET /MARK/first\r/x HTTP/1.1",
    "LF in the path": b"GET /MARK/first\nX: /x HTTP/1.1",
    "NUL in the path": b"GET /MARK/first\x00 HTTP/1.1",
    "umlaut in the path": "GET /MARK/först HTTP/1.1".encode(),
    "encoded line end": b"GET /MARK/first%0d%0aX:%20y HTTP/1.1",
    "fragment": b"GET /MARK/first#x HTTP/1.1",
    "no version": b"GET /MARK/first",
    "lower-case version": b"GET /MARK/first http/1.1",
    "NUL in the method": b"GE\x00T /MARK/first HTTP/1.1",
    "absolute form": b"GET http://x/MARK/first HTTP/1.1",
    "absolute form with a user": b"GET http://x@y/MARK/first HTTP/1.1",
    "absolute form without a host": b"GET http:///MARK/first HTTP/1.1",
    "authority form": b"CONNECT x:80 HTTP/1.1",
    "CONNECT with a path": b"CONNECT /MARK/first HTTP/1.1",
    "asterisk form": b"OPTIONS * HTTP/1.1",
    "relative": b"GET MARK/first HTTP/1.1",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
}
HOSTS = {
    "two hosts": b"Host: x\r\nHost: y",
    "two equal hosts": b"Host: x\r\nHost: x",
    "no host": b"X: y",
    "space in the host": b"Host: x y",
    "comma in the host": b"Host: x,y",
    "user in the host": b"Host: u@x",
    "path in the host": b"Host: x/y",
    "CR in the host": b"Host: x\ry",
    "tab in the host": b"Host: x\ty",
    "umlaut in the host": "Host: ü".encode(),
    "port of letters": b"Host: x:http",
    "folded host": b"Host: x\r\n y",
    "space before the colon of the host": b"Host : x",
    "quoted host": b'Host: "x"',
}

HEADS = [
    Head("two requests", get() + NEXT),
    Head("a length", post(b"Content-Length: 5", body=b"hello" + NEXT)),
    Head("chunks", post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n" + NEXT)),
    Head("a request in a body", post(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN + NEXT)),
    *[head for name, line in CODINGS.items() for head in both_ways(name, line)],
    *[
        Head(f"length {name}", post(b"Content-Length: " + value, body=b"hello" + HIDDEN))
        for name, value in LENGTHS.items()
        if name not in {"tab before", "leading zero", "second line with an underscore"}
    ],
    *[
        Head(f"length {name}", post(b"Content-Length: " + LENGTHS[name], body=b"hello" + NEXT))
        for name in ("tab before", "leading zero", "second line with an underscore")
    ],
    *[
        Head(
            f"chunk size {name}",
            post(b"Transfer-Encoding: chunked", body=size + b"\r\nhello\r\n0\r\n\r\n" + NEXT),
        )
        for name, size in CHUNK_SIZES.items()
    ],
    Head("chunk end without CR", post(CODINGS["plain"], body=b"5\r\nhello\n0\r\n\r\n" + NEXT)),
    Head("chunk too long", post(CODINGS["plain"], body=b"4\r\nhello\r\n0\r\n\r\n" + NEXT)),
    *[
        Head(f"trailers {name}", post(CODINGS["plain"], body=b"5\r\nhello\r\n" + end + NEXT))
        for name, end in TRAILERS.items()
    ],
    *[
        Head(f"version {version!r}", b"GET /MARK/first HTTP/%s\r\nHost: x\r\n\r\n" % version + NEXT)
        for version in VERSIONS
    ],
    *[
        Head(f"request line, {name}", line + b"\r\nHost: x\r\n\r\n" + NEXT)
        for name, line in REQUEST_LINES.items()
    ],
    *[
        Head(name, b"GET /MARK/first HTTP/1.1\r\n%s\r\n\r\n" % line + NEXT)
        for name, line in HOSTS.items()
    ],
    Head("absolute form with another host", get(b"X: y").replace(b"/MARK", b"http://y/MARK", 1)),
    Head("lines end with LF", get(end=b"\n") + NEXT),
    Head("lines end with CR", get(end=b"\r") + NEXT),
    Head("control character in a value", get(b"X: \x01") + NEXT),
    Head("a name with a space", get(b"X Y: z") + NEXT),
    Head("a line without a colon", get(b"nonsense") + NEXT),
    Head("an empty name", get(b": x") + NEXT),
    Head(
        "HTTP/1.0 with chunks", post(CODINGS["plain"], body=b"0\r\n\r\n" + HIDDEN, version=b"1.0")
    ),
    Head(
        "HTTP/1.0 that stays open",
        b"GET /MARK/first HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + HIDDEN,
    ),
    Head("after Connection: close", get(b"Connection: close") + HIDDEN),
    Head("after close in a list", get(b"Connection: x, CLOSE") + HIDDEN),
    Head("GET with a body", get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN + NEXT),
    Head(
        "HEAD with a body",
        get(b"Content-Length: %d" % len(HIDDEN)).replace(b"GET", b"HEAD", 1) + HIDDEN + NEXT,
    ),
    Head("upgrade to HTTP/2", get(b"Connection: Upgrade", b"Upgrade: h2c") + NEXT),
    Head(
        "upgrade with a body",
        get(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: %d" % len(HIDDEN))
        + HIDDEN
        + NEXT,
    ),
    Head("upgrade that is not accepted", get(b"Connection: Upgrade", b"Upgrade: websocket") + NEXT),
    Head("Expect", post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello" + NEXT)),
    Head("unknown Expect", post(b"Expect: tea", b"Content-Length: 5", body=b"hello" + NEXT)),
    Head(
        "Connection names the length",
        post(b"Connection: content-length", b"Content-Length: 5", body=b"hello" + NEXT),
    ),
    Head("Connection names Host", get(b"Connection: Host") + NEXT),
    Head("after a path that is refused", get().replace(b"/first", b"/%2e%2e/%2e%2e/x") + NEXT),
    Head(
        "after a body that is not read",
        post(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN).replace(b"/first", b"/%2f"),
    ),
]

PIECES = [
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\r\n ",
        b" ",
        b"\t",
        b"\x0b",
        b"\0",
        b"\x1c",
        b"\x85",
    ),
    *(
        b":",
        b",",
        b";",
        b"+",
        b"-",
        b"_",
        b"0",
        b"5",
        b"f",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"HTTP/1.0",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n"),
    *(b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Host: y\r\n", b"GET / HTTP/1.1\r\n"),
]


def changed(rng: Random) -> bytes:
    """Return a request of the battery with one to three random changes; no mark is changed."""
    while True:
        data = original = rng.choice(HEADS).data
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(data) + 1)
            end = start + rng.choice([0, 0, 1, 2, 20])
            data = data[:start] + rng.choice([b"", *PIECES]) + data[end:]
        if data.count(MARK) == original.count(MARK) == data.count(b"/%s/" % MARK):
            return data


LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/(1\.[01])")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~\x80-\xff \t]*?)[ \t]*")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~]*)?")


def strict_requests(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return the method, the target and the body of each request; stop at the first doubt.

    This is RFC 9112 without what it allows for old programs: lines end with CR LF, and a request
    with two lengths is the last one.
    """
    requests: list[tuple[bytes, bytes, bytes]] = []
    while (read := strict_request(data)) is not None:
        request, data, last = read
        requests.append(request)
        if last:
            break
    return requests


def is_strict_head(data: bytes) -> bool:
    """Return whether the bytes begin with a complete head that has one reading only."""
    return read_head(data) is not None


class StrictHead(NamedTuple):
    method: bytes
    target: bytes
    length: int | None
    """None if the body is chunked."""
    last: bool
    rest: bytes


def read_head(data: bytes) -> StrictHead | None:
    head, end, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    line, fields = LINE.fullmatch(first), [FIELD.fullmatch(text) for text in lines]
    if not end or line is None or None in fields:
        return None
    pairs = [(field[1].lower(), field[2].lower()) for field in fields if field]
    method, target, version = line.groups()

    def values(name: bytes) -> list[bytes]:
        return [value for field, value in pairs if field == name]

    hosts, lengths, codings = map(values, (b"host", b"content-length", b"transfer-encoding"))
    wrong = [
        len(hosts) > 1 or (version == b"1.1" and not hosts),
        len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]{1,19}", length) for length in lengths),
        codings not in ([], [b"chunked"]) or bool(codings and version == b"1.0"),
    ]
    if any(wrong):
        return None
    options = b",".join(values(b"connection")).replace(b" ", b"").split(b",")
    last = version == b"1.0" or b"close" in options or bool(lengths and codings)
    length = None if codings else int(*lengths)
    return StrictHead(method, target, length, last, rest)


def strict_request(data: bytes) -> tuple[tuple[bytes, bytes, bytes], bytes, bool] | None:
    """Return the first request, what follows it, and whether it is the last one."""
    head = read_head(data)
    if head is None:
        return None
    rest = head.rest
    read = (
        strict_chunks(rest) if head.length is None else (rest[: head.length], rest[head.length :])
    )
    if read is None or len(read[0]) < (head.length or 0):
        return None
    return (head.method, head.target, read[0]), read[1], head.last


def strict_chunks(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the body, and what follows it."""
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = SIZE.fullmatch(line)
        if not end or size is None:
            return None
        count = int(size[1], 16)
        if not count:
            break
        if data[count : count + 2] != b"\r\n":
            return None
        body, data = body + data[:count], data[count + 2 :]
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end or (line and not FIELD.fullmatch(line)):
            return None
        if not line:
            return body, data
