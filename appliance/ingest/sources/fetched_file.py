"""The file that a fetch writes: its size and digest are known when it ends."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from appliance.ingest.sources.remote import Fetched
from appliance.system.files import open_private


class FetchedFile:
    """A file that is written, only once, from its beginning. Every method raises OSError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> FetchedFile:
        self._output = os.fdopen(open_private(self._file, os.O_WRONLY | os.O_TRUNC), "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._output.close()

    def write(self, data: bytes) -> None:
        """Add some bytes."""
        self._output.write(data)
        self._digest.update(data)
        self._size += len(data)

    def fetched(self, rows: int) -> Fetched:
        """Return what was written, which has this many rows."""
        return Fetched(rows, self._size, self._digest.hexdigest())
