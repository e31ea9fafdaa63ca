"""A server that sends its answer one byte at a time: no read of a client waits for long, and the answer takes long."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import trustme

PAUSE = 0.03


class SlowServer(NamedTuple):
    """Where it listens, and a context that trusts it."""

    port: int
    trust: ssl.SSLContext


@contextmanager
def slow_server(quick: bytes, slow: bytes, *, tls: bool = True) -> Iterator[SlowServer]:
    """Answer each request with what is `quick` at once, and then with what is `slow` byte by byte.

    Without `tls` that is all that comes, whatever is asked. A client that waits gets the whole answer in the end.
    """
    authority = trustme.CA()
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trust)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def serve(client: socket.socket) -> None:
        with suppress(OSError), client, context.wrap_socket(client, server_side=True) if tls else client as connection:
            while connection.recv(65536):
                connection.sendall(quick)
                for byte in slow:
                    if ended.wait(PAUSE):
                        return
                    connection.sendall(bytes([byte]))

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _address = listening.accept()
                client.settimeout(10)
                threads.append(threading.Thread(target=serve, args=(client,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        acceptor = threading.Thread(target=accept, args=(listening,))
        acceptor.start()
        try:
            yield SlowServer(listening.getsockname()[1], trust)
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads):
                thread.join()
