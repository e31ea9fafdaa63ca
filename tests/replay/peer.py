"""A peer for load: answers in a way of its own on loopback, in a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncard"
Way = Callable[[socket.socket, int], None]
"""Takes a connection, of which a request was read, and how many requests were read of it before."""


def answers(reply: bytes = GOOD) -> Way:
    """Return a way to answer them all alike."""
    return lambda connection, _count: connection.sendall(reply)


class Peer:
    """What a test asks of it afterwards."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listening.getsockname()[1]
        self.connections = 0
        self.requests: list[bytes] = []


@contextlib.contextmanager
def peer(way: Way, context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """Serve until the block ends; over TLS with a context."""
    here = Peer()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        with connection, contextlib.suppress(OSError):
            count = 0
            while request := connection.recv(65536):  # small ones come whole on loopback
                here.requests.append(request)
                way(connection, count)
                count += 1

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = here.listening.accept()
                connection.settimeout(20)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                here.connections += 1
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield here
    finally:
        here.listening.shutdown(socket.SHUT_RDWR)
        here.listening.close()
        accepting.join(20)
        for thread in threads:
            thread.join(20)
