"""The trail's file: whole lines from many processes, through rotations, kills and a full disk."""

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

from appliance.observe import trail_file as module
from appliance.observe.trail_file import TrailFile

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail"


def in_child(body: Callable[[], object]) -> int:
    """Start a child; give its pid. It ends with 0, or with 1 if `body` raises."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid


def files(path: Path) -> list[Path]:
    """Give the file and those that it was before, the newest first."""
    older = sorted(path.parent.glob(path.name + ".*"), key=lambda file: int(file.suffix[1:]))
    return [path, *older]


def test_makes_the_file_for_its_owner_alone_and_appends(path: Path) -> None:
    TrailFile(path, None, 1).append(LINE)
    TrailFile(path, None, 1).append(2 * LINE)
    assert path.read_bytes() == 3 * LINE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_leaves_the_mode_that_the_operator_gave(path: Path) -> None:
    path.touch(0o640)
    TrailFile(path, None, 1).append(LINE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_every_batch_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(module.os, "fsync", lambda _: synced.append(path.read_bytes()))
    file = TrailFile(path, None, 1)
    file.append(LINE)
    file.append(LINE)
    assert synced == [b"", LINE, 2 * LINE]  # the first is of the folder, which now names the file


def test_rotates_before_it_is_too_large_and_keeps_so_many(path: Path) -> None:
    file = TrailFile(path, 300, 2)
    for number in range(10):
        file.append(b"%02d" % number + LINE[2:])
    assert [[line[:2] for line in one.read_bytes().splitlines()] for one in files(path)] == [
        [b"09"],
        [b"06", b"07", b"08"],
        [b"03", b"04", b"05"],
    ]


def test_a_batch_larger_than_the_limit_is_written_whole(path: Path) -> None:
    file = TrailFile(path, 300, 2)
    file.append(10 * LINE)
    file.append(LINE)
    assert [one.stat().st_size for one in files(path)] == [100, 1000]


def test_a_rotation_that_was_cut_off_loses_nothing_more(path: Path) -> None:
    for number in ("", ".1", ".3"):  # as after a kill between two of its steps
        Path(f"{path}{number}").write_bytes(LINE)
    TrailFile(path, 100, 3).append(LINE)
    assert [one.name for one in files(path)] == ["trail", "trail.1", "trail.2", "trail.3"]


@pytest.mark.parametrize("move", [lambda path: path.rename(f"{path}.old"), Path.unlink], ids=["moved", "removed"])
def test_what_logrotate_does_needs_no_signal(path: Path, move: Callable[[Path], object]) -> None:
    file = TrailFile(path, None, 1)
    file.append(LINE)
    move(path)
    file.append(LINE)
    assert path.read_bytes() == LINE


def test_after_half_a_line_a_new_one_begins(path: Path) -> None:
    path.write_bytes(LINE[:50])
    TrailFile(path, None, 1).append(LINE)
    assert path.read_bytes().splitlines() == [LINE[:50], LINE[:-1]]


def test_a_full_disk_leaves_no_half_line(path: Path) -> None:
    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))  # what a disk does: takes the first half, then refuses
        file = TrailFile(path, None, 1)
        file.append(2 * LINE)
        with pytest.raises(OSError, match="too large") as caught:
            file.append(LINE)
        assert caught.value.errno == errno.EFBIG

    assert os.waitpid(in_child(fill), 0)[1] == 0
    assert path.read_bytes() == 2 * LINE


def test_a_disk_that_fails_to_sync_has_not_taken_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TrailFile(path, None, 1)
    file.append(LINE)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(module.os, "fsync", fail)
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
        TrailFile(path, None, 1).open()


def test_many_processes_lose_nothing_through_rotations(path: Path) -> None:
    def write(writer: int) -> None:
        file = TrailFile(path, 500, 1000)
        for number in range(100):
            file.append(b"".join(b"%d-%03d-%d\n" % (writer, number, part) for part in range(3)))

    children = [in_child(lambda writer=writer: write(writer)) for writer in range(4)]  # type: ignore[misc]
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    lines = [line for one in reversed(files(path)) for line in one.read_bytes().splitlines()]
    wanted = [
        b"%d-%03d-%d" % (writer, number, part) for writer in range(4) for number in range(100) for part in range(3)
    ]
    assert sorted(lines) == sorted(wanted)
    for writer in range(4):  # each one's lines are in order
        own = [line for line in lines if line.startswith(b"%d" % writer)]
        assert own == sorted(own)
    assert len(files(path)) > 5


def test_killed_writers_hold_up_nobody(path: Path) -> None:
    """The others' lines are all there, whole; of the killed one's at most the last is not."""
    ready, tell = os.pipe()

    def write_on() -> None:
        file = TrailFile(path, 20_000, 1000)
        os.write(tell, b".")
        while True:
            file.append(b"killed" + b"k" * 3000 + b"\n")

    chance = random.Random(7)
    mine = TrailFile(path, 20_000, 1000)
    for _ in range(20):
        pid = in_child(write_on)
        os.read(ready, 1)
        for _ in range(chance.randrange(1, 5)):
            mine.append(LINE)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        mine.append(LINE)
    lines = [line for one in files(path) for line in one.read_bytes().splitlines()]
    chance = random.Random(7)
    assert lines.count(LINE[:-1]) == sum(chance.randrange(1, 5) + 1 for _ in range(20))
    torn = [line for line in lines if len(line) not in (len(LINE) - 1, 3006)]
    assert len(torn) <= 20
    assert all(line.startswith(b"k"[: len(line)]) for line in torn)
    os.close(ready)
    os.close(tell)
