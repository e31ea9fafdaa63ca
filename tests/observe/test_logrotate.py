"""The audit trail under the real logrotate, by the file that the packages install: no line is lost, torn or doubled."""

from __future__ import annotations

import grp
import gzip
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.observe.audit_file import AuditFile

PACKAGED = Path(__file__).parents[2] / "packaging/etc/sidebard.logrotate"
WRITERS = 4
ROTATIONS = 5


@pytest.fixture
def rotate(tmp_path: Path) -> Callable[[], None]:
    """Return a function that rotates tmp_path/trail now."""
    if shutil.which("logrotate") is None:
        pytest.skip("logrotate is not installed")
    me, mine = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    text = PACKAGED.read_text().replace("/var/lib/sidebard/trail", str(tmp_path / "trail"))
    config = tmp_path / "logrotate.conf"
    config.write_text(text.replace("su sidebard sidebard", f"su {me} {mine}"))
    config.chmod(0o644)
    command = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(config)]

    def call() -> None:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (said.returncode, said.stderr) == (0, "")

    return call


def start_writer(path: Path, writer: int, stop: int, end: int) -> int:
    """Fork a process that appends numbered lines until the other `end` of the pipe `stop` is closed; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(end)
        os.set_blocking(stop, False)
        file, number, running = AuditFile(path), 0, True
        while running:
            file.append(b"%d-%06d-a\n%d-%06d-b\n" % (writer, number, writer, number))
            number += 1
            try:
                running = os.read(stop, 1) != b""
            except BlockingIOError:
                running = True
        code = 0
    finally:
        os._exit(code)


def lines_of(folder: Path) -> list[bytes]:
    found: list[bytes] = []
    for file in folder.glob("trail*"):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert content == b"" or content.endswith(b"\n")
        found += content.splitlines()
    return found


def test_a_rotation_under_several_writers_loses_nothing(tmp_path: Path, rotate: Callable[[], None]) -> None:
    path = tmp_path / "trail"
    stop, end = os.pipe()
    pids = [start_writer(path, writer, stop, end) for writer in range(WRITERS)]
    for _ in range(ROTATIONS):
        while not path.exists() or path.stat().st_size < 500:  # until the service's next batches are there
            os.sched_yield()
        rotate()
    os.close(end)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * WRITERS
    os.close(stop)
    lines = lines_of(tmp_path)
    assert len(list(tmp_path.glob("trail.*"))) == ROTATIONS
    for writer in range(WRITERS):
        own = sorted(line for line in lines if line.startswith(b"%d-" % writer))
        assert own == [
            b"%d-%06d-%s" % (writer, number, part) for number in range(len(own) // 2) for part in (b"a", b"b")
        ]
        assert own


def test_the_file_that_rotation_left_out_is_made_again_for_its_owner_alone(
    tmp_path: Path, rotate: Callable[[], None]
) -> None:
    path = tmp_path / "trail"
    file = AuditFile(path)
    file.append(b"one\n")
    rotate()
    assert not path.exists()
    file.append(b"two\n")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two\n", 0o600)
    assert (tmp_path / "trail.1").read_bytes() == b"one\n"
