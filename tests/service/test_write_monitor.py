"""Which files are being written, by what really happens to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

import pytest

from appliance.system import write_monitor as module
from appliance.system.write_monitor import Event, WriteMonitor


class Exporter:
    """Writes in a folder, and leaves open what it is not told to close."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.file = folder / "customers.csv"
        self._stack = stack

    def write(self, mode: str, name: str = "customers.csv") -> FileIO:
        stream = self._stack.enter_context(FileIO(self.folder / name, mode))
        stream.write(b"some\n")
        return stream

    def write_and_close(self, mode: str, name: str = "customers.csv") -> None:
        self.write(mode, name).close()


def two_writers(exporter: Exporter) -> None:
    first = exporter.write("ab")
    exporter.write_and_close("ab")
    first.write(b"more\n")


def truncated(exporter: Exporter) -> None:
    os.close(os.open(exporter.file, os.O_RDONLY))
    exporter._stack.enter_context(FileIO(exporter.file, "wb"))


def renamed_open(exporter: Exporter) -> None:
    exporter.write("wb", "beside")
    (exporter.folder / "beside").rename(exporter.file)


def renamed_closed(exporter: Exporter) -> None:
    exporter.write_and_close("wb", "beside")
    (exporter.folder / "beside").rename(exporter.file)


def made_anew(exporter: Exporter) -> None:
    exporter.file.unlink()
    exporter.write("wb")


def moved_away_open(exporter: Exporter) -> None:
    exporter.write("ab")
    exporter.file.rename(exporter.folder / "old")
    exporter.write_and_close("wb", "beside")
    (exporter.folder / "beside").rename(exporter.file)


def removed_open(exporter: Exporter) -> None:
    exporter.write("ab")
    exporter.file.unlink()
    exporter.write_and_close("wb")


def by_another_name(exporter: Exporter) -> None:
    other = exporter.folder / "elsewhere"
    other.mkdir()
    os.link(exporter.file, other / "linked.csv")
    exporter.write("ab", "elsewhere/linked.csv")


def moved_in(exporter: Exporter) -> None:
    other = exporter.folder / "elsewhere"
    other.mkdir()
    exporter.write_and_close("wb", "elsewhere/new.csv")
    (other / "new.csv").rename(exporter.file)


HAPPENS: dict[str, tuple[Callable[[Exporter], object], bool]] = {
    "nothing": (lambda exporter: None, False),
    "read": (lambda exporter: exporter.file.read_bytes(), False),
    "appended to, still open": (lambda exporter: exporter.write("ab"), True),
    "appended to, closed": (lambda exporter: exporter.write_and_close("ab"), False),
    "written over, still open": (lambda exporter: exporter.write("wb"), True),
    "written over, closed": (lambda exporter: exporter.write_and_close("wb"), False),
    "emptied, still open": (truncated, True),
    "closed by one of two writers": (two_writers, True),
    "renamed into place, still open": (renamed_open, True),
    "renamed into place, closed": (renamed_closed, False),
    "made anew, still open": (made_anew, True),
    "moved away while open, and replaced": (moved_away_open, False),
    "removed while open, and made anew": (removed_open, False),
    "written by another name in another folder": (by_another_name, True),
    "moved in from another folder": (moved_in, False),
    "touched": (lambda exporter: exporter.file.touch(), False),
    "another file": (lambda exporter: exporter.write("wb", "another"), False),
}


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    with ExitStack() as stack:
        made = Exporter(tmp_path, stack)
        made.file.write_bytes(b"email\n")
        yield made


@pytest.mark.parametrize(("happens", "unclosed"), HAPPENS.values(), ids=HAPPENS)
@pytest.mark.parametrize("linked", [False, True], ids=["file", "link to it"])
def test_is_written_to_and_not_closed(
    linked: bool, happens: Callable[[Exporter], object], unclosed: bool, exporter: Exporter
) -> None:
    named = exporter.folder / "link.csv" if linked else exporter.file
    if linked:
        named.symlink_to(exporter.file)
    writes = WriteMonitor([named])
    happens(exporter)
    writes.poll()
    assert writes.is_open(named) is unclosed
    writes.close()


def test_is_closed_in_the_end(exporter: Exporter) -> None:
    writes = WriteMonitor([exporter.file])
    stream = exporter.write("wb")
    writes.poll()
    assert writes.is_open(exporter.file)
    stream.close()
    writes.poll()
    assert not writes.is_open(exporter.file)
    writes.close()


def test_a_file_and_its_folder_may_come_later(tmp_path: Path) -> None:
    file = tmp_path / "exports" / "customers.csv"
    writes = WriteMonitor([file])
    file.parent.mkdir()
    writes.poll()
    with file.open("wb", buffering=0) as stream:
        stream.write(b"email\n")
        writes.poll()
        assert writes.is_open(file)
    writes.poll()
    assert not writes.is_open(file)
    writes.close()


def test_when_events_were_lost_any_file_may_be_open(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = WriteMonitor([exporter.file])
    monkeypatch.setattr(writes, "_events", lambda: [Event(-1, module._OVERFLOW, 0, b"")])
    writes.poll()
    assert writes.is_open(exporter.file)
    monkeypatch.undo()
    exporter.write_and_close("ab")
    writes.poll()
    assert not writes.is_open(exporter.file)
    writes.close()


class NoInotify:
    """A C library of which inotify_init1 fails, as at the limit of instances or under a filter of system calls."""

    @staticmethod
    def inotify_init1(_flags: int) -> int:
        return -1


@pytest.mark.parametrize("library", [NoInotify(), object()], ids=["refused", "not there"])
def test_without_inotify_nothing_is_known(library: object, exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_libc", library)
    writes = WriteMonitor([exporter.file])
    exporter.write("wb")
    writes.poll()
    assert not writes.is_open(exporter.file)
    writes.close()
