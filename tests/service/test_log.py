"""The log and the metrics of the whole service, under load and without a reader."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import threading
from pathlib import Path

from tests.daemon import Daemon, until


def metric(daemon: Daemon, name: str) -> float:
    """Return the sum over a metric's labels."""
    found = re.findall(rf"^sidebard_{name}(?:{{.*}})? (\S+)$", daemon.admin("/metrics")[1], re.MULTILINE)
    assert found, f"there is no sidebard_{name}"
    return sum(map(float, found))


def test_lines_are_whole_and_numbers_are_right_with_two_workers(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        each, sides = 300, 4

        def ask() -> None:
            connection = daemon.connect()
            for number in range(each):
                daemon.ask("ann@example.com" if number % 2 else "nobody@example.com", connection)
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(sides)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert metric(daemon, "requests_total") == each * sides
        assert metric(daemon, "request_seconds_count") == each * sides
        assert metric(daemon, "cache_lookups_total") == each * sides
        assert metric(daemon, "connections_opened_total") == sides
        assert metric(daemon, "log_lines_dropped_total") == 0
        daemon.send(signal.SIGTERM)
        daemon.rest()  # every line is JSON, or this fails
        outcomes = [line["outcome"] for line in daemon.lines if line["event"] == "request"]
        assert outcomes.count("found") == outcomes.count("unknown") == each * sides // 2


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        assert daemon.process.stdout is not None
        fcntl.fcntl(daemon.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        connection = daemon.connect()
        while not metric(daemon, "log_lines_dropped_total"):
            for _ in range(500):
                daemon.ask(connection=connection)
            assert daemon.requests < 20_000
        connection.close()
        assert metric(daemon, "requests_total") == daemon.requests
        daemon.send(signal.SIGTERM)
        daemon.rest()
        assert daemon.end() == 0
        told = sum(line["event"] == "request" for line in daemon.lines)
        assert 1000 < told < daemon.requests


def test_a_log_without_a_reader_at_all_ends_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        assert daemon.process.stdout is not None
        daemon.process.stdout.close()
        assert "Ann Lee" in daemon.ask()
        daemon.healthy()
        assert daemon.stop() == 0


def test_refusals_are_counted_all_and_told_ten_times_a_second(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        connection = daemon.connect()
        for _ in range(200):
            connection.request("POST", "/helpscout", b"{}", {"X-HelpScout-Signature": "wrong"})
            assert connection.getresponse().read()
        connection.close()
        assert 'outcome="bad_signature"} 200.0' in daemon.admin("/metrics")[1]
        first = daemon.wait_for("refusals_not_logged")
        daemon.send(signal.SIGTERM)
        daemon.rest()
        told = sum(line["event"] == "request" for line in daemon.lines)
        left = [line for line in daemon.lines if line["event"] == "refusals_not_logged"]
        assert first in left
        assert told + sum(int(str(line["count"])) for line in left) == 200
        assert json.dumps(left).count("bad_signature") == len(left)


def _answers(daemon: Daemon) -> bool:
    try:
        return bool(daemon.health()["status"] == "ok")
    except ConnectionRefusedError:
        return False


def test_the_level_keeps_events_out(tmp_path: Path) -> None:
    with Daemon(tmp_path, config='[log]\nlevel = "error"\nrequests = false') as daemon:
        until(lambda: _answers(daemon), "an answer")
        daemon.ask()
        daemon.stop()
        assert daemon.rest() == []
