"""The snapshot folder, as seen by the one process that may write to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.ingest.spec import ImportRefused


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two importers never write at once. Raises ImportRefused if another one does."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = _create(folder / "lock", os.O_RDWR)
    except OSError as error:
        raise ImportRefused(
            f"{folder} cannot be written: {error.strerror}; correct server.state or its owner", transient=True
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImportRefused("another import is running; wait for it to end", transient=True) from None
        yield
    finally:
        os.close(descriptor)


def create_exclusively(file: Path) -> None:
    """Make an empty file that is not there yet, for its owner alone. Raises OSError."""
    os.close(_create(file, os.O_WRONLY | os.O_EXCL))


def _create(file: Path, flags: int) -> int:
    """Open a file, made if it is not there, for the folder's owner alone, even if this is root.

    Only what is made here changes its owner, and no link is followed, neither at the file nor in place of its folder.
    """
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(file.name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return os.open(file.name, flags, dir_fd=folder)
        if os.geteuid() == 0:
            owner = os.fstat(folder)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor
    finally:
        os.close(folder)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
