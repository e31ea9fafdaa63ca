"""Counting what a socket has received, and sizing its receive buffer."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from appliance.edge.overhead import ALLOWANCE, BODY_BUFFER, RATIO, InputMeter


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection: the server's end, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname(), timeout=10)
        ours, _ = listening.accept()
    with ours, theirs:
        yield ours, theirs


def receive(pair: tuple[socket.socket, socket.socket], count: int) -> None:
    """Send so many bytes, and read them."""
    ours, theirs = pair
    theirs.sendall(bytes(count))
    while count:
        count -= len(ours.recv(count))


def test_what_was_received_before_it_began_does_not_count(pair: tuple[socket.socket, socket.socket]) -> None:
    meter = InputMeter(pair[0])
    receive(pair, 2 * ALLOWANCE)
    assert not meter.exceeds(0)
    meter.begin()
    assert not meter.exceeds(0)


@pytest.mark.parametrize("plaintext", [0, 1, 1000])
def test_the_bound(plaintext: int, pair: tuple[socket.socket, socket.socket]) -> None:
    meter = InputMeter(pair[0])
    meter.begin()
    receive(pair, ALLOWANCE + RATIO * plaintext)
    assert not meter.exceeds(plaintext)
    receive(pair, 1)
    assert meter.exceeds(plaintext)


def test_what_nobody_has_read_does_not_count(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    meter = InputMeter(ours)
    meter.begin()
    receive(pair, ALLOWANCE)
    theirs.sendall(bytes(100))
    ours.recv(1, socket.MSG_PEEK)  # it has arrived
    assert not meter.exceeds(0)


def test_a_socket_that_does_not_count() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        meter = InputMeter(ours)
        meter.begin()
        theirs.sendall(bytes(2 * ALLOWANCE))
        assert not meter.exceeds(0)


def test_room_for_a_large_body(pair: tuple[socket.socket, socket.socket]) -> None:
    InputMeter(pair[0]).enlarge_buffer()
    assert pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * BODY_BUFFER


def test_room_for_the_body_of_a_client_that_has_gone() -> None:
    """A reset may be known to the kernel before the loop has been told: this once raised out of a turn of the loop."""
    ours, theirs = socket.socketpair()
    theirs.close()
    meter = InputMeter(ours)
    ours.close()
    meter.enlarge_buffer()
