"""Whatever a process of the service says, and however: it is a line of the log, and there are not too many of them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.coverage_env import COVERAGE
from tests.daemon import FLAWS, ROOT, Daemon, Line, until
from tests.factory import CUSTOMERS, write_csv
from tests.server import make_pair

OUTSPOKEN = (sys.executable, str(ROOT / "tests" / "service" / "outspoken.py"))
PROCESSES = ("supervisor", "worker", "steward", "import")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """Give all that a service says whose processes say something in every way."""
    with Daemon(tmp_path_factory.mktemp("outspoken"), program=OUTSPOKEN, expected=FLAWS) as daemon:
        daemon.wait_for("serving")
        daemon.healthy()
        assert daemon.stop() == 0
        daemon.rest()
        return daemon.lines


WAYS = {
    "sys.unraisablehook": ("unraisable", {"error": "In_{}"}, 1),
    "sys.excepthook and threading.excepthook": ("crash", {"error": "In_{}"}, 2),
    "warnings.showwarning": ("warning", {"category": "In_{}"}, 1),
    "logging": ("library", {"library": "in_{}"}, 1),
    "logging.lastResort": ("library", {"library": "lone_{}"}, 0),
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("way", WAYS)
def test_every_hook_of_python_is_set_in_every_process(said: list[Line], process: str, way: str) -> None:
    event, marks, times = WAYS[way]
    marks = {key: mark.format(process) for key, mark in marks.items()}
    lines = [line for line in said if line["event"] == event and marks.items() <= line.items()]
    assert len(lines) == times


@pytest.mark.parametrize("process", ["worker", "steward"])
def test_what_a_loop_reports_is_a_line(said: list[Line], process: str) -> None:
    assert f"loop of {process}" in [line["message"] for line in said if line["event"] == "library"]


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("stream", ["stderr", "stdout", "print"])
def test_what_is_written_past_the_log_is_a_line(said: list[Line], process: str, stream: str) -> None:
    (line,) = [line for line in said if f"{stream} of {process}" in str(line.get("text"))]
    assert line["event"] == "stderr"
    assert line["process"] == ("steward" if process == "import" else process)


@pytest.mark.parametrize("process", PROCESSES)
def test_crashes_in_c_code_are_told_by_every_process(said: list[Line], process: str) -> None:
    assert any(f"faulthandler of {process} is on" in str(line.get("text")) for line in said)


def test_no_line_holds_what_an_exception_or_warning_says(said: list[Line]) -> None:
    assert "ann@example.com" not in json.dumps(said)


BUG = """
from appliance.cli import main
from appliance.service.supervisor import Supervisor

def fail(supervisor):
    print("before", end="")
    raise RuntimeError("ann@example.com")

Supervisor._run_once = fail
main()
"""


def test_a_bug_of_the_supervisor_is_a_line(tmp_path: Path) -> None:
    with Daemon(tmp_path, program=(sys.executable, "-c", BUG), expected=["stderr"]) as daemon:
        assert daemon.wait_for("crash")["error"] == "RuntimeError"
        assert daemon.end() == 70
        assert daemon.rest() == []
        assert [line["text"] for line in daemon.lines if line["event"] == "stderr"] == ["before"]
        assert "ann@example.com" not in json.dumps(daemon.lines)


# Crashes that Python cannot tell of.


@pytest.mark.parametrize("process", ["worker", "steward"])
def test_the_stack_of_an_abort_is_logged_before_the_death(tmp_path: Path, process: str) -> None:
    with Daemon(tmp_path, expected=["stderr"]) as daemon:
        daemon.wait_for("serving")
        victim = (daemon.workers() if process == "worker" else [daemon.steward()])[0]
        os.kill(victim, signal.SIGABRT)
        died = daemon.wait_for(f"{process}_died")
        assert (died["pid"], died["signal"]) == (victim, signal.SIGABRT)
        lines = [line for line in daemon.lines if line["event"] == "stderr"]
        assert {(line["process"], line["pid"]) for line in lines} == {(process, victim)}
        text = "\n".join(str(line["text"]) for line in lines)
        assert text.startswith("Fatal Python error: Aborted")
        assert f"{process}.py" in text
        assert len(lines) < 30
        daemon.healthy()
        assert daemon.stop() == 0


def test_the_supervisor_s_own_abort_is_text_on_the_stderr_it_was_given(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.send(signal.SIGABRT)
        assert daemon.end() == -signal.SIGABRT
        assert daemon.process.stdout is not None
        text = daemon.process.stdout.read()
        assert b"Fatal Python error: Aborted" in text
        assert b"supervisor.py" in text


def fill(daemon: Daemon) -> None:
    """Fill the pipe that is the daemon's stdout and stderr, of which nobody will read anything."""
    assert daemon.process.stdout is not None
    write_end = os.open(f"/proc/self/fd/{daemon.process.stdout.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x")
    os.close(write_end)


