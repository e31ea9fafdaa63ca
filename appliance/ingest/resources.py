"""What an import needs from the machine, and how a lack of it is reported."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from appliance.customers import snapshot
from appliance.ingest.spec import ImportRefused, ImportSpec

_ROOM: Final = 16 * 1024 * 1024


def check_room(spec: ImportSpec, folder: Path) -> None:
    """Raise ImportRefused if the disk of `folder` has no room for an import."""
    disk = os.statvfs(folder)
    free, needed = disk.f_bavail * disk.f_frsize, 2 * spec.size() + _ROOM
    if free < needed:
        raise ImportRefused(
            f"{folder} has {_mib(free)} free, and the import needs {_mib(needed)}; make room there", transient=True
        )


def check_room_to_fetch(folder: Path) -> None:
    """Raise ImportRefused if there is no room for the rows of a server and a snapshot of them.

    How many there are is unknown; the newest snapshot was made of about as many.
    """
    files = [snapshot.file_of(folder, generation) for generation in snapshot.generations(folder)[:1]]
    disk = os.statvfs(folder)
    free, needed = disk.f_bavail * disk.f_frsize, 2 * sum(file.stat().st_size for file in files) + _ROOM
    if free < needed:
        raise ImportRefused(
            f"{folder} has {_mib(free)} free, and a fetch as large as the last one needs {_mib(needed)}; make room"
            " there",
            transient=True,
        )


def explain(error: Exception, folder: Path) -> str:
    """Return a sentence about what stopped an import, when it was not the source."""
    code = getattr(error, "errno", None)
    text = str(error)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "disk is full" in text:
        return f"{folder} is full; make room there"
    if isinstance(error, MemoryError) or code == errno.ENOMEM:
        return "the import ran out of memory; look for a file with a very long line"
    if isinstance(error, sqlite3.Error):
        return f"{folder}: the snapshot could not be written ({text}); make room there, or check the disk"
    return f"{getattr(error, 'filename', None) or folder}: {getattr(error, 'strerror', None) or text}"


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MiB"
