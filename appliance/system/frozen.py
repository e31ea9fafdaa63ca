"""What is different in the packaged executable: it is two processes, and its files lie in a folder made at its start.

PyInstaller's bootloader unpacks into `_MEI`, its pid as eight hexadecimal digits, and six letters; it starts this
program as its child, and removes the folder when that has ended. Killed itself, it does neither.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from appliance.system.fork import signal_at_end_of_parent

_UNPACKED: Final = re.compile(r"_MEI([0-9a-f]{8})\w{6}")


@contextlib.contextmanager
def as_child_of_bootloader(environ: Mapping[str, str]) -> Iterator[None]:
    """Serve within this, and nothing stays behind, whichever process is killed. Without a bootloader it does nothing.

    A bootloader that is killed ends the service in good order, and its folder is removed here. What killed
    predecessors have left is removed from systemd's cache folder, which is nobody else's; not from /tmp.
    """
    folder = getattr(sys, "_MEIPASS", None)
    if folder is None:
        yield
        return
    bootloader = os.getppid()
    signal_at_end_of_parent(bootloader, signal.SIGTERM)
    if cache := environ.get("CACHE_DIRECTORY"):
        remove_stale(Path(cache))
    try:
        yield
    finally:
        if os.getppid() != bootloader:
            shutil.rmtree(folder, ignore_errors=True)


def let_others_read() -> None:
    """Let any user load what was unpacked for this process: called by root, before it becomes another user.

    The files stay root's. Without this, a module that is imported later cannot be found.
    """
    if folder := getattr(sys, "_MEIPASS", None):
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o755)


def remove_stale(folder: Path) -> None:
    """Remove what was unpacked into `folder` by processes that have ended. Raises nothing."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if (found := _UNPACKED.fullmatch(path.name)) and not Path(f"/proc/{int(found[1], 16)}").exists():
                shutil.rmtree(path, ignore_errors=True)
