"""What happens when a process dies, is stopped, or is told to end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon, alive, children, until
from tests.factory import body_for, sign

IMPATIENT = (sys.executable, str(ROOT / "tests" / "service" / "impatient.py"))


@contextmanager
def clients(daemon: Daemon, number: int = 2) -> Iterator[list[str]]:
    """Ask from several sides, each request on its own connection; give the list of what went wrong."""
    failures: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                if "Ann Lee" not in daemon.ask():
                    failures.append("a wrong card")
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        over.set()
        for thread in threads:
            thread.join()


class Running:
    """A request whose body has yet to come, and which the service has begun to answer: it said 100 Continue."""

    def __init__(self, daemon: Daemon) -> None:
        self.body = body_for("ann@example.com")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.connection = daemon.connect()
        self.connection.connect()
        self.connection.putrequest("POST", "/helpscout")
        self.connection.putheader("X-HelpScout-Signature", sign(self.body).decode())
        self.connection.putheader("Content-Length", str(len(self.body)))
        self.connection.putheader("Expect", "100-continue")
        self.connection.endheaders()
        assert self.connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")

    def finish(self) -> str:
        self.connection.send(self.body)
        answer = self.connection.getresponse()
        text = answer.read()
        self.connection.close()
        assert answer.status == 200
        return str(json.loads(text)["html"])


def test_a_killed_worker_is_replaced_within_a_second(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        with clients(daemon) as failures:
            for _ in range(5):
                victim = daemon.workers()[0]
                until(lambda: daemon.health()["workers"]["ready"] == 2, "both workers")
                os.kill(victim, signal.SIGKILL)
                killed = time.monotonic()
                assert daemon.wait_for("worker_died")["pid"] == victim
                until(lambda: daemon.health()["workers"]["ready"] == 2, "a new worker")
                assert time.monotonic() - killed < 1
        # Two clients, each with one request: no more can have been running in the worker.
        assert len(failures) <= 2 * 5
        assert daemon.requests > len(failures)
        assert daemon.health()["workers"]["restarts"] == 5
        assert daemon.stop() == 0


def test_a_killed_steward_is_replaced_and_nobody_notices(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        workers = daemon.workers()
        with clients(daemon) as failures:
            os.kill(daemon.steward(), signal.SIGKILL)
            daemon.wait_for("steward_died")
            daemon.healthy()
        assert failures == []
        assert daemon.workers() == workers
        assert "sidebard_steward_restarts_total 1.0" in daemon.admin("/metrics")[1]


def test_nothing_survives_a_killed_supervisor(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        family = children(daemon.pid)
        assert len(family) == 3
        os.kill(daemon.pid, signal.SIGKILL)
        until(lambda: not any(map(alive, family)), "the end of all")


@pytest.mark.parametrize("everybody", [False, True], ids=["the supervisor is told", "all processes are, as by pkill"])
def test_lets_running_requests_finish(everybody: bool, tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        request = Running(daemon)
        for pid in children(daemon.pid) if everybody else ():
            os.kill(pid, signal.SIGTERM)
            until(lambda pid=pid: not _pending(pid), "its delivery")  # a second one before it would be lost
        daemon.send(signal.SIGTERM)
        daemon.wait_for("stopping")
        until(lambda: not _accepts(daemon), "closed sockets")
        assert "Ann Lee" in request.finish()
        assert daemon.end() == 0
        assert "requests_cut_off" not in {line["event"] for line in daemon.rest()}


def _pending(pid: int) -> int:
    """Return a mask of the signals that were sent to a process and not delivered yet; 0 for one that has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))
    return 0


def _accepts(daemon: Daemon) -> bool:
    try:
        daemon.ask()
    except OSError:
        return False
    return True


def test_gives_up_on_requests_that_outlast_the_drain(tmp_path: Path) -> None:
    with Daemon(tmp_path, server='drain = "300ms"') as daemon:
        daemon.wait_for("serving")
        request = Running(daemon)
        daemon.send(signal.SIGTERM)
        assert daemon.wait_for("requests_cut_off")["count"] == 1
        assert daemon.end() == 0
        request.connection.close()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with Daemon(tmp_path, server='drain = "1h"') as daemon:
        daemon.wait_for("serving")
        request = Running(daemon)
        daemon.send(signal.SIGTERM)
        daemon.wait_for("stopping")

        def ended() -> bool:
            daemon.send(signal.SIGTERM)
            return daemon.process.poll() is not None

        until(ended, "the end")
        assert daemon.end() == 0
        request.connection.close()


def test_a_stuck_worker_is_replaced(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2, program=IMPATIENT) as daemon:
        daemon.wait_for("serving")
        stuck = daemon.workers()[0]
        os.kill(stuck, signal.SIGSTOP)
        assert daemon.wait_for("worker_stuck")["pid"] == stuck
        assert daemon.wait_for("worker_died")["signal"] == signal.SIGKILL
        until(lambda: len(daemon.workers()) == 2 and stuck not in daemon.workers(), "a new worker")
        daemon.healthy()


def test_a_stopped_and_continued_service_goes_on(tmp_path: Path) -> None:
    with Daemon(tmp_path, program=IMPATIENT) as daemon:
        daemon.wait_for("serving")
        worker = daemon.workers()[0]
        os.killpg(daemon.pid, signal.SIGSTOP)
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 2.5, "longer than a worker may be quiet")
        os.killpg(daemon.pid, signal.SIGCONT)
        assert "Ann Lee" in daemon.ask()
        assert daemon.workers() == [worker]
        assert daemon.stop() == 0
        assert "worker_stuck" not in {line["event"] for line in daemon.rest()}


def test_the_terminals_interrupt_is_the_supervisors_alone(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        request = Running(daemon)
        os.killpg(daemon.pid, signal.SIGINT)
        daemon.wait_for("stopping")
        assert "Ann Lee" in request.finish()
        assert daemon.end() == 0
