"""The audit trail's file: whole lines from many processes, through rotations, kills and a full disk."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.observe.audit_file import AuditFile

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail"


def in_child(body: Callable[[], object]) -> int:
    """Start a child and return its pid. It ends with 0, or with 1 if `body` raises."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid


def test_makes_the_file_for_its_owner_alone_and_appends(path: Path) -> None:
    AuditFile(path).append(LINE)
    AuditFile(path).append(2 * LINE)
    assert path.read_bytes() == 3 * LINE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_leaves_the_mode_that_the_operator_gave(path: Path) -> None:
    path.touch(0o640)
    AuditFile(path).append(LINE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_every_batch_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    file = AuditFile(path)
    file.append(LINE)
    file.append(LINE)
    assert synced == [b"", LINE, 2 * LINE]  # the first is of the folder, which now names the file


@pytest.mark.parametrize("move", [lambda path: path.rename(f"{path}.old"), Path.unlink], ids=["moved", "removed"])
def test_what_logrotate_does_needs_no_signal(path: Path, move: Callable[[Path], object]) -> None:
    file = AuditFile(path)
    file.append(LINE)
    move(path)
    file.append(LINE)
    assert path.read_bytes() == LINE


def test_after_half_a_line_a_new_one_begins(path: Path) -> None:
    path.write_bytes(LINE[:50])
    AuditFile(path).append(LINE)
    assert path.read_bytes().splitlines() == [LINE[:50], LINE[:-1]]


def test_a_full_disk_leaves_no_half_line(path: Path) -> None:
    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))  # what a disk does: takes the first half, then refuses
        file = AuditFile(path)
        file.append(2 * LINE)
        with pytest.raises(OSError, match="too large") as caught:
            file.append(LINE)
        assert caught.value.errno == errno.EFBIG

    assert os.waitpid(in_child(fill), 0)[1] == 0
    assert path.read_bytes() == 2 * LINE


def test_a_disk_that_fails_to_sync_has_not_taken_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AuditFile(path)
    file.append(LINE)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            file.append(LINE)
    assert path.read_bytes() == LINE
    file.append(LINE)  # and the lock is free
    assert path.read_bytes() == 2 * LINE


def make_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(("make", "why"), [(make_folder, "Is a directory"), (os.mkfifo, "not a regular file")])
def test_only_a_file_will_do(path: Path, make: Callable[[Path], None], why: str) -> None:
    make(path)
    with pytest.raises(OSError, match=why):
        AuditFile(path).open()


@pytest.mark.usefixtures("unmeasured")
def test_killed_writers_hold_up_nobody(path: Path) -> None:
    """The others' lines are all there, whole; of the killed one's at most the last is not."""
    ready, tell = os.pipe()

    def write_on() -> None:
        file = AuditFile(path)
        os.write(tell, b".")
        while True:
            file.append(b"killed" + b"k" * 3000 + b"\n")

    chance = random.Random(7)
    mine = AuditFile(path)
    for _ in range(20):
        pid = in_child(write_on)
        os.read(ready, 1)
        for _ in range(chance.randrange(1, 5)):
            mine.append(LINE)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        mine.append(LINE)
    lines = path.read_bytes().splitlines()
    chance = random.Random(7)
    assert lines.count(LINE[:-1]) == sum(chance.randrange(1, 5) + 1 for _ in range(20))
    torn = [line for line in lines if len(line) not in (len(LINE) - 1, 3006)]
    assert len(torn) <= 20
    assert all(line.startswith(b"k"[: len(line)]) for line in torn)
    os.close(ready)
    os.close(tell)
