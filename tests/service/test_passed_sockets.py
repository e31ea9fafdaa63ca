"""Sockets that systemd passes: which are served, which are left alone, and which end the start."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.daemon import Daemon

# What systemd does: descriptors from 3 on, and the process that they are for.
LAUNCHER = """
import fcntl, os, sys
passed = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in {descriptors}]  # none of them is 3 then
for number, descriptor in enumerate(passed):
    os.dup2(descriptor, 3 + number)
names = "{names}"
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, "-W", "error", "-m", "appliance", *sys.argv[1:]])
"""


def daemon(folder: Path, sockets: dict[str, socket.socket]) -> Daemon:
    """Start the service with these sockets by their names."""
    descriptors = [one.fileno() for one in sockets.values()]
    launcher = LAUNCHER.format(descriptors=descriptors, names=":".join(sockets))
    return Daemon(folder, program=(sys.executable, "-c", launcher), pass_fds=descriptors)


def test_what_is_passed_is_served(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as public,
        socket.create_server(("127.0.0.1", 0)) as admin,
        socket.create_server(("127.0.0.1", 0)) as plain,
        daemon(tmp_path, {"https": public, "admin": admin, "http": plain}) as service,
    ):
        service.port, service.admin_port = public.getsockname()[1], admin.getsockname()[1]
        assert service.wait_for("socket_not_served")["name"] == "http"
        assert service.wait_for("serving")["addresses"] == [f"127.0.0.1:{service.port}"]
        assert "Ann Lee" in service.ask()
        assert service.health()["workers"]
        assert service.stop() == 0


def test_the_port_of_the_config_is_not_opened_besides(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as public, daemon(tmp_path, {"https": public}) as service:
        service.wait_for("serving")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.port), timeout=10)


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as public:
        public.bind(str(tmp_path / "socket"))
        public.listen()
        with daemon(tmp_path, {"https": public}) as service:
            assert service.wait_for("serving")["addresses"] == [f"unix:{tmp_path}/socket"]
            assert service.stop() == 0
    assert (tmp_path / "socket").exists()  # it is systemd's


def refused(folder: Path, sockets: dict[str, socket.socket]) -> str:
    """Start the service with these sockets; return why it does not."""
    with daemon(folder, sockets) as service:
        message = str(service.wait_for("start_failed")["message"])
        assert service.end() == 3
    return message


def test_a_socket_that_does_not_listen_ends_the_start(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert "ListenStream=" in refused(tmp_path, {"https": bound})


def test_what_is_no_socket_ends_the_start(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w+") as file:
        assert "the socket unit" in refused(tmp_path, {"https": file})  # type: ignore[dict-item]


def test_admin_pages_that_can_be_reached_from_outside_end_the_start(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as admin:
        assert "the admin pages have no password" in refused(tmp_path, {"admin": admin})
