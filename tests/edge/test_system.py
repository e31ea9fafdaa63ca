"""Checks that need tools of their own, or a process of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.daemon import Daemon, children
from tests.edge.cases import POST
from tests.edge.live import live
from tests.edge.test_tls import NOW, Issued
from tests.factory import body_for, sign

DESCRIPTORS = 64
ATTACKERS = 110
SECONDS = 5.0
IDLE = 1.0


@pytest.mark.system
def test_mozilla_calls_it_compliant(tmp_path):
    sslyze = shutil.which("sslyze", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert sslyze, "pip install '.[system]'"
    begin = (datetime.now(UTC) - NOW).days - 1
    root = Issued("root", begin=begin)
    leaf = Issued("localhost", root, names=["localhost"], begin=begin)
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "pair.pem").write_bytes(leaf.pem + root.pem + leaf.key_pem)
    tls = '[tls]\ncertificate = "pair.pem"\nkey = "pair.pem"\n'
    with Daemon(tmp_path, config=tls) as daemon:
        daemon.wait_for("serving")
        authority_file = f"--certinfo_ca_file={tmp_path / 'root.pem'}"
        done = subprocess.run(
            [sslyze, "--mozilla_config=intermediate", authority_file, f"localhost:{daemon.port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"},  # it is not for clients
        )
    assert "OK - Compliant" in done.stdout, done.stdout
    assert done.returncode == 0


IMPATIENT = "\n".join(f'{name}_timeout = "1s"' for name in ("handshake", "header", "body", "idle"))


def test_more_attackers_than_descriptors(tmp_path, monkeypatch):
    """They hold all they can and come back when they are dropped; the good client is served throughout."""
    popen = subprocess.Popen

    def limited(*arguments, **options):
        limit = (DESCRIPTORS, DESCRIPTORS)
        return popen(*arguments, **options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit))

    monkeypatch.setattr(subprocess, "Popen", limited)
    with Daemon(tmp_path, server=IMPATIENT) as daemon, contextlib.ExitStack() as stack:
        daemon.wait_for("serving")
        processes = [daemon.pid, *children(daemon.pid)]
        attackers = [stack.enter_context(silent(daemon.port)) for _ in range(ATTACKERS)]
        before = sum(map(cpu, processes))
        body = body_for("ann@example.com")
        slowest, served, end = 0.0, 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            began = time.monotonic()
            assert daemon.post(body, sign(body)) == 200
            slowest = max(slowest, time.monotonic() - began)
            served += 1
            attackers[served % ATTACKERS].close()
            attackers[served % ATTACKERS] = stack.enter_context(silent(daemon.port))
            time.sleep(0.1)  # the good client's pace
        used = sum(map(cpu, processes)) - before
        assert daemon.stop() == 0
    assert served > SECONDS * 5
    assert slowest < IDLE + 1
    assert used < 0.5
    assert len([line for line in daemon.lines if line["event"] != "request"]) < 10


def silent(port):
    """Connect and say nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def cpu(process):
    """Give how many seconds of CPU it has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_next_request_is_served_at_once_when_the_house_is_full(tmp_path):
    """Nothing waits for a timeout: making room takes the place of one that only waits."""
    with live(dict, None) as running:
        running.listener._capacity = 5
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(running.connect())
            began = time.monotonic()
            connection = stack.enter_context(running.connect())
            connection.sendall(POST)
            assert connection.recv(100).startswith(b"HTTP/1.1 404 ")
            assert time.monotonic() - began < 0.5
