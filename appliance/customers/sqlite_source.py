"""Customers from a table or view of an SQLite file, read from a private copy.

The copy is made by SQLite's backup, in one read transaction: it is a moment of the database, whatever its writer does
next, and the lock that the writer may have to wait for is held no longer than copying takes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from appliance.customers.file_kinds import HEAD, kind_of
from appliance.customers.record import ColumnFault, Columns
from appliance.customers.source import BATCH, Batch, SourceFault, open_regular, require

_MAX_CELL: Final = 1024 * 1024
_PATIENCE: Final = 5000  # milliseconds that the file may be locked by its writer
_PAUSE: Final = 50  # milliseconds between two tries
_MAGIC: Final = b"SQLite format 3\0"
_WAL: Final = b"\x02"  # the file format's read version, at byte 19 of the header


class SqliteSource:
    """One table or view of an SQLite file."""

    def __init__(self, file: Path, table: str, wanted: Sequence[str], setting: str, copy: Path) -> None:
        """Copy `file` to `copy` and look at `table`, which must have the `wanted` columns, named by the key `setting`.

        Raises SourceFault.
        """
        self._file = file
        self._copy = copy
        self._number = 0
        _copy(file, copy)
        self._database = sqlite3.connect(f"file:{quote(str(copy))}?mode=ro&immutable=1", uri=True)
        try:
            self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_CELL)
            # A view of the file's must not call functions with side effects (sqlite.org/security.html).
            self._database.execute("PRAGMA trusted_schema = OFF")
            self._check(table)
            self._count: int = self._database.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()[0]
            self._statement = f"SELECT * FROM {_quoted(table)}"
            self._cursor = self._database.execute(self._statement)
            self.columns = Columns([column[0] for column in self._cursor.description])
            require(self.columns, wanted, setting)
        except sqlite3.Error as error:
            self.close()
            raise SourceFault(_damaged(file, error)) from None
        except ColumnFault as fault:
            self.close()
            raise SourceFault(f'{file}, "{table}": {fault}') from None
        except BaseException:
            self.close()
            raise

    def _check(self, table: str) -> None:
        """Raise SourceFault if the copy is damaged, or has no such table."""
        (complaint,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if complaint != "ok":
            raise SourceFault(f"{self._file} is damaged; restore it, or export it again")
        named = self._database.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name")
        has = [name for (name,) in named if not name.startswith("sqlite_")]
        if table.lower() not in map(str.lower, has):
            listed = ", ".join(f'"{name}"' for name in has)
            rest = f', only {listed}; correct the key "table"' if has else "; the database has no tables"
            raise SourceFault(f'{self._file} has no table or view "{table}"{rest}')

    def batches(self) -> Iterator[Batch]:
        """Give every row of the table. Raises SourceFault where the file is broken."""
        try:
            while values := self._cursor.fetchmany(BATCH):
                yield Batch([self._texts(row) for row in values], partial(int.__add__, self._number - len(values) + 1))
        except sqlite3.Error as error:
            if "decode" in str(error):
                raise self._row_fault(self._number_of_fault(), "text that is not UTF-8") from None
            raise SourceFault(_damaged(self._file, error)) from None

    def _texts(self, values: Sequence[object]) -> list[str]:
        self._number += 1
        cells = [value if type(value) is str else _text(value) for value in values]
        if "\0" in "".join(cells):
            raise self._row_fault(self._number, "a NUL character")
        return cells

    def _number_of_fault(self) -> int:
        """Read again, row by row, to the one that cannot be read: fetchmany gives none of its batch."""
        number = 0
        with suppress(sqlite3.Error):
            for _ in self._database.execute(self._statement):
                number += 1
        return number + 1

    def _row_fault(self, number: int, what: str) -> SourceFault:
        return SourceFault(f"{self._file}: row {number} has {what}; correct the row")

    def share_read(self) -> float:
        """Give how much of the table has been read, from 0 to 1."""
        return min(1.0, self._number / max(1, self._count))

    def close(self) -> None:
        """Remove the copy."""
        self._database.close()
        self._copy.unlink(missing_ok=True)


def _copy(file: Path, copy: Path) -> None:
    """Copy the database at a moment between two of its writer's changes. Raises SourceFault."""
    copy.unlink(missing_ok=True)
    with open_regular(file) as binary:
        header = binary.read(HEAD)
    if not header:
        raise SourceFault(f"{file} is empty; export it again")
    if not header.startswith(_MAGIC):
        raise SourceFault(f"{file}: {_no_database(header)}")
    file = Path(os.path.realpath(file))  # a -wal lies beside the file itself, not beside a link to it
    wal = file.with_name(file.name + "-wal").exists()
    # Without a -wal nobody has a database in WAL mode open, so it may be read as it lies; mode=ro would put files
    # beside it, or fail where it may not. In the other modes the writer's locks are there to be respected.
    immutable = not wal and header[19:20] == _WAL
    uri = f"file:{quote(str(file.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"
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
        raise SourceFault(f"{file} is locked by what writes it; it will be looked at again", transient=True) from None
    except sqlite3.DatabaseError as error:
        copy.unlink(missing_ok=True)
        raise _unreadable(file, error, wal=wal) from None


class _Locked(Exception):
    """The writer held its lock for too long."""


def _unreadable(file: Path, error: sqlite3.DatabaseError, *, wal: bool) -> SourceFault:
    """Say why a database could not be copied, and what to do."""
    code = error.sqlite_errorcode & 0xFF
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        if wal:
            todo = "let sidebard write its folder, or its writer end with PRAGMA wal_checkpoint(TRUNCATE)"
            return SourceFault(f"{file} has a -wal file beside it that cannot be read; {todo}", transient=True)
        todo = "open it once with the program that writes it"
        return SourceFault(f"{file} was left in the middle of a change; {todo}", transient=True)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        raise error  # of our own disk or memory, not of the file
    return SourceFault(_damaged(file, error))


def _no_database(header: bytes) -> str:
    """Say what a file is instead of a database, as far as it tells."""
    kind = kind_of(header)
    if kind is not None:
        return f"this is {kind.name}; {kind.todo}"
    if b"\0" not in header:
        return "this is text, not an SQLite database; if it is CSV, give it the ending .csv here and in the config"
    return "this is not an SQLite database; export it again, or correct its name in the config"


def _damaged(file: Path, error: sqlite3.Error) -> str:
    return f"{file} cannot be read as an SQLite database ({error}); restore it, or export it again"


def _text(value: object) -> str:
    """Give a value as a card shows it; of a picture or the like no more than its size."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return f"({len(value):,} bytes)"
        return text if "\0" not in text else f"({len(value):,} bytes)"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
