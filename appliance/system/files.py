"""What files look like from outside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def fingerprint_of(files: Iterable[Path]) -> str:
    """Return what these files look like from outside: another one means another content."""
    return " ".join(map(_look, files))


def _look(file: Path) -> str:
    try:
        status = os.stat(file)
    except OSError:
        return "-"
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def size_in(fingerprint: str) -> int:
    """Return the size that the first file had, by what `fingerprint_of` returned; 0 if it was not there."""
    parts = fingerprint.partition(" ")[0].split(":")
    return int(parts[2]) if len(parts) > 2 else 0
