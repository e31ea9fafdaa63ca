"""What systemd is told, over its own kind of socket."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon


class Listener:
    """Hears what a service tells systemd."""

    def __init__(self, file: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(file))
        self.socket.settimeout(20)
        self.heard: list[str] = []

    def wait_for(self, fact: str) -> dict[str, str]:
        """Give the next message that has this in it."""
        while True:
            message = dict(line.partition("=")[::2] for line in self.socket.recv(4096).decode().splitlines())
            self.heard += [name for name in message if name != "WATCHDOG"]
            if fact in message:
                return message


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(tmp_path / "notify")
    yield listener
    listener.socket.close()


def test_tells_its_whole_life(tmp_path: Path, systemd: Listener) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000", "WATCHDOG_PID": "1"}
    with Daemon(tmp_path, workers=2, environ=environ) as daemon:
        ready = systemd.wait_for("READY")
        assert ready == {"READY": "1", "STATUS": f"2 workers on 127.0.0.1:{daemon.port}, 6 customers"}
        systemd.wait_for("WATCHDOG")
        systemd.wait_for("WATCHDOG")
        systemd.heard.clear()
        daemon.send(signal.SIGHUP)
        assert systemd.wait_for("RELOADING")["MONOTONIC_USEC"].isdigit()
        systemd.wait_for("READY")
        daemon.write_config(server="nonsense = 1")
        daemon.send(signal.SIGHUP)
        systemd.wait_for("RELOADING")
        assert systemd.wait_for("READY")["STATUS"].startswith("still serving with the previous config; reload failed: ")
        daemon.send(signal.SIGTERM)
        systemd.wait_for("STOPPING")
        reload = ["RELOADING", "MONOTONIC_USEC", "READY", "STATUS"]
        assert systemd.heard == [*reload, *reload, "STOPPING", "STATUS"]
        assert daemon.end() == 0


def test_tells_through_an_abstract_socket(tmp_path: Path) -> None:
    name = f"sidebard-test-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(f"\0{name}")
        hears.settimeout(20)
        with Daemon(tmp_path, environ={"NOTIFY_SOCKET": f"@{name}"}):
            assert hears.recv(4096).startswith(b"READY=1\n")


def test_a_dead_notify_socket_is_no_reason_to_stop(tmp_path: Path) -> None:
    with Daemon(tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "nobody")}) as daemon:
        daemon.wait_for("serving")
        assert daemon.stop() == 0
