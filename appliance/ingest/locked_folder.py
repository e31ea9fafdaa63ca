"""The snapshot folder, as seen by the one process that may write to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.ingest.spec import ImportRefused
from appliance.system.files import open_private


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two importers never write at once. Raises ImportRefused if another one does."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = open_private(folder / "lock", os.O_RDWR)
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
