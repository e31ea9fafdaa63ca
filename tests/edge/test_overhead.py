"""How much may be sent beside what it carries, and the size of a socket's receive buffer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.edge.overhead import ALLOWANCE, BODY_BUFFER, RATIO, ReceiveBuffer
from appliance.edge.tls import server_context
from appliance.edge.tls_session import Pipes
from appliance.edge.tls_states import OPEN
from appliance.edge.tls_transport import TLSProtocol, TLSTransport
from tests.edge.turns import Turns
from tests.server import make_pair


class Counting(TLSProtocol):
    """A protocol that counts how often it is told."""

    def __init__(self) -> None:
        self.exceeded = 0

    def overhead_exceeded(self) -> None:
        self.exceeded += 1


class Session:
    """A session in which every read holds the plaintext that a test says."""

    established, ended, output = True, False, b""

    def __init__(self, plaintext: int) -> None:
        self.plaintext = plaintext

    def receive(self, raw: bytes) -> bytes:
        return bytes(self.plaintext)


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[TLSTransport]:
    ours, theirs = socket.socketpair()
    certificate, key, _authority = make_pair(tmp_path)
    context, loop = server_context(certificate, key), Turns()
    with ours, theirs:
        made: Any = TLSTransport(loop, ours, context, Pipes.new(), Counting(), lambda succeeded: None)  # type: ignore[arg-type]
        made._state = OPEN
        yield made


@pytest.mark.parametrize("plaintext", [0, 1, 1000])
def test_the_bound(plaintext: int, transport: Any) -> None:
    transport._session = Session(plaintext)
    transport._receive(bytes(ALLOWANCE + RATIO * plaintext))
    assert transport._protocol.exceeded == 0
    transport._receive(bytes(RATIO * plaintext))
    assert transport._protocol.exceeded == 0
    transport._receive(bytes(RATIO * plaintext + 1))
    assert transport._protocol.exceeded == 1


def test_plaintext_of_before_earns_nothing(transport: Any) -> None:
    """A large body that will be refused would pay for a flood."""
    transport._session = Session(4 * 1024 * 1024)
    transport._receive(bytes(4 * 1024 * 1024))
    transport._session = Session(0)
    transport._receive(bytes(ALLOWANCE))
    assert transport._protocol.exceeded == 0
    transport._receive(bytes(1))
    assert transport._protocol.exceeded == 1


def test_room_for_a_large_body() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname(), timeout=10)
        ours, _ = listening.accept()
    with ours, theirs:
        ReceiveBuffer(ours).enlarge()
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * BODY_BUFFER


def test_room_for_the_body_of_a_client_that_has_gone() -> None:
    """A reset may be known to the kernel before the loop has been told: this once raised out of a turn of the loop."""
    ours, theirs = socket.socketpair()
    theirs.close()
    buffer = ReceiveBuffer(ours)
    ours.close()
    buffer.enlarge()
