"""How the service starts, and how it does not."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon, until
from tests.factory import CUSTOMERS, write_csv

STILLBORN = (sys.executable, str(ROOT / "tests" / "service" / "stillborn.py"))


def events(daemon: Daemon) -> list[object]:
    return [line["event"] for line in daemon.lines if line["level"] != "warning"]


def test_imports_before_it_serves_when_there_is_nothing_to_serve(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        serving = daemon.wait_for("serving")
        assert events(daemon) == ["import", "serving"]
        assert serving["workers"] == 2
        assert serving["rows"] == len(CUSTOMERS) - 1
        assert "Ann Lee" in daemon.ask()
        assert daemon.stop() == 0
        *before, last = (line["event"] for line in daemon.rest())
        assert (sorted(before), last) == (["request", "stopping"], "stopped")  # a worker writes the first of them


def test_serves_at_once_what_it_has_and_imports_meanwhile(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.stop()
    write_csv(tmp_path / "customers.csv", [*CUSTOMERS, ("new@example.com", "Newcomer", "Pro")])
    with Daemon(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        assert events(daemon) == ["serving"]
        daemon.wait_for("import")
        until(lambda: daemon.health()["workers"]["generations"] == [2], "the new snapshot")
        assert "Newcomer" in daemon.ask("new@example.com")


def test_keeps_serving_what_it_has_when_the_file_is_gone(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.stop()
    (tmp_path / "customers.csv").unlink()
    with Daemon(tmp_path, customers=False) as daemon:
        daemon.wait_for("import_refused")
        assert "Ann Lee" in daemon.ask()
        status, text, _ = daemon.admin("/healthz")
        assert status == 503
        assert "the last import was refused" in text


def test_serves_a_card_that_says_so_without_any_data(tmp_path: Path) -> None:
    with Daemon(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        assert events(daemon) == ["import_refused", "serving"]
        assert "Ann Lee" not in daemon.ask()
        assert "there is no customer data yet" in daemon.health()["reasons"]
        write_csv(tmp_path / "customers.csv")
        daemon.wait_for("import")
        until(lambda: "Ann Lee" in daemon.ask(), "the data")
        assert daemon.health()["status"] == "ok"


def test_an_address_in_use_ends_the_start_with_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Daemon(tmp_path, listen=address) as daemon:
            fault = str(daemon.wait_for("start_failed")["message"])
            assert fault.startswith(f"{address}: cannot listen: Address already in use; ")
            assert daemon.end() == 3


def test_listens_on_a_unix_socket_and_takes_it_away(tmp_path: Path) -> None:
    file = tmp_path / "admin.sock"
    with Daemon(tmp_path, admin=f"unix:{file}") as daemon:
        daemon.wait_for("serving")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(file))
            client.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert daemon.stop() == 0
        assert not file.exists()


def test_no_secret_ends_the_start_with_78(tmp_path: Path) -> None:
    with Daemon(tmp_path, config='[[app]]\nname = "other"\npath = "/other"\nsecrets = ["env:NOT_THERE"]') as daemon:
        fault = daemon.wait_for("config_fault")
        assert "NOT_THERE" in str(fault["message"])
        assert fault["todo"] == f"to see everything that is wrong, run sidebard check --config {daemon.config}"
        assert daemon.end() == 78


def test_a_worker_that_is_never_ready_ends_the_start_with_3(tmp_path: Path) -> None:
    (tmp_path / "stillborn").touch()
    with Daemon(tmp_path, workers=2, program=STILLBORN) as daemon:
        daemon.wait_for("start_failed")
        assert daemon.end() == 3
        assert {line["event"] for line in daemon.lines} >= {"crash", "worker_died"}


def test_a_damaged_log_key_ends_the_start_with_3(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "log.key").touch()
    with Daemon(tmp_path) as daemon:
        assert f"{tmp_path}/state/log.key: the key of the hashes" in str(daemon.wait_for("start_failed")["message"])
        assert daemon.end() == 3


LAUNCHER = """
import os, sys
os.dup2({descriptor}, 3)
os.environ.update(LISTEN_PID=str(os.getpid() + {wrong}), LISTEN_FDS="1", LISTEN_FDNAMES="https")
os.execv(sys.executable, [sys.executable, "-m", "appliance", *sys.argv[1:]])
"""


@pytest.mark.parametrize("wrong", [0, 1], ids=["for us", "for another process"])
def test_takes_the_sockets_that_systemd_passes(tmp_path: Path, wrong: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        launcher = LAUNCHER.format(descriptor=passed.fileno(), wrong=wrong)
        with Daemon(tmp_path, program=(sys.executable, "-c", launcher), pass_fds=[passed.fileno()]) as daemon:
            addresses = daemon.wait_for("serving")["addresses"]
            own, theirs = f"127.0.0.1:{daemon.port}", f"127.0.0.1:{passed.getsockname()[1]}"
            assert addresses == [own if wrong else theirs]
            if not wrong:
                daemon.port = passed.getsockname()[1]
            assert "Ann Lee" in daemon.ask()


def test_refuses_a_socket_that_is_open_to_all_when_there_is_no_tls(tmp_path: Path) -> None:
    # The kernel would let us bind any address; nothing is ever accepted on it.
    with socket.create_server(("0.0.0.0", 0)) as passed:
        launcher = LAUNCHER.format(descriptor=passed.fileno(), wrong=0)
        program = (sys.executable, "-c", launcher)
        with Daemon(tmp_path, program=program, pass_fds=[passed.fileno()], config="[tls]\nenabled = false") as daemon:
            assert "tls.enabled is false" in str(daemon.wait_for("start_failed")["message"])
            assert daemon.end() == 3


def test_without_tls_there_is_no_certificate_to_look_at(tmp_path):
    """It is up once, and stays up: nothing is replaced that has not changed."""
    with Daemon(tmp_path, config="[tls]\nenabled = false\n") as daemon:
        daemon.wait_for("serving")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        daemon.send(signal.SIGTERM)
        daemon.wait_for("stopped")
        events = [line["event"] for line in daemon.lines]
    assert "certificate_changed" not in events
    assert events.count("reloaded") == 1
