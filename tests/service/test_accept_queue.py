"""No client that has connected is lost when a listening socket is closed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.system.accept_queue import has_handshakes, receive_again, refuse_new
from tests.daemon import until

FAMILIES = {
    "IPv4": (socket.AF_INET, ("127.0.0.1", 0)),
    "IPv6": (socket.AF_INET6, ("::1", 0)),
}


@contextlib.contextmanager
def listener(kind: str, folder: Path) -> Iterator[socket.socket]:
    family, address = (socket.AF_UNIX, str(folder / "s")) if kind == "Unix" else FAMILIES[kind]
    with socket.socket(family) as listening:
        listening.bind(address)
        listening.listen(1024)
        listening.setblocking(False)
        yield listening


def client_of(listening: socket.socket) -> socket.socket:
    client = socket.socket(listening.family)
    client.settimeout(0.2)
    return client


@pytest.mark.parametrize("kind", [*FAMILIES, "Unix"])
def test_who_has_connected_is_accepted_and_nobody_else_connects(kind: str, tmp_path: Path) -> None:
    with listener(kind, tmp_path) as listening, client_of(listening) as early, client_of(listening) as late:
        early.connect(listening.getsockname())
        early.sendall(b"before")
        refuse_new(listening)
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            late.connect(listening.getsockname())
        accepted, _ = listening.accept()
        with accepted:
            early.sendall(b", after")
            assert accepted.recv(13, socket.MSG_WAITALL) == b"before, after"
        with pytest.raises(OSError, match=r"unavailable|Invalid"):
            listening.accept()


@pytest.mark.parametrize("kind", [*FAMILIES, "Unix"])
def test_clients_that_keep_coming_are_refused_or_accepted_but_never_reset(kind: str, tmp_path: Path) -> None:
    connected: list[tuple[str, int]] = []
    with listener(kind, tmp_path) as listening:
        address = listening.getsockname()
        queued = threading.Event()

        def come() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = client_of(listening)
                    kept.append(client)
                    client.connect(address)
                    connected.append(client.getsockname())
                    queued.set()

        kept: list[socket.socket] = []
        thread = threading.Thread(target=come)
        thread.start()
        queued.wait()
        refuse_new(listening)
        accepted = 0
        with contextlib.suppress(OSError):
            while True:
                listening.accept()[0].close()
                accepted += 1
        thread.join()
        with pytest.raises(OSError, match=r"unavailable|Invalid"):
            listening.accept()
        for client in kept:
            client.close()
    assert accepted == len(connected)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_connection_that_inherits_the_refusal_can_receive_again(kind: str, tmp_path: Path) -> None:
    with listener(kind, tmp_path) as listening, client_of(listening) as client:
        client.connect(listening.getsockname())
        accepted, _ = listening.accept()
        with accepted:
            refuse_new(accepted)
            client.sendall(b"lost at first")
            accepted.settimeout(0.05)
            with pytest.raises(TimeoutError):
                accepted.recv(1)
            receive_again(accepted)
            accepted.settimeout(10)
            assert accepted.recv(13, socket.MSG_WAITALL) == b"lost at first"


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_handshake_that_is_under_way_is_seen_until_it_can_be_accepted(kind: str, tmp_path: Path) -> None:
    with listener(kind, tmp_path) as listening, listener(kind, tmp_path) as other, client_of(listening) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        client.connect(listening.getsockname())
        assert not has_handshakes(listening)  # it refuses nobody, so others come
        refuse_new(listening)
        refuse_new(other)
        assert (has_handshakes(listening), has_handshakes(other)) == (True, False)
        client.sendall(b"with the last acknowledgement")
        until(lambda: not has_handshakes(listening), "the end of the handshake")
        accepted, _ = listening.accept()
        with accepted:
            receive_again(accepted)
            accepted.settimeout(10)
            assert accepted.recv(29, socket.MSG_WAITALL) == b"with the last acknowledgement"


def test_a_unix_socket_has_no_handshakes(tmp_path: Path) -> None:
    with listener("Unix", tmp_path) as listening, client_of(listening) as client:
        client.connect(listening.getsockname())
        refuse_new(listening)
        assert not has_handshakes(listening)
