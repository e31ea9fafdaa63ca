"""What an import needs from the machine, and how a lack of it is reported."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

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
