"""A real server on a loopback port, with real TLS, for tests that talk to it as a client would."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import trustme
import uvloop
from tornado.testing import bind_unused_port

from appliance.config.schema import Limits
from appliance.edge.listener import Listener
from appliance.edge.site import Site, by_path
from appliance.edge.tls import server_context
from appliance.edge.web import AskAbout, make_application
from appliance.observe.logs import RequestLine, RequestLog
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.helpscout_webhook import StoreChange
from tests.edge.wire import ignore_refusal, mounts_of
from tests.fakes import NoCounters


@dataclass
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Lines(BytesIO):
    """The log of a server in another thread: its lines can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._written = threading.Condition()

    def write(self, line: bytes) -> int:  # type: ignore[override]
        """Take one line."""
        with self._written:
            self._written.notify_all()
            return super().write(line)

    def take(self, line: RequestLine) -> None:
        """Take one line that is not encoded yet."""
        self.write(msgspec.json.encode(line) + b"\n")

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Wait at the end of the block until a line was written since its beginning."""
        before = len(self.getvalue())
        yield
        with self._written:
            assert self._written.wait_for(lambda: len(self.getvalue()) > before, 10)

    def last(self) -> dict[str, Any]:
        """Give the last line."""
        line: dict[str, Any] = json.loads(self.getvalue().splitlines()[-1])
        return line


@dataclass
class Server:
    """A running server."""

    port: int
    client: ssl.SSLContext
    lines: Lines

    def exchange(self, *pieces: bytes) -> bytes:
        """Send these bytes and give all that comes back until the server closes."""
        received = b""
        with (
            self.lines.one_more(),
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as raw,
            self.client.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            for piece in pieces:
                connection.sendall(piece)
            while more := connection.recv(65536):
                received += more
        return received

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.client, timeout=10)
        with contextlib.closing(connection), self.lines.one_more():
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Response(response.status, dict(response.getheaders()), response.read())

    def post(self, body: bytes, signature: bytes | None, path: str = "/helpscout") -> Response:
        """Post as Help Scout does."""
        signed = {} if signature is None else {"X-HelpScout-Signature": signature.decode("latin-1")}
        return self.request("POST", path, body, {"Content-Type": "application/json", **signed})


def make_issued() -> trustme.LeafCert:
    """Give a certificate and key for localhost."""
    return trustme.CA().issue_cert("localhost", "127.0.0.1")


def make_pair(folder: Path) -> tuple[Path, Path, trustme.CA]:
    """Give a certificate and key for localhost, and the authority that issued it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "server.crt", folder / "server.key"
    issued.private_key_pem.write_to_path(key)
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(certificate, append=number > 0)
    return certificate, key, authority


@contextlib.contextmanager
def serving(
    make_apps: Callable[[], dict[str, SidebarApp]],
    folder: Path,
    store_change: StoreChange | None = None,
    ask_about: AskAbout | None = None,
) -> Iterator[Server]:
    """Serve each app at its path over TLS, in a thread, which makes them, until the block ends."""
    certificate, key, authority = make_pair(folder)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    lines = Lines()
    listening, port = bind_unused_port()
    ready = threading.Event()
    loop = uvloop.new_event_loop()

    async def serve() -> None:
        mounts = mounts_of(make_apps())
        log = RequestLog(lines, count(1_790_000_000.0).__next__)  # no second has too many refusals
        site = Site(
            mounts=by_path(mounts),
            application=make_application(
                mounts, log, time.perf_counter, NoCounters(), ignore_refusal, store_change, ask_about=ask_about
            ),
            request_log=log,
            counters=NoCounters(),
            sample_refusal=ignore_refusal,
            timer=time.perf_counter,
            clock=time.time,
        )
        listener = Listener([listening], server_context(certificate, key), site, Limits(max_per_source=None), loop)
        listener.start()
        ending = asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(ending.set))
        ready.set()
        await ending.wait()
        listener.stop()
        await listener.drain(1.0)

    stop: list[Callable[[], object]] = []
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield Server(port, client, lines)
    finally:
        stop[0]()
        thread.join(10)
        loop.close()
