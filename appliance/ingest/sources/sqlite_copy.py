"""A private copy of an SQLite file: one moment of the database, whatever its writer does next.

SQLite's backup API makes it in one read transaction, so the writer never waits longer than copying takes.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.file_kinds import HEAD, kind_of
from appliance.ingest.sources.local_file import open_regular

_PATIENCE: Final = 5000  # milliseconds to wait for the writer's lock
_PAUSE: Final = 50  # milliseconds between two tries
_MAGIC: Final = b"SQLite format 3\0"
_WAL: Final = b"\x02"  # the file format's read version, at byte 19 of the header


def wal_of(file: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a database: beside the file itself, not beside a link to it."""
    return Path(os.path.realpath(file) + "-wal")


def copy_database(file: Path, copy: Path) -> None:
    """Copy the database at a moment between two of its writer's changes. Raises SourceError."""
    copy.unlink(missing_ok=True)
    with open_regular(file) as binary:
        header = binary.read(HEAD)
    if not header:
        raise SourceError(f"{file} is empty; export it again")
    if not header.startswith(_MAGIC):
        raise SourceError(f"{file}: {_no_database(header)}")
    wal = wal_of(file).exists()
    # Without a -wal nobody has a database in WAL mode open, so it may be read as it lies; mode=ro would put files
    # beside it, or fail where it may not. In the other modes the writer's locks are there to be respected.
    immutable = not wal and header[19:20] == _WAL
    uri = f"file:{quote(os.fsencode(os.path.realpath(file)))}?mode=ro{'&immutable=1' if immutable else ''}"
    waited = 0

    def be_patient(status: int, _remaining: int, _total: int) -> None:
        nonlocal waited
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            waited += _PAUSE
            if waited >= _PATIENCE:
                raise _Locked

    try:
        source = sqlite3.connect(uri, uri=True, timeout=0)
        target = sqlite3.connect(copy)
        try:
            target.execute("PRAGMA journal_mode = OFF")
            source.backup(target, pages=-1, progress=be_patient, sleep=_PAUSE / 1000)
        finally:
            source.close()
            target.close()
    except _Locked:
        raise SourceError(
            f"{file} is locked by the program that writes it; it will be tried again", transient=True
        ) from None
    except sqlite3.DatabaseError as error:
        copy.unlink(missing_ok=True)
        raise _unreadable(file, error, wal=wal) from None


class _Locked(Exception):
    """The writer held its lock for too long."""


def _unreadable(file: Path, error: sqlite3.DatabaseError, *, wal: bool) -> SourceError:
    """Say why a database could not be copied, and what to do."""
    code = error.sqlite_errorcode & 0xFF
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        if wal:
            todo = "let sidebard write to its folder, or let its writer end with PRAGMA wal_checkpoint(TRUNCATE)"
            return SourceError(f"{file} has a -wal file beside it that cannot be read; {todo}", transient=True)
        todo = "open it once with the program that writes it"
        return SourceError(f"{file} was left in the middle of a change; {todo}", transient=True)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        raise error  # of our own disk or memory, not of the file
    return SourceError(damaged(file, error))


def _no_database(header: bytes) -> str:
    """Say what a file is instead of a database, as far as it tells."""
    kind = kind_of(header)
    if kind is not None:
        return f"this is {kind.name}; {kind.todo}"
    if b"\0" not in header:
        return "this is text, not an SQLite database; if it is CSV, give it the ending .csv here and in the config"
    return "this is not an SQLite database; export it again, or correct its name in the config"


def damaged(file: Path, error: sqlite3.Error) -> str:
    """Return the sentence for a database that SQLite cannot read."""
    return f"{file} cannot be read as an SQLite database ({error}); restore it, or export it again"
