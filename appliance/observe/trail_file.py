"""The file of the access trail: appended to by several processes at once, whole lines only, and rotated by size.

Each process has an object of its own, and every call may block: it belongs in a thread. A record lock on the file
itself (fcntl(2)) makes the others wait; it ends with its process, also by kill -9. Whoever has it and finds that the
path names another file by now, because somebody rotated it, lets go and takes that one: so logrotate needs no signal.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # the last so that no FIFO is waited for
_MODE: Final = 0o600


class TrailFile:
    """One process's hold on the file."""

    def __init__(self, path: Path, max_bytes: int | None, kept: int) -> None:
        """Before it grows over `max_bytes` (None: any size) it becomes PATH.1, and so on up to PATH.`kept`."""
        self.path: Final = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._descriptor = -1

    def open(self) -> None:
        """Open the file; make it, for its owner alone, if it is not there. Raises OSError."""
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
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, lines: bytes) -> None:
        """Append whole lines and wait until the disk has them: all, or none and OSError is raised."""
        size = self._lock()
        while self._max_bytes is not None and size and size + len(lines) > self._max_bytes:
            self._rotate()
            self.close()
            size = self._lock()
        descriptor = self._descriptor
        try:
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # somebody was killed within a line
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
        """Take the lock of the file that the path names; give its size."""
        while True:
            self.open()
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            mine = os.fstat(self._descriptor)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self.path), mine):
                    return mine.st_size
            self.close()

    def _rotate(self) -> None:
        """Move every file up by one, as far as there is none: after a kill in the middle nothing moves too far."""
        names = [self.path, *(Path(f"{self.path}.{number}") for number in range(1, self._kept + 1))]
        free = next((index for index, name in enumerate(names) if not os.path.lexists(name)), self._kept)
        for index in range(free, 0, -1):
            os.replace(names[index - 1], names[index])
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
