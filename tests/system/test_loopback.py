"""The HTTP servers of the recipes close every connection, also those that they just accept."""

import gc
import socket
from collections.abc import Callable

import pytest

from tests.system.recipes import backends


def nothing(_: socket.socket) -> None:
    pass


def request(client: socket.socket) -> None:
    client.send(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("act", [nothing, request, socket.socket.close])
def test_servers_that_stop_close_their_connections(
    act: Callable[[socket.socket], None],
) -> None:
    for _ in range(20):  # the moment of the stop differs
        with backends(3) as servers:
            clients: list[socket.socket] = []
            for server in servers * 4:
                server.delay = 60.0
                host, port = server.name.split(":")
                clients.append(socket.create_connection((host, int(port))))
                act(clients[-1])
        for client in clients:
            client.close()
    gc.collect()  # warns of a connection that is not closed, and warnings are errors