def test_the_supervisor_s_abort_waits_for_no_reader(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        fill(daemon)
        daemon.send(signal.SIGABRT)
        assert daemon.end() == -signal.SIGABRT


def test_without_a_reader_all_goes_on(tmp_path: Path) -> None:
    """Workers and stewards crash and are replaced, files are imported, a config is refused, the end comes."""
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        fill(daemon)
        for process, victim in (("worker", daemon.workers()[0]), ("steward", daemon.steward())):
            os.kill(victim, signal.SIGABRT)
            until(lambda metric=f"sidebard_{process}_restarts_total 1.0": metric in _metrics(daemon), process)
        write_csv(tmp_path / "customers.csv", [*CUSTOMERS, ("new@example.com", "New Name", "Pro")])
        until(lambda: "New Name" in daemon.ask("new@example.com"), "the new customers")
        daemon.write_config(server="nonsense = 1")
        daemon.send(signal.SIGHUP)
        until(lambda: "nonsense" in str(daemon.health()["reasons"]), "the refusal")
        assert daemon.stop() == 0


def _metrics(daemon: Daemon) -> str:
    try:
        return daemon.admin("/metrics")[1]
    except OSError:  # the steward, which answers, is being replaced
        return ""


def test_python_s_development_mode_says_nothing_in_another_form(tmp_path: Path) -> None:
    program = (sys.executable, "-X", "dev", "-m", "appliance")
    with Daemon(tmp_path, program=program) as daemon:
        daemon.wait_for("serving")
        assert "Ann Lee" in daemon.ask()
        assert daemon.stop() == 0
        daemon.rest()


# Clients who have something said.


def hello(name: bytes) -> bytes:
    """Return a ClientHello that asks for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(into, out, server_hostname="x" * len(name))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    said, length = out.read(), len(name).to_bytes(2, "big")
    assert said.count(length + b"x" * len(name)) == 1
    return said.replace(length + b"x" * len(name), length + name)


@pytest.fixture
def two_names(tmp_path: Path) -> Iterator[Daemon]:
    """Give a service with two certificates, whose stdout and stderr nobody reads."""
    first, second = tmp_path / "first", tmp_path / "second"
    tables = []
    for folder, table in ((first, "[tls]"), (second, "[[tls.more]]")):
        folder.mkdir()
        certificate, key, _authority = make_pair(folder)
        tables.append(f'{table}\ncertificate = "{certificate}"\nkey = "{key}"\n')
    with Daemon(tmp_path, config="\n".join(tables), expected=["unraisable"]) as daemon:
        daemon.wait_for("serving")
        yield daemon


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xff" * 63, b"ann\x80example.com"], ids=["short", "long", "mixed"])
def test_server_names_that_are_no_ascii_are_counted_and_said_once(two_names: Daemon, name: bytes) -> None:
    daemon, number = two_names, 200
    assert daemon.process.stdout is not None
    fcntl.fcntl(daemon.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    asked = hello(name)
    for _ in range(number):
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as client:
            client.sendall(asked)
            assert client.recv(1000)[:1] in (b"\x15", b"")  # an alert
    assert "Ann Lee" in daemon.ask()
    until(lambda: f"sidebard_handshake_failures_total {number}.0" in daemon.admin("/metrics")[1], "the count")
    daemon.send(signal.SIGTERM)
    daemon.rest()
    events = Counter(line["event"] for line in daemon.lines)
    assert events["unraisable"] == 1
    assert len(daemon.lines) < 15, events
    (line,) = [line for line in daemon.lines if line["event"] == "unraisable"]
    assert (line["error"], line["count"]) == ("UnicodeDecodeError", 1)
    assert "\\x" not in json.dumps(daemon.lines)
    assert daemon.end() == 0


# Levels, for the journal.


class Journal:
    """A pipe that the service takes for the journal."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.read_end, write_end = os.pipe()
        found = os.fstat(write_end)
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        self.daemon = Daemon(folder, stdout=write_end, environ=environ, **more)
        os.close(write_end)

    def lines(self) -> list[str]:
        """Give all lines until its end."""
        with os.fdopen(self.read_end) as end:
            return end.read().splitlines()


def _answers(daemon: Daemon) -> bool:
    try:
        return bool(daemon.health()["status"] == "ok")
    except ConnectionRefusedError:
        return False


def test_each_line_for_the_journal_begins_with_its_level(tmp_path: Path) -> None:
    journal = Journal(tmp_path, config='[log]\nlevel = "debug"')
    with journal.daemon as daemon:
        until(lambda: _answers(daemon), "health")
        daemon.ask()
        os.kill(daemon.workers()[0], signal.SIGKILL)
        until(lambda: "restarts_total 1.0" in daemon.admin("/metrics")[1], "another worker")
        daemon.ask()  # of one that ends as it should: what a killed one has not written yet is lost
        assert daemon.stop() == 0
    levels: dict[str, set[str]] = {}
    for line in journal.lines():
        prefix, text = line[:3], json.loads(line[3:])
        levels.setdefault(text["level"], set()).add(prefix)
        levels.setdefault(text["event"], set()).add(prefix)
    assert {name: levels[name] for name in ("info", "warning", "error", "debug", "request", "worker_died")} == {
        "debug": {"<7>"},
        "info": {"<6>"},
        "request": {"<6>"},
        "warning": {"<4>"},
        "error": {"<3>"},
        "worker_died": {"<3>"},
    }


@pytest.mark.parametrize("named", ["stderr", "nothing"])
def test_a_refused_start_for_the_journal_is_an_error(tmp_path: Path, named: str) -> None:
    (tmp_path / "sidebard.toml").write_text("nonsense = 1\n")
    read_end, write_end = os.pipe()
    found = os.fstat(write_end)
    ended = subprocess.run(
        [sys.executable, "-m", "appliance", "serve", "--config", tmp_path / "sidebard.toml"],
        stdout=subprocess.PIPE,
        stderr=write_end,
        env={
            **COVERAGE,
            "PYTHONPATH": str(ROOT),
            "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino if named == 'stderr' else 1}",
        },
        check=False,
        timeout=60,
    )
    os.close(write_end)
    with os.fdopen(read_end) as end:
        lines = end.read().splitlines()
    assert (ended.returncode, ended.stdout) == (78, b"")
    assert lines
    assert all(line.startswith('<3>{"' if named == "stderr" else '{"') for line in lines)


@pytest.mark.parametrize(("more", "prefix"), [("", "<4>"), ("nonsense = 1\n", "<3>")], ids=["warning", "fault"])
def test_what_a_reload_checks_has_its_level_in_the_journal(tmp_path: Path, more: str, prefix: str) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.config.write_text(daemon.config.read_text() + more)
        read_end, write_end = os.pipe()
        found = os.fstat(write_end)
        subprocess.run(
            [sys.executable, "-m", "appliance", "check", "-q", "--json", "--config", daemon.config],
            stdout=write_end,
            env={
                "PYTHONPATH": str(ROOT),
                "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}",
                "PATH": os.environ["PATH"],
            },
            check=False,
            timeout=60,
        )
        os.close(write_end)
        with os.fdopen(read_end) as end:
            (line,) = end.read().splitlines()
        assert line.startswith(prefix)
        assert json.loads(line[3:])["checks"]
