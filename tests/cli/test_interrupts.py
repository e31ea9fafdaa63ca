"""Ctrl-C comes to every process of a command, and through a bootloader more than once: each way of it ends in order."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from appliance.cli import interrupts
from tests.daemon import PATIENCE, ROOT, Daemon
from tests.factory import SECRET, write_csv
from tests.replay.peer import answers, peer

CUSTOMERS = ("--customers", "conf/customers.csv")
CONFIG = """
server = { listen = ["127.0.0.1:0"], state = "state", workers = 1 }
admin = { listen = "" }
customers = { source = "customers.csv", addresses = ["email"] }
app = [{ secrets = ["file:secret"] }]
"""
GAPS = (0.0, 0.001, 0.01, 0.05, 0.15, 0.3)


@contextlib.contextmanager
def started(
    folder: Path,
    *arguments: str,
    stdin: bytes = b"",
    program: Sequence[str] = (sys.executable, "-W", "error", "-m", "appliance"),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, as a shell does, until the block ends."""
    process = subprocess.Popen(
        [*program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)},
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.flush()
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def press(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)


def press_twice(process: subprocess.Popen[bytes], gap: float) -> None:
    press(process)
    select.select([], [], [], gap)
    press(process)


def press_until_it_ends(process: subprocess.Popen[bytes]) -> None:
    """Send one after the other, so that one comes in every phase of the end."""
    while process.poll() is None:
        press(process)
        select.select([], [], [], 0.002)


def first_output(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], PATIENCE)[0], "it has said nothing"


@pytest.mark.parametrize("gap", GAPS)
def test_a_preview_ends_in_silence(gap: float, tmp_path: Path) -> None:
    with started(tmp_path, "preview", *CUSTOMERS, "--no-browser") as process:
        first_output(process)
        press_twice(process, gap)
        said, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, b"")
    assert said.startswith(b"http://127.0.0.1:")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["preview", "serve"])
def test_any_number_of_presses_is_one(command: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "sidebard.toml").write_text(CONFIG)
    more = ("--no-browser",) if command == "preview" else ()
    with started(tmp_path, command, "--config", str(tmp_path / "sidebard.toml"), *more) as process:
        first_output(process)
        press_until_it_ends(process)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, b"")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("sidebard-")] == []


@pytest.mark.parametrize("gap", GAPS)
def test_a_service_ends_in_order(gap: float, tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        press_twice(daemon.process, gap)
        assert daemon.end() == 0
        assert [line["event"] for line in daemon.rest()] == ["stopping", "stopped"]


@pytest.mark.parametrize("way", ["twice", "always"])
def test_a_replay_ends_with_its_result(way: str, tmp_path: Path) -> None:
    with peer(answers()) as here:
        flags = ("--url", f"http://127.0.0.1:{here.port}", "--duration", "10m", "--processes", "2", "--json")
        with started(tmp_path, "replay", "-", *flags, stdin=b'{"body":"x"}\n') as process:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
            while len(here.requests) < 20:
                select.select([], [], [], 0.01)
            if way == "twice":
                press_twice(process, 0.0)
            else:
                press_until_it_ends(process)
            said, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (1, b"")
    assert b'"interrupted":true' in said


def test_another_command_says_one_word(tmp_path: Path) -> None:
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "secret").write_text(SECRET)
    files = ("--customers", str(tmp_path / "customers.csv"), "--secret-file", str(tmp_path / "secret"))
    with started(tmp_path, "requests", *files, "--count", "10000000") as process:
        first_output(process)
        press_twice(process, 0.01)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (1, b"\nAborted!\n")


def test_one_press_is_one_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    handler = interrupts._Interrupt()
    with pytest.raises(KeyboardInterrupt):
        handler(signal.SIGINT, None)
    handler(signal.SIGINT, None)
    now += interrupts.ONE_PRESS
    with pytest.raises(KeyboardInterrupt):
        handler(signal.SIGINT, None)
