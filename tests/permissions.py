"""For tests that look, or run, as another user."""

from __future__ import annotations

from pathlib import Path


def open_to_others(folder: Path) -> None:
    """Let any user list this folder and enter those above it; pytest's own are for their owner alone."""
    for path in (folder, *folder.parents):
        mode = path.stat().st_mode
        if mode & 0o055 != 0o055:
            path.chmod(mode | 0o055)
