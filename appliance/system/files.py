"""Files that the service makes for itself, and what any file looks like from outside.

What is made here is for its owner alone (mode 0600). The owner is the folder's, also where root makes the file for the
user of the service. That user may try to lead root elsewhere, so no link is followed, neither at the file nor in place
of its folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags for open(2): a folder to work in by its descriptor, and no link to one."""


def is_utf8(path: str | Path) -> bool:
    """Return whether a path is UTF-8, as everything is in which it would be written: the config, JSON, the log.

    The kernel takes any bytes; Python has what is not UTF-8 as surrogates.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def write_atomically(file: Path, content: bytes) -> None:
    """Write a whole file, so that whoever reads it, also after a crash, finds what it was before or all of `content`.

    It is written beside, synced, renamed, and then the folder is synced. Raises OSError.
    """
    folder = os.open(file.parent, OPEN_FOLDER)
    unfinished = f"{file.name}.{os.getpid()}.tmp"
    try:
        _remove_leftovers(folder, file.name)
        try:
            _write_synced(folder, unfinished, content)
            os.rename(unfinished, file.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished, dir_fd=folder)
            raise
        os.fsync(folder)
    finally:
        os.close(folder)


def open_private(file: Path, flags: int) -> int:
    """Open a file, made if it is not there, and return its descriptor. With O_EXCL it must not be there.

    Only what is made here changes its owner. Raises OSError.
    """
    folder = os.open(file.parent, OPEN_FOLDER)
    try:
        return _open_private(folder, file.name, flags)
    finally:
        os.close(folder)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprint_of(files: Iterable[Path]) -> str:
    """Return what these files look like from outside: another one means another content."""
    return " ".join(map(_look, files))


def size_in(fingerprint: str) -> int:
    """Return the size that the first file had, by what `fingerprint_of` returned; 0 if it was not there."""
    parts = fingerprint.partition(" ")[0].split(":")
    return int(parts[2]) if len(parts) > 2 else 0


def _look(file: Path) -> str:
    try:
        status = os.stat(file)
    except OSError:
        return "-"
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _remove_leftovers(folder: int, name: str) -> None:
    """Remove what processes that were killed while they wrote this file have left, as far as that can be told."""
    unfinished = re.compile(rf"{re.escape(name)}\.(\d+)\.tmp")
    for entry in os.listdir(folder):
        found = unfinished.fullmatch(entry)
        if found and (int(found[1]) == os.getpid() or not Path(f"/proc/{found[1]}").exists()):
            with suppress(OSError):
                os.unlink(entry, dir_fd=folder)


def _write_synced(folder: int, name: str, content: bytes) -> None:
    descriptor = _open_private(folder, name, os.O_WRONLY | os.O_EXCL)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_private(folder: int, name: str, flags: int) -> int:
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(name, flags, dir_fd=folder)
    if os.geteuid() == 0:
        owner = os.fstat(folder)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
