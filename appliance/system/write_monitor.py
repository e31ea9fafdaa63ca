"""Which files are being written, as far as the kernel reports it: inotify(7), through the C library.

A file that was modified and not closed by a writer since then is most likely incomplete, however long its writer
pauses. Each file is watched itself, which also shows writes through another of its names, and so is its folder, which
shows files that are created and renamed. Neither shows what another machine writes to a network file system, nor what
is written through a memory mapping. Where inotify is not available, no file is ever known to be written.

Events are read by `poll`, not as they come: a folder in which others write a lot costs nothing in between. The kernel
keeps 16,384 of them; if there were more, some are lost, and any of the files may be being written.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_MODIFY: Final = 0x2
_CLOSE_WRITE: Final = 0x8
_MOVED_FROM: Final = 0x40
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_OVERFLOW: Final = 0x4000
_IGNORED: Final = 0x8000
_ONLY_FOLDER: Final = 0x0100_0000

_OF_FILE: Final = _MODIFY | _CLOSE_WRITE
_OF_FOLDER: Final = _OF_FILE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_FOLDER
_HEAD: Final = struct.Struct("=iIII")
_READ_AT_ONCE: Final = 64 * 1024

_libc: Final = ctypes.CDLL(None)

Key = tuple[int, bytes]
"""A watch, and a name in the folder that it watches; b"" if it watches a file."""


class Event(NamedTuple):
    """One event of inotify."""

    watch: int
    mask: int
    cookie: int  # the same in the two halves of a rename
    name: bytes


class WriteMonitor:
    """Watches some files, which may be missing, replaced, or created later."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Begin to watch them. What was written before is not known."""
        self._files = tuple(files)
        self._descriptor = _open()
        self._keys: dict[Path, tuple[Key, ...]] = {}
        self._unclosed: set[Key] = set()
        self.poll()

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def is_open(self, file: Path) -> bool:
        """Return whether the file had been written to and not closed since, at the last poll."""
        return any(key in self._unclosed for key in self._keys.get(file, ()))

    def poll(self) -> None:
        """Record what was written, closed, renamed and created since the last poll."""
        if self._descriptor < 0:
            return
        moving: set[int] = set()
        for event in self._events():
            self._record(event, moving)
        self._watch()

    def _record(self, event: Event, moving: set[int]) -> None:
        """`moving` holds the cookies of renames of files that are being written."""
        key, mask, unclosed = (event.watch, event.name), event.mask, self._unclosed
        if mask & _OVERFLOW:  # some events are lost: any of the files may be being written
            unclosed.update(one for keys in self._keys.values() for one in keys)
        elif mask & _IGNORED:
            unclosed -= {one for one in unclosed if one[0] == event.watch}
        elif mask & _MODIFY or (mask & _MOVED_TO and event.cookie in moving):
            unclosed.add(key)
        else:
            if mask & _MOVED_FROM and key in unclosed:
                moving.add(event.cookie)
            unclosed.discard(key)

    def _watch(self) -> None:
        """Watch what the paths name now; the kernel returns a watch that exists already."""
        self._keys, before = {file: tuple(self._keys_of(file)) for file in self._files}, self._keys
        now = {watch for keys in self._keys.values() for watch, _ in keys}
        for old in {watch for keys in before.values() for watch, _ in keys} - now:
            _libc.inotify_rm_watch(self._descriptor, old)  # which reports IGNORED, if it has not yet
            self._unclosed = {key for key in self._unclosed if key[0] != old}

    def _keys_of(self, file: Path) -> Iterator[Key]:
        real = os.fsencode(os.path.realpath(file))
        folder, name = os.path.split(real)
        for path, mask, named in ((real, _OF_FILE, b""), (folder, _OF_FOLDER, name)):
            watch = _libc.inotify_add_watch(self._descriptor, path, mask)
            if watch >= 0:
                yield watch, named

    def _events(self) -> Iterator[Event]:
        while True:
            try:
                read = os.read(self._descriptor, _READ_AT_ONCE)
            except OSError:  # nothing more is there
                return
            at = 0
            while at < len(read):
                watch, mask, cookie, length = _HEAD.unpack_from(read, at)
                at += _HEAD.size + length
                yield Event(watch, mask, cookie, read[at - length : at].rstrip(b"\0"))


def _open() -> int:
    """Return a descriptor, or -1 where inotify is not available."""
    try:
        return int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))  # IN_NONBLOCK and IN_CLOEXEC are these
    except AttributeError:
        return -1
