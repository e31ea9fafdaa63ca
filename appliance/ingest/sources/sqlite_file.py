"""Customers from a table or view of an SQLite file, read from a private copy.

A file may contain whatever its writer needs: JSON in indexes and views, collations and functions of its own, pictures.
Only what the named table or view depends on matters:

- Views and generated columns may call SQLite's harmless functions and its JSON functions, and no others.
- A table is read in row order, without comparisons, so its collations need not be known. In a view they must be, since
  they may decide which rows there are.
- Structural damage anywhere refuses the file. Values that violate a constraint of some table do not.
- A table is read fast until a cell is too large or not UTF-8, and from that row on carefully, cell by cell. A view may
  return its rows in another order the second time, so it is read carefully from the start.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from appliance.customers.record import ColumnError, Columns
from appliance.ingest.sources.base import BATCH, Batch, OpenSource, SourceError, SourceKind, Wanted, require
from appliance.ingest.sources.local_file import LocalFile
from appliance.ingest.sources.sqlite_copy import copy_database, damaged, wal_of
from appliance.system.files import fingerprint_of

_MAX_CELL: Final = 1024 * 1024
_ALSO_HARMLESS: Final = {"->", "->>", "match", "bm25", "highlight", "snippet"}
_INNOCUOUS: Final = 0x200000  # a flag of PRAGMA function_list (sqlite3.h)
# Of constraints and types, not of the file's structure (PRAGMA integrity_check).
_OF_VALUES: Final = re.compile(
    r"NULL value in |CHECK constraint failed |non-unique entry |[A-Z]+ value in |non-[A-Z]+ value in "
)
_COLLATION: Final = re.compile(r"no such collation sequence: (.+)")
_FUNCTION: Final = re.compile(
    r"(?:no such function: |not authorized to use function: |unknown function: |unsafe use of )([^()]+)(?:\(\))?"
)
_MAX_COLLATIONS: Final = 100


class _NotText:
    """What stands for a text that is not UTF-8."""


_NOT_TEXT: Final = _NotText()


@dataclass(frozen=True)
class SqliteTable(LocalFile):
    """A table or view of an SQLite file.

    It is copied in one read transaction, so its writer may keep it open and change it at any time.
    """

    table: str = "customers"

    @classmethod
    def parse(cls, path: Path, _section: str, *, table: str) -> SqliteTable:
        """Return the table as the settings name it."""
        return cls(path, table)

    def identity(self) -> tuple[str, ...]:
        """Return the file and the table."""
        return (str(self.path), self.table)

    def fingerprint(self) -> str:
        """Return what the file system says of the file and of its write-ahead log, which changes first."""
        return fingerprint_of((self.path, wal_of(self.path)))

    @property
    def is_streamed(self) -> bool:
        """It is copied whole before its first row is read."""
        return False

    def open(self, wanted: Wanted, scratch: Path) -> OpenTable:
        """Copy the file to `scratch`, and look at the table. Raises SourceError."""
        return OpenTable(self.path, self.table, wanted, scratch)


KIND: Final = SourceKind(
    title="SQLite",
    parse=SqliteTable.parse,
    suffixes=(".db", ".sqlite", ".sqlite3"),
    keys=("table",),
    about="a table or view of an SQLite database",
)


class OpenTable(OpenSource):
    """One table or view of an SQLite file."""

    def __init__(self, file: Path, table: str, wanted: Wanted, copy: Path) -> None:
        """Copy `file` to `copy` and look at `table`, which must have the `wanted` columns. Raises SourceError."""
        self._file = file
        self._copy = copy
        self._number = 0
        self._compared = False
        copy_database(file, copy)
        try:
            collations = _check_structure(file, copy)
            self._database = _open(copy)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        try:
            self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_CELL)
            kind = self._kind(table)
            self._is_view = kind == "view"
            self._careful = kind != "table"
            for name in () if self._is_view else collations:
                self._database.create_collation(name, self._compare)
            self._from = _quoted(table) if self._careful else f"{_quoted(table)} NOT INDEXED"
            self._database.set_authorizer(_Authorizer(self._database))
            self.columns = Columns(self._names())
            require(self.columns, wanted)
            self._count: int = self._execute(f"SELECT count(*) FROM {self._from}").fetchone()[0]
        except sqlite3.Error as error:
            self.close()
            raise self._fault(error) from None
        except ColumnError as fault:
            self.close()
            raise SourceError(f'{file}, "{table}": {fault}') from None
        except BaseException:
            self.close()
            raise

    def _kind(self, table: str) -> str:
        """Return "view", "table", or "" for a table whose rows have no fixed order. Raises SourceError."""
        listed = self._database.execute(
            "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' ORDER BY name"
        ).fetchall()
        kinds = {name: ("" if without_rowid else kind) for name, kind, without_rowid in listed}
        found = next((kind for name, kind in kinds.items() if name.lower() == table.lower()), None)
        if found is None:
            shown = (f'"{name}"' for name, kind, _ in listed if kind != "shadow" and not name.startswith("sqlite_"))
            has = ", ".join(shown)
            rest = f', only {has}; correct the key "table"' if has else "; the database has no tables"
            raise SourceError(f'{self._file} has no table or view "{table}"{rest}')
        return found if found in ("view", "table") else ""

    def _execute(self, statement: str) -> sqlite3.Cursor:
        """Execute a statement; of a table, whatever its collations are. Raises sqlite3.Error."""
        for _ in range(_MAX_COLLATIONS):
            try:
                return self._database.execute(statement)
            except sqlite3.OperationalError as error:
                missing = _COLLATION.fullmatch(str(error))
                if missing is None or self._is_view:
                    raise
                self._database.create_collation(missing[1], self._compare)
        raise sqlite3.OperationalError("too many collations")

    def _compare(self, _one: str, _other: str) -> int:
        """Note that rows depend on a collation that only the program that writes the file knows."""
        self._compared = True
        return 0

    def _execute_carefully(self) -> sqlite3.Cursor:
        """Begin again, with sizes in place of cells that are too large, and _NOT_TEXT in place of text that is none."""
        self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2**31 - 1)  # the import's memory is limited as a whole
        self._database.text_factory = _text_or_none
        cells = ", ".join(_CELL.format(_quoted(name), _MAX_CELL) for name in self._names())
        return self._execute(f"SELECT {cells} FROM {self._from}")

    def _names(self) -> list[str]:
        """Return the names of the columns as the database has them."""
        cursor = self._execute(f"SELECT * FROM {self._from} LIMIT 0")
        return [column[0] for column in cursor.description]

    def batches(self) -> Iterator[Batch]:
        """Return every row of the table. Raises SourceError where the file is broken."""
        self._cursor: sqlite3.Cursor | None = None
        while values := self._next_values():
            rows, faults = _texts(values)
            yield Batch(rows, partial(int.__add__, self._number + 1), faults)
            self._number += len(rows)
        if self._compared:
            raise SourceError(
                f"{self._file}: rows of the table depend on a collation of the program that writes it;"
                " let that program export them"
            )

    def _next_values(self) -> list[tuple[object, ...]]:
        """Return the values of the next rows. Raises SourceError where the file is broken."""
        try:
            if self._cursor is None:
                self._cursor = (
                    self._execute_carefully() if self._careful else self._execute(f"SELECT * FROM {self._from}")
                )
            return self._cursor.fetchmany(BATCH)
        except sqlite3.Error as error:
            if self._careful or not any(word in str(error) for word in ("decode", "too big")):
                raise self._fault(error) from None
        self._careful = True
        try:
            self._cursor = self._execute_carefully()
            for _ in range(0, self._number, BATCH):
                self._cursor.fetchmany(BATCH)
            return self._cursor.fetchmany(BATCH)
        except sqlite3.Error as error:
            raise self._fault(error) from None

    def _fault(self, error: sqlite3.Error) -> SourceError:
        """Return the sentence for what SQLite says."""
        for pattern, what in ((_COLLATION, "collation"), (_FUNCTION, "function")):
            if found := pattern.fullmatch(str(error)):
                return SourceError(
                    f"{self._file}: the table or view needs the {what} {found[1]}, which only the program that writes"
                    " the file has; name a table or view without it"
                )
        return SourceError(damaged(self._file, error))

    def share_read(self) -> float:
        """Return how much of the table has been read, from 0 to 1."""
        return min(1.0, self._number / max(1, self._count))

    def close(self) -> None:
        """Remove the copy."""
        self._database.close()
        self._copy.unlink(missing_ok=True)


def sample_tables(file: Path, copy: Path, count: int) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return every table and view that can be read: its name, its columns, and up to `count` rows.

    `file` is copied to `copy`, which stays. Raises SourceError if it is no sound database.
    """
    copy_database(file, copy)
    _check_structure(file, copy)
    found = []
    with closing(_open(copy)) as database:
        listed = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'view') ORDER BY name"
        names = [name for (name,) in database.execute(listed)]
        database.text_factory = _text_or_none
        database.set_authorizer(_Authorizer(database))
        for name in names:
            if not name.startswith("sqlite_"):
                with suppress(sqlite3.Error):
                    cursor = database.execute(f"SELECT * FROM {_quoted(name)} LIMIT {count}")
                    columns = [column[0] for column in cursor.description]
                    found.append((name, columns, _texts(cursor.fetchall())[0]))
    return found


