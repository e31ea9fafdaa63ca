"""The file of the audit trail: several processes append whole lines to it at once, and logrotate may rename it.

Each process has an object of its own, and every call may block, so it belongs in a thread. A record lock on the file
(fcntl(2)) excludes the other processes; the kernel releases it when its process ends, even by kill -9. A process
that has the lock and finds that the path names another file by now, or none, closes its own file and opens that one, or
a new one. So the file may be renamed or removed at any time without a signal: lines go to the file that has the name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # the last so that a FIFO does not block
_MODE: Final = 0o600


class AuditFile:
    """The file, as one process has it open."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._descriptor = -1

    def open(self) -> None:
        """Open the file; create it, readable by its owner alone, if it does not exist. Raises OSError."""
        if self._descriptor >= 0:
            return
        try:
            descriptor = os.open(self.path, _FLAGS)
        except FileNotFoundError:
            descriptor = os.open(self.path, _FLAGS | os.O_CREAT, _MODE)
            self._sync_folder()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file")
        self._descriptor = descriptor

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, lines: bytes) -> None:
        """Append whole lines and wait until the disk has them: all, or none and OSError is raised."""
        size = self._lock()
        descriptor = self._descriptor
        try:
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a process was killed in the middle of a line
                lines = b"\n" + lines
            view = memoryview(lines)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)

    def _lock(self) -> int:
        """Lock the file that the path names now, and return its size."""
        while True:
            self.open()
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            own = os.fstat(self._descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self.path), own):
                    return own.st_size
            self.close()

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
