"""What stops for a while and goes on by itself: processes, threads, descriptors, disk, folder, or the right time lack.

docs/reliability.md has a table of what happens then; test_runs_out.py holds it to the tests here and elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon, children, until
from tests.factory import CUSTOMERS, write_csv
from tests.service.test_log import metric
from tests.service.test_reload import TLS, served, write_pair

JUMPING = (sys.executable, str(ROOT / "tests" / "service" / "jumping.py"))
UNLUCKY = (sys.executable, str(ROOT / "tests" / "service" / "unlucky.py"))
MORE = [*CUSTOMERS, ("new@example.com", "Newcomer", "Pro")]


def unlucky(folder: Path, full: Path, **options: object) -> Daemon:
    """Give a service that can start no process and no thread while `full` is there."""
    return Daemon(folder, program=UNLUCKY, environ={"NO_PROCESS_WHILE": str(full)}, **options)  # type: ignore[arg-type]


def reasons(daemon: Daemon) -> str:
    return str(daemon.health()["reasons"])


def replace_customers(folder: Path, rows: Sequence[Sequence[str]]) -> None:
    write_csv(folder / "new.csv", rows).rename(folder / "customers.csv")


def test_a_fork_that_fails_ends_nothing(tmp_path: Path) -> None:
    full = tmp_path / "full"
    with unlucky(tmp_path, full, workers=2) as daemon:
        daemon.wait_for("serving")
        full.touch()
        killed = daemon.workers()[0]
        os.kill(killed, signal.SIGKILL)
        why = "no process can be started: Resource temporarily unavailable; raise the limit of processes"
        assert str(daemon.wait_for("start_of_process_failed")["why"]).startswith(why)
        until(lambda: why in reasons(daemon), "the reason")
        assert "Ann Lee" in daemon.ask()
        steward = daemon.steward()
        os.kill(steward, signal.SIGKILL)
        daemon.wait_for("steward_died")
        assert "Ann Lee" in daemon.ask()
        full.unlink()
        daemon.wait_for("start_of_process_works")
        until(lambda: len(daemon.workers()) == 2, "both workers")
        daemon.healthy()
        assert daemon.stop() == 0


def test_an_import_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    full = tmp_path / "full"
    with unlucky(tmp_path, full) as daemon:
        daemon.wait_for("serving")
        steward = daemon.steward()
        full.touch()
        replace_customers(tmp_path, MORE)
        assert str(daemon.wait_for("import_refused")["why"]).startswith("no process can be started")
        assert "no process can be started" in reasons(daemon)
        full.unlink()
        daemon.wait_for("import")
        daemon.healthy()
        assert daemon.steward() == steward
        until(lambda: "Newcomer" in daemon.ask("new@example.com"), "the new data")


def test_a_trail_without_a_thread_waits_for_one(tmp_path: Path) -> None:
    full, trail = tmp_path / "full", tmp_path / "trail"
    with unlucky(tmp_path, full, config='[log]\ntrail = "trail"\n') as daemon:
        daemon.wait_for("serving")
        full.touch()
        for _ in range(3):
            daemon.ask()
        assert "no thread can be started" in str(daemon.wait_for("trail_failed")["why"])
        assert "the audit trail cannot be written: no thread can be started" in reasons(daemon)
        daemon.ask()
        full.unlink()
        assert daemon.wait_for("trail_recovered")["lost"] == 0
        daemon.healthy()
        assert len(trail.read_text().splitlines()) == 4


def test_a_state_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Its generations begin at 1 again, which the workers that have a higher one take over all the same."""
    write_pair(tmp_path)
    with Daemon(tmp_path, workers=2, config=TLS) as daemon:
        daemon.wait_for("serving")
        for rows in (MORE, [*MORE, CUSTOMERS[1]]):
            replace_customers(tmp_path, rows)
            daemon.wait_for("import")
        until(lambda: daemon.health()["workers"]["generations"] == [3, 3], "the third generation")
        hashed = of_ann(daemon)
        look_each(daemon, "1h")  # the folder is looked at each second all the same
        (tmp_path / "state").rename(tmp_path / "removed")
        shutil.rmtree(tmp_path / "removed")
        daemon.wait_for("log_key_restored")
        daemon.wait_for("import")
        os.kill(daemon.workers()[0], signal.SIGKILL)
        daemon.wait_for("worker_died")
        until(lambda: daemon.health()["workers"]["generations"] == [1, 1], "the new data in both")
        daemon.healthy()
        for _ in range(4):
            assert "Ann Lee" in daemon.ask()
        look_each(daemon, "200ms")
        replace_customers(tmp_path, [*MORE, ("last@example.com", "Last of them all", "Pro")])
        until(lambda: daemon.health()["workers"]["generations"] == [2, 2], "the changed data")
        assert of_ann(daemon) == hashed


