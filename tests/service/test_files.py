"""A file that is written is whole at every moment, its owner's alone, and where it should be."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from appliance.system.files import open_private, write_atomically

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
CALLS = ("open", "fchown", "write", "fsync", "rename", "unlink", "close")
OLD, NEW = b"the old content", b"the new content, which is longer"
NOBODY = 65534


def in_child(body: Callable[[], object]) -> int:
    """Run it in a forked process; return how that ended."""
    child = os.fork()
    if child == 0:
        try:
            body()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_before(body: Callable[[], object], call: int) -> Callable[[], None]:
    """Return what runs `body`, and is killed just before its system call of this number."""
    calls = count()

    def stop_or_go(function: Callable[..., object]) -> Callable[..., object]:
        def counted(*values: object, **named: object) -> object:
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*values, **named)

        return counted

    def run() -> None:
        for name in CALLS:
            setattr(os, name, stop_or_go(getattr(os, name)))
        body()

    return run


@pytest.mark.parametrize("before", [None, OLD], ids=["a new file", "over an old one"])
@pytest.mark.usefixtures("unmeasured")
def test_killed_at_any_step_it_is_the_old_or_the_new(before: bytes | None, tmp_path: Path) -> None:
    """And what was left beside it goes with the next one that is written."""
    file = tmp_path / "file"
    found = set()
    for call in count():
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_bytes(before)
        code = in_child(killed_before(lambda: write_atomically(file, NEW), call))
        found.add(file.read_bytes() if file.exists() else None)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        write_atomically(file, b"the next")
        assert (file.read_bytes(), os.listdir(tmp_path)) == (b"the next", ["file"])
    assert call >= 6  # the folder, the file, its content, its sync, the rename, the folder's sync
    assert found == {before, NEW}


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_a_step_that_fails_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(OLD)

    def full(*_values: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(file, NEW)
    assert (file.read_bytes(), os.listdir(tmp_path)) == (OLD, ["file"])


def test_the_content_is_synced_before_the_rename_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave the name with no content, or neither."""
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def counted_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def counted_rename(*values: Any, **named: Any) -> None:
        done.append("rename")
        rename(*values, **named)

    monkeypatch.setattr(os, "fsync", counted_fsync)
    monkeypatch.setattr(os, "rename", counted_rename)
    write_atomically(tmp_path / "file", NEW)
    assert done == ["file", "rename", "folder"]


def test_a_disk_that_takes_a_little_at_a_time_gets_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:3]))
    write_atomically(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    names = [f"file.{os.getppid()}.tmp", "file.x.tmp", f"other.{os.getpid()}.tmp"]
    for name in names:
        (tmp_path / name).touch()
    write_atomically(tmp_path / "file", NEW)
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "file"])


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_it_is_its_owners_alone(umask: int, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o644)
    before = os.umask(umask)
    try:
        write_atomically(file, NEW)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(OLD)
    (tmp_path / "file").symlink_to(victim)
    write_atomically(tmp_path / "file", NEW)
    assert victim.read_bytes() == OLD
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == NEW


def test_a_link_in_place_of_the_unfinished_file_is_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(OLD)
    (tmp_path / f"file.{os.getpid()}.tmp").symlink_to(victim)
    write_atomically(tmp_path / "file", NEW)
    assert victim.read_bytes() == OLD
    assert sorted(os.listdir(tmp_path)) == ["file", "victim"]


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda file: write_atomically(file, NEW), id="written"),
        pytest.param(lambda file: open_private(file, os.O_RDWR), id="opened"),
    ],
)
def test_a_link_in_place_of_the_folder_is_refused(write: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").symlink_to("elsewhere")
    with pytest.raises(NotADirectoryError):
        write(tmp_path / "folder" / "file")
    assert os.listdir(tmp_path / "elsewhere") == []


@needs_root
def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    write_atomically(tmp_path / "written", NEW)
    os.close(open_private(tmp_path / "opened", os.O_RDWR))
    for name in ("written", "opened"):
        facts = (tmp_path / name).stat()
        assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (NOBODY, NOBODY, 0o600)


@needs_root
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard link"])
def test_what_was_there_keeps_its_owner(link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    folder = tmp_path / "customers"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    link(victim, folder / "lock")
    try:
        os.close(open_private(folder / "lock", os.O_RDWR))
    except OSError:
        assert link is os.symlink
    assert victim.stat().st_uid == 0
