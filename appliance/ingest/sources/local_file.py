"""Sources that are files of this machine."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from appliance.ingest.sources.base import Source, SourceError
from appliance.system.account import todo_of
from appliance.system.files import fingerprint_of


@dataclass(frozen=True)
class LocalFile(Source):
    """A source that is one file."""

    path: Path

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.path.name

    def fingerprint(self) -> str:
        """Return what the file system says of the file."""
        return fingerprint_of((self.path,))

    def size(self) -> int:
        """Return the file's size."""
        try:
            status = os.stat(self.path)
        except OSError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def files(self) -> tuple[Path, ...]:
        """Return the file."""
        return (self.path,)


def open_regular(file: Path) -> BufferedReader:
    """Open a regular file; not a folder, pipe or device. Raises SourceError."""
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes would wait for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SourceError(f"{file} does not exist; put the file there, or correct its name in the config") from None
    except OSError as error:
        raise SourceError(f"{file} cannot be opened: {error.strerror}; {todo_of(error)}", transient=True) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError(f"{file} is not a regular file; name a customers file")
    return os.fdopen(descriptor, "rb")