def look_each(daemon: Daemon, refresh: str) -> None:
    """Set customers.refresh, and wait for the process that looks by it."""
    before = daemon.steward()
    daemon.config.write_text(re.sub('refresh = ".*"', f'refresh = "{refresh}"', daemon.config.read_text()))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded")
    until(lambda: before not in children(daemon.pid) and daemon.health(), "the next steward")


def of_ann(daemon: Daemon) -> object:
    """Give the hash by which the log knows Ann."""
    daemon.ask()
    return daemon.wait_for("request")["customer"]


def swap_for_a_file(state: Path) -> Callable[[], None]:
    state.rename(state.with_name("kept"))
    state.touch()

    def put_back() -> None:
        state.unlink()
        state.with_name("kept").rename(state)

    return put_back


@pytest.mark.parametrize("name", ["state", "state/customers"])
def test_a_file_in_the_place_of_the_state_folder_is_said_and_survived(name: str, tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        family = children(daemon.pid)
        put_back = swap_for_a_file(tmp_path / name)
        said = daemon.wait_for("state_unusable")["why"]
        assert said == (
            f"{tmp_path}/state: the state folder cannot be used: Not a directory;"
            " set server.state to another folder, or correct its owner"
        )
        assert said in daemon.health()["reasons"]
        assert daemon.admin("/")[0] == daemon.admin("/metrics")[0] == 200
        assert "Ann Lee" in daemon.ask()
        if name == "state":
            daemon.send(signal.SIGHUP)
            assert said == daemon.wait_for("reload_refused")["why"]
        put_back()
        daemon.wait_for("state_usable")
        assert children(daemon.pid) == family
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        daemon.healthy()
        assert [line["event"] for line in daemon.lines].count("state_unusable") == 1


def limit_descriptors(pid: int) -> Callable[[], None]:
    """Leave a process no descriptor; give what gives them back."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))

    def put_back() -> None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    return put_back


def used(pid: int) -> float:
    """Give the seconds of CPU that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_a_steward_without_descriptors_waits_for_some(tmp_path: Path) -> None:
    """Its admin pages answer later, it neither spins nor fills the log, and the workers serve."""
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        steward = daemon.steward()
        put_back = limit_descriptors(steward)
        before = used(steward)
        replace_customers(tmp_path, MORE)
        assert "Too many open files" in str(daemon.wait_for("state_unusable")["why"])
        with socket.create_connection(("127.0.0.1", daemon.admin_port), timeout=20) as client:
            assert daemon.wait_for("admin_pages_wait")["why"] == "Too many open files"
            assert "Ann Lee" in daemon.ask()
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            put_back()
            assert client.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")
        daemon.wait_for("state_usable")
        daemon.wait_for("import")
        daemon.healthy()
        assert used(steward) - before < 1
        assert "library" not in {line["event"] for line in daemon.lines}


def test_a_worker_without_descriptors_lets_clients_and_new_data_wait(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        (worker,) = daemon.workers()
        put_back = limit_descriptors(worker)
        before = used(worker)
        replace_customers(tmp_path, MORE)
        daemon.wait_for("import")
        with contextlib.closing(daemon.connect()) as connection, ThreadPoolExecutor(1) as side:
            asking = side.submit(daemon.ask, "new@example.com", connection)
            until(lambda: daemon.health()["data"]["generation"] == 2, "the new data")
            assert daemon.health()["workers"]["generations"] == [1]
            assert not asking.done()
            put_back()
            assert asking.result()
        until(lambda: "Newcomer" in daemon.ask("new@example.com"), "the new data in the worker")
        assert used(worker) - before < 1
        assert daemon.workers() == [worker]


def test_a_supervisor_without_descriptors_refuses_a_reload_and_goes_on(tmp_path: Path) -> None:
    write_pair(tmp_path)
    with Daemon(tmp_path, config=TLS) as daemon:
        daemon.wait_for("serving")
        family = children(daemon.pid)
        put_back = limit_descriptors(daemon.pid)
        daemon.send(signal.SIGHUP)
        assert "Too many open files" in str(daemon.wait_for("reload_refused")["why"])
        assert "Ann Lee" in daemon.ask()
        assert children(daemon.pid) == family
        new = write_pair(tmp_path)
        assert "Too many open files" in str(daemon.wait_for("certificate_refused")["why"])
        put_back()
        daemon.wait_for("reloaded")  # without a change of the files
        assert served(daemon) == new
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        daemon.healthy()
        assert [line["event"] for line in daemon.lines].count("certificate_refused") == 1


def test_a_certificate_that_is_put_back_replaces_nobody(tmp_path: Path) -> None:
    write_pair(tmp_path)
    with Daemon(tmp_path, config=TLS) as daemon:
        daemon.wait_for("serving")
        family = children(daemon.pid)
        (tmp_path / "key.pem").rename(tmp_path / "away")
        daemon.wait_for("certificate_refused")
        until(lambda: "the new certificate is not used" in reasons(daemon), "the reason")
        (tmp_path / "away").rename(tmp_path / "key.pem")
        daemon.healthy()
        assert children(daemon.pid) == family


def test_a_log_on_a_full_disk_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, Daemon(tmp_path, workers=2, stdout=full.fileno()) as daemon:
        until(lambda: answers(daemon), "an answer")
        for _ in range(10):
            assert "Ann Lee" in daemon.ask()
        until(lambda: metric(daemon, "log_lines_dropped_total") >= 10, "the count")
        replace_customers(tmp_path, MORE)
        until(lambda: "Newcomer" in daemon.ask("new@example.com"), "the new data")
        assert daemon.stop() == 0


def answers(daemon: Daemon) -> bool:
    try:
        return not daemon.health()["reasons"]
    except OSError:
        return False


def test_a_clock_that_jumps_restarts_nothing_and_is_said(tmp_path: Path) -> None:
    """A wrong clock ages data, in cards and in health, and data from the future is not new for ever."""
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    options = {"program": JUMPING, "environ": {"CLOCK_AHEAD": str(ahead)}, "customer_keys": 'max_age = "1h"'}
    with Daemon(tmp_path, **options) as daemon:  # type: ignore[arg-type]
        daemon.wait_for("serving")
        family = children(daemon.pid)
        jump(ahead, 2 * 3600)
        assert "This data is out of date" in daemon.ask()
        assert "older than customers.max_age" in reasons(daemon)
        jump(ahead, -10 * 3600)
        assert "by the system clock the customers were read" in str(daemon.wait_for("clock_set_back")["why"])
        assert "it was set back" in reasons(daemon)
        assert daemon.health()["data"]["age_seconds"] < 60
        assert "old" not in daemon.ask()
        jump(ahead, -8.5 * 3600)
        assert "older than customers.max_age" in reasons(daemon)
        assert "This data is out of date" in daemon.ask()
        jump(ahead, 0)
        daemon.healthy()
        assert "old" not in daemon.ask()
        jump(ahead, 400 * 86400)
        assert "This data is out of date" in daemon.ask()
        assert children(daemon.pid) == family
        assert daemon.stop() == 0


def jump(ahead: Path, seconds: float) -> None:
    """Set the clock, for every process at once."""
    ahead.with_name("next").write_text(str(seconds))
    ahead.with_name("next").rename(ahead)
