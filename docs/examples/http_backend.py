"""An HTTP backend that stores its sessions in memory, for the HTTP drill.

python http_backend.py HOST:PORT [DELAY_SECONDS]

Each browser gets its own session.  The response is JSON: the name of the backend, the number of
visits in this session, and the request as it arrived.  A session that moves to another backend
starts again at one visit.

GET /health is answered immediately, with the number of requests that have arrived so far.
"""

import json
import re
import sys
import time
from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from uuid import uuid4


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


class Backend(BaseHTTPRequestHandler):
    """One connection; all connections share the class attributes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60.0  # seconds of silence after which a connection is closed
    name = ""
    delay = 0.0
    visits: ClassVar = Counter[str]()
    arrived: ClassVar = list[str]()  # the paths of all requests

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client disconnected
            super().handle()

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self.respond
        raise AttributeError(name)

    def respond(self) -> None:
        length = self.content_length()
        if length is None:  # the next request on this connection could not be found
            self.send_error(HTTPStatus.BAD_REQUEST, "no plain Content-Length")
            return
        received = self.rfile.read(length)
        if self.path == "/health":
            self.send(json.dumps({"requests": len(self.arrived)}))
            return
        self.arrived.append(self.path)
        time.sleep(self.delay)
        session, known = self.session()
        self.visits[session] += 1
        report = {
            "backend": self.name,
            "visits": self.visits[session],
            "method": self.command,
            "target": self.path,
            "received": len(received),
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
        }
        self.send(json.dumps(report), *[f"session={session}; Path=/; HttpOnly"] * (not known))

    def content_length(self) -> int | None:
        """Return the size of the body, or None if it is unclear, chunked or too large."""
        if self.headers.defects:  # a line without a colon ends the headers for this parser
            return None
        lengths = self.headers.get_all("Content-Length", ["0"])
        plain = len(lengths) == 1 and re.fullmatch("[0-9]{1,8}", lengths[0])
        return int(lengths[0]) if plain and "Transfer-Encoding" not in self.headers else None

    def session(self) -> tuple[str, bool]:
        try:
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        known = "session" in cookies
        return cookies["session"].value if known else uuid4().hex, known

    def send(self, body: str, *cookies: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        pass


def main(name: str, delay: float = 0.0) -> None:
    Backend.name, Backend.delay = name, delay
    host, _, port = name.rpartition(":")
    with Server((host, int(port)), Backend) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
