"""A listener in a thread, on a loopback port, and clients that do what no decent client does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from appliance.config.schema import Limits
from appliance.edge.first_bytes import Balancers
from appliance.edge.listener import Listener
from appliance.edge.response import CONTINUE
from appliance.edge.tls import server_context
from appliance.edge.validation import Validations
from tests.edge.wire import Apps, RecordingSite, make_site, split
from tests.server import make_pair

MakeApps = Callable[[], Apps]
T = TypeVar("T")

LINGER_AND_RESET = struct.pack("ii", 1, 0)


@dataclass
class Live:
    """A running listener."""

    listener: Listener
    site: RecordingSite
    port: int
    client: ssl.SSLContext | None
    loop: asyncio.AbstractEventLoop

    def connect_tls(self, **options: Any) -> ssl.SSLSocket:
        """Return a connection after its handshake, for which these are `wrap_socket`'s options."""
        assert self.client is not None
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.client.wrap_socket(raw, server_hostname="localhost", **options)

    def connect(self, source: str = "127.0.0.1", *, plain: bool = False) -> socket.socket:
        """Return a connection, through the handshake unless `plain`."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(source, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if plain or self.client is None:
            return raw
        try:
            return self.client.wrap_socket(raw, server_hostname="localhost")
        except BaseException:
            raw.close()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call this in the listener's thread, and return what it returns."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until this holds in the listener's thread."""
        end = time.monotonic() + seconds
        while not self.call(condition):
            assert time.monotonic() < end, "it never came to hold"
            time.sleep(0.002)

    @property
    def outcomes(self) -> list[str]:
        """How the requests ended."""
        return [outcome for _app, outcome, _cache in self.site.counters.requests]


@contextlib.contextmanager
def live(
    make_apps: MakeApps,
    folder: Path | None,
    limits: Limits | None = None,
    balancers: Balancers | None = None,
    validations: Validations | None = None,
    before: Callable[[int], object] | None = None,
) -> Iterator[Live]:
    """Serve these apps until the block ends; over TLS if there is a folder for its certificate.

    `before` is called with the port when clients can connect and nobody accepts them yet.
    """
    context = client = None
    if folder is not None:
        certificate, key, authority = make_pair(folder)
        context = server_context(certificate, key)
        client = ssl.create_default_context()
        authority.configure_trust(client)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    loop = uvloop.new_event_loop()
    made: list[Live] = []
    ready, ending = threading.Event(), asyncio.Event()

    async def serve() -> None:
        site = replace(make_site(make_apps()), timer=time.perf_counter, clock=time.time)
        own = limits or Limits(max_per_source=None)
        listener = Listener([listening], context, site, own, loop, balancers or Balancers(), validations)
        port = listening.getsockname()[1]
        if before is not None:
            before(port)
        listener.start()
        made.append(Live(listener, site, port, client, loop))
        ready.set()
        await ending.wait()
        listener.stop()
        await listener.drain(1.0)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10)
        yield made[0]
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
    assert made[0].listener.connections == 0
    events = made[0].site.counters.events
    assert events.count("connection_opened") == events.count("connection_closed")


def exchange(connection: socket.socket, pieces: list[bytes], answers: int = 1, head: bool = False) -> bytes:
    """Send all, read so many answers, then say that this was all and give all that came back until the end."""
    for piece in pieces:
        connection.sendall(piece)
    received = b""
    while not _complete(received, answers, head):
        more = connection.recv(65536)
        if not more:
            return received
        received += more
    end(connection)
    with contextlib.suppress(ssl.SSLZeroReturnError):  # what recv() says of the end when both sides have said it
        while more := connection.recv(65536):
            received += more
    return received


def end(connection: socket.socket) -> None:
    """Say that nothing more will come, and go on reading: close_notify over TLS (RFC 8446, 6.1), FIN without."""
    if not isinstance(connection, ssl.SSLSocket):
        connection.shutdown(socket.SHUT_WR)
        return
    timeout = connection.gettimeout()
    connection.settimeout(0)  # unwrap() sends it at once, and would then wait for the other side's
    with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
        connection.unwrap()
    connection.settimeout(timeout)


def _complete(received: bytes, answers: int, head: bool) -> bool:
    try:
        return len(split(received.replace(CONTINUE, b""), head)) >= answers
    except AssertionError:
        return False


def reset(connection: socket.socket) -> None:
    """End a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AND_RESET)
    connection.close()
