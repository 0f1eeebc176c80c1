"""``python -m tests.parity.live.proxy_protocol``: compare PROXY headers with a running HAProxy.

The table of protocol bytes in ``docs/client_address.md`` is compared with what HAProxy accepts, and
the headers that HAProxy sends are compared with those that are built here.  The exit code is 0 if
everything agrees.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from balancers.proxy_protocol import Endpoint, ProxyHeader, read_proxy_header
from tests.parity.live.__main__ import say
from tests.parity.live.program import executable, version

__all__ = ["main"]

ACCEPTED = {0x20: set(range(256)), 0x21: {0x11, 0x21}}
"""The protocol bytes that HAProxy accepts, for each command."""
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
BLOCKS = {1: bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2]), 2: bytes(32) + b"\0\1\0\2"}
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
ADDRESSES = (
    *("192.0.2.1", "::ffff:192.0.2.1", "::192.0.2.1", "::", "::1", "::2", "::ffff", "::1:0"),
    *("::ffff:0:192.0.2.1", "2001:db8::1", "2001:db8:0:0:1::", "1:0:2:0:3:0:4:0"),
)
START_TIMEOUT = 30.0
TIMEOUT = 5.0
"""Seconds, both."""


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def haproxy(program: str, backend: int) -> Generator[list[int]]:
    """Run HAProxy; yield the ports that answer, forward by version 1, and forward by version 2."""
    ports = free_ports(3)
    with TemporaryDirectory(prefix="proxy-protocol-") as folder:
        path = Path(folder) / "haproxy.cfg"
        forwards = "".join(
            f"listen forward{port}\n    bind 127.0.0.1:{port} accept-proxy\n"
            f"    server here 127.0.0.1:{backend} {send}\n"
            for port, send in zip(ports[1:], ("send-proxy", "send-proxy-v2"), strict=True)
        )
        path.write_text(
            "defaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n"
            "    timeout connect 5s\n"
            f"frontend answer\n    bind 127.0.0.1:{ports[0]} accept-proxy\n"
            '    http-request return status 200 content-type text/plain string "accepted"\n'
            f"{forwards}"
        )
        process = subprocess.Popen([program, "-db", "-f", str(path)], stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + START_TIMEOUT
            while not all(listens(port) for port in ports):
                if time.monotonic() > end or process.poll() is not None:
                    raise TimeoutError("HAProxy did not start")
                time.sleep(0.02)
            yield ports
        finally:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Return whether a port of loopback accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
    except OSError:
        return False
    return True


def accepts(port: int, header: bytes) -> bool:
    """Return whether a request after a header is answered."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        try:
            connection.sendall(header + REQUEST)
            return connection.recv(4096).startswith(b"HTTP/1")
        except ConnectionError:
            return False


def forwarded(port: int, header: bytes, listener: socket.socket) -> bytes:
    """Send a header; return what the backend receives before the request."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(header + REQUEST)
        backend, _ = listener.accept()
        with backend:
            backend.settimeout(TIMEOUT)
            received = b""
            while b"GET /" not in received:
                data = backend.recv(4096)
                if not data:
                    raise ConnectionError(f"HAProxy forwarded no request, only {received!r}")
                received += data
            return received[: received.index(b"GET /")]


def differences(ports: list[int], listener: socket.socket) -> Generator[str]:
    """Yield a line for each difference."""
    for command, protocol in product(ACCEPTED, range(256)):
        block = BLOCKS.get(protocol >> 4, bytes(216))
        fixed = bytes([command, protocol]) + len(block).to_bytes(2, "big")
        if accepts(ports[0], SIGNATURE + fixed + block) != (protocol in ACCEPTED[command]):
            yield f"command {command:#x}, protocol byte {protocol:#x}"
    for texts in product(ADDRESSES, repeat=2):
        source, destination = (Endpoint(ip_address(text), 4711) for text in texts)
        for number, port in enumerate(ports[1:], 1):
            sent = ProxyHeader(source, destination, version=number).build()
            received = forwarded(port, sent, listener)
            if received != sent:
                yield f"{texts}, version {number}: HAProxy sends {received!r}, not {sent!r}"
            header = read_proxy_header(received).header
            if header is None or read_proxy_header(header.build()).header != header:
                yield f"{texts}, version {number}: {received!r} is not read"


def main() -> int:
    """Compare, and return 0 if there is no difference."""
    program = executable("haproxy")
    if program is None:
        say("haproxy is not installed: haproxy (Debian)")
        return 1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        with haproxy(program, int(listener.getsockname()[1])) as ports:
            found = list(differences(ports, listener))
    pairs = len(ADDRESSES) ** 2
    say(f"haproxy {version(program)}: 512 protocol bytes, {2 * pairs} headers")
    for line in found:
        say(line)
    say("NOT all agree" if found else "all agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
