"""The check of the sockets: what is in use is left alone."""

from __future__ import annotations

import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.checks import sockets
from appliance.checks.context import CheckContext
from appliance.checks.finding import Status
from appliance.config.endpoint import Endpoint
from appliance.config.loader import load
from tests.checks.running import context, only, run_check, told
from tests.daemon import Daemon, until
from tests.ports import free_port


def test_a_port_that_somebody_holds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        finding = only(run_check("sockets", context(tmp_path, server=f'listen = ["0.0.0.0:{port}"]')))
    assert finding.status is Status.FAULT
    assert finding.sentence.startswith(f"0.0.0.0:{port} is in use by python")
    assert "stop it, or choose another address in server.listen" in finding.sentence


def test_ports_that_sidebard_holds_are_left_alone(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        found = told(run_check("sockets", CheckContext(load(daemon.config, {}), {})))
        assert daemon.stop() == 0
    ports = (daemon.port, daemon.admin_port)
    assert found == [("ok", f"127.0.0.1:{port} is in use by sidebard") for port in ports]


def test_a_free_port_stays_free(tmp_path: Path) -> None:
    port = free_port()
    where = context(tmp_path, server=f'listen = ["127.0.0.1:{port}", "[::1]:{port}"]')
    assert run_check("sockets", where).status is Status.OK
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    finding = only(run_check("sockets", context(tmp_path, server='listen = ["192.0.2.1:4433"]')))
    assert (finding.status, "Cannot assign requested address" in finding.sentence) == (Status.FAULT, True)


def test_unix_sockets(tmp_path: Path) -> None:
    where = context(tmp_path, server=f'listen = ["unix:{tmp_path}/s"]', tls="enabled = false")
    assert only(run_check("sockets", where)).sentence == f"unix:{tmp_path}/s is free"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(f"{tmp_path}/s")
        assert only(run_check("sockets", where)).status is Status.OK  # left behind by one that was killed
        held.listen()
        assert only(run_check("sockets", where)).sentence.startswith(f"unix:{tmp_path}/s is in use by python")
    where = context(tmp_path, server=f'listen = ["unix:{tmp_path}/no/s"]', tls="enabled = false")
    assert f"the folder {tmp_path}/no does not exist; create it" in only(run_check("sockets", where)).sentence


@pytest.mark.parametrize(
    ("holders", "status"),
    [({"sidebard"}, "ok"), ({"systemd", "sidebard"}, "ok"), ({"nginx"}, "fault"), (set(), "not_checked")],
    ids=["sidebard", "systemd and sidebard", "another program", "another user"],
)
def test_who_holds_it(holders: set[str], status: str) -> None:
    finding = sockets.judge_held(Endpoint("0.0.0.0", 443), "server.listen", holders)
    assert finding.status.value == status
    assert all(holder in finding.sentence for holder in holders)


@pytest.mark.parametrize(
    ("wanted", "held", "overlap"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.2", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::", True),
        ("::1", "0.0.0.0", False),
        ("::1", "::", True),
        ("127.0.0.1", "::1", False),
    ],
)
def test_overlap(wanted: str, held: str, overlap: bool) -> None:
    assert sockets.overlap(wanted, ip_address(held)) is overlap


def test_a_process_with_an_argument_that_is_not_utf8(tmp_path: Path) -> None:
    """Any user of the machine may run one."""
    with subprocess.Popen(["cat", b"\xff", "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        until(lambda: sockets._name_of(other.pid) == "cat", "the process")
        assert run_check("sockets", context(tmp_path)).status is Status.OK
        other.communicate()
