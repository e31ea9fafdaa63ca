"""Clients of TLS that send in pieces, and that end, reset or vanish at each point of a connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from appliance.config.schema import Limits
from tests.edge.cases import GET, POST
from tests.edge.live import Live, live
from tests.edge.tls_client import CLOSE_NOTIFY, FIN, VERSIONS, Peer, TLSClient
from tests.edge.wire import split
from tests.factory import make_app

SHORT: Final = Limits(
    max_per_source=None, handshake_timeout=1, header_timeout=1, body_timeout=1, idle_timeout=1, write_timeout=1
)
LASTING: Final = Limits(max_per_source=None)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(lambda: {"/helpscout": make_app(None)}, tmp_path_factory.mktemp("pair"), LASTING) as one:
        yield one


def begin(running: Live, version: ssl.TLSVersion) -> Peer:
    return Peer(running.connect(plain=True), TLSClient(version))


def wait(peer: Peer, condition: Callable[[], bool]) -> None:
    """Read until this holds."""
    peer.sock.settimeout(5)
    while not condition():
        peer.sock.recv(1, socket.MSG_PEEK)
        peer.look()


def shake(peer: Peer) -> None:
    peer.sock.sendall(peer.client.shake())
    wait(peer, lambda: peer.client.shaken)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("raw", [POST, GET], ids=["fast", "tornado"])
def test_bytes_one_by_one(raw: bytes, version: ssl.TLSVersion, running: Live) -> None:
    """Those of the network, not of the request: of each record of the handshake, and of what follows."""
    peer = begin(running, version)
    with contextlib.closing(peer.sock):
        flight = b""
        while not peer.client.shaken:
            for byte in peer.client.shake(flight):
                peer.sock.send(bytes([byte]))
            flight = b"" if peer.client.shaken else peer.sock.recv(65536)
        for byte in peer.client.records(raw) + peer.client.end():
            peer.sock.send(bytes([byte]))
        wait(peer, lambda: FIN in peer.ends)
    assert (len(split(peer.data)), peer.ends) == (1, (CLOSE_NOTIFY, FIN))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("raw", [POST, GET], ids=["fast", "tornado"])
@pytest.mark.parametrize("end", ["close_notify", "FIN", "both"])
def test_who_has_asked_and_ended_gets_every_answer(
    raw: bytes, end: str, version: ssl.TLSVersion, running: Live
) -> None:
    """Though it asked for twenty at once; uvloop's TLS sent nothing after the client's close_notify."""
    peer = begin(running, version)
    with contextlib.closing(peer.sock):
        shake(peer)
        sent = peer.client.records(raw * 20)
        peer.sock.sendall(sent + (peer.client.end() if end != "FIN" else b""))
        if end != "close_notify":
            peer.sock.shutdown(socket.SHUT_WR)
        wait(peer, lambda: FIN in peer.ends)
    answers = split(peer.data)
    refused = raw == GET  # after ten of them the connection ends
    assert (len(answers), peer.ends) == (10 if refused else 20, (CLOSE_NOTIFY, FIN))


def cut(running: Live, version: ssl.TLSVersion, size: int) -> Peer:
    """Return a client that has sent so many bytes of all that it would have to send."""
    peer = begin(running, version)
    left, flight = size, b""
    while not peer.client.shaken:
        raw = peer.client.shake(flight)[:left]
        peer.sock.sendall(raw)
        left -= len(raw)
        if not left:
            return peer
        flight = b"" if peer.client.shaken else peer.sock.recv(65536)
    peer.sock.sendall((peer.client.records(POST) + peer.client.end())[:left])
    return peer


def go_at_each_point(running: Live, go: Callable[[Peer], object]) -> None:
    """Let one client go at every 29th byte; nothing of them is left at the end."""
    with contextlib.ExitStack() as kept:
        opened = running.call(lambda: running.site.counters.events.count("connection_opened"))
        for version in VERSIONS:
            for size in range(1, 1200, 29):
                peer = cut(running, version, size)
                kept.callback(peer.sock.close)
                go(peer)
                opened += 1
        running.wait_for(
            lambda: (
                running.site.counters.events.count("connection_opened") == opened and running.listener.connections == 0
            )
        )
    with contextlib.closing(running.connect()) as good:
        good.sendall(POST)
        assert good.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "go",
    [
        pytest.param(lambda peer: peer.sock.shutdown(socket.SHUT_WR), id="FIN"),
        pytest.param(lambda peer: peer.reset(), id="reset"),
        pytest.param(lambda peer: peer.sock.close(), id="closed"),
    ],
)
def test_one_that_goes_at_each_point(go: Callable[[Peer], object], running: Live) -> None:
    """No deadline is needed."""
    go_at_each_point(running, go)


def test_one_that_vanishes_at_each_point(tmp_path: Path) -> None:
    """Its time ends it."""
    with live(lambda: {"/helpscout": make_app(None)}, tmp_path, SHORT) as running:
        go_at_each_point(running, lambda peer: None)