def _open(copy: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(copy))}?mode=ro&immutable=1", uri=True)


def _check_structure(file: Path, copy: Path) -> tuple[str, ...]:
    """Return the collations of indexes that SQLite does not know. Raises SourceError if the copy is damaged."""
    database = _open(copy)
    unknown: list[str] = []
    try:
        while len(unknown) < _MAX_COLLATIONS:
            try:
                complaints = [text for (text,) in database.execute("PRAGMA quick_check(1000000)")]
            except sqlite3.OperationalError as error:
                missing = _COLLATION.fullmatch(str(error))
                if missing is None:
                    raise
                database.create_collation(missing[1], lambda one, other: (one > other) - (one < other))
                unknown.append(missing[1])
                continue
            if all(text == "ok" or _OF_VALUES.match(text) for text in complaints):
                return tuple(unknown)
            break
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise SourceError(damaged(file, error)) from None
    finally:
        database.close()
    raise SourceError(f"{file} is damaged; restore it, or export it again")


class _Authorizer:
    """Allows reading, by functions that can do nothing but compute (sqlite.org/security.html).

    PRAGMA trusted_schema would do that alone, but before SQLite 3.41 it takes JSON's functions for dangerous.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        listed = database.execute("SELECT DISTINCT name, flags FROM pragma_function_list").fetchall()
        harmless = {name.lower() for name, flags in listed if flags & _INNOCUOUS}
        self._functions = harmless | _ALSO_HARMLESS | {name for name, _ in listed if name.startswith("json")}

    def __call__(self, action: int, one: str | None, two: str | None, _database: str | None, _by: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            allowed = (two or "").lower() in self._functions
        else:
            allowed = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


_CELL: Final = """CASE WHEN typeof({0}) = 'blob' AND length({0}) > {1} THEN printf('(%,d bytes)', length({0}))
WHEN typeof({0}) = 'text' AND length({0}) > {1} THEN printf('(%,d characters)', length({0})) ELSE {0} END"""


def _texts(rows: Sequence[Sequence[object]]) -> tuple[list[list[str]], dict[int, str]]:
    """Return rows as a card shows them, and what is wrong with those that cannot be used, by their index."""
    texts: list[list[str]] = []
    faults: dict[int, str] = {}
    for index, values in enumerate(rows):
        cells = [value if type(value) is str else _text(value) for value in values]
        texts.append(cells)
        if _NOT_TEXT in values:
            faults[index] = "this row has text that is not UTF-8; correct it in the database"
        elif "\0" in "".join(cells):
            faults[index] = "this row has a NUL character; correct it in the database"
    return texts, faults


def _text_or_none(raw: bytes) -> str | _NotText:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _NOT_TEXT


def _text(value: object) -> str:
    """Return a value as a card shows it; of a picture or the like no more than its size."""
    if value is None or value is _NOT_TEXT:
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
