"""Looks at a source that no config describes yet: its columns, its first rows, and how a text file is written.

    text file   tried as UTF-8, then as what it else may be; with the lines above its header skipped
    SQLite      every table and view that can be read
    a server    the first rows of the table that is named

Nothing is decided here but what is needed to read anything: which columns mean what is bootstrap/proposal.py's.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from appliance.customers.column_name import name_key
from appliance.ingest import sources
from appliance.ingest.fetch import inspect
from appliance.ingest.sources.base import BATCH, OpenSource, SourceError, SourceSettingError
from appliance.ingest.sources.file_kinds import HEAD, kind_of, unmarked_utf_16
from appliance.ingest.sources.local_file import open_regular
from appliance.ingest.sources.sqlite_file import sample_tables
from appliance.ingest.spec import ImportSpec
from appliance.ingest.table import Table, holds_addresses
from appliance.system.files import is_utf8

ROWS: Final = 10 * BATCH
"""How many rows of a table are looked at."""

_FALLBACK: Final = "cp1252"
"""What a file that is not UTF-8 mostly is."""

_MOST_TITLES: Final = 50
_WIDE: Final = 0.9
"""A line is taken for the header if this share of the rows below it has as many cells."""

_WITHOUT: Final = re.compile(r"\b(no|not|none|without|kein|keine|ohne|sans|pas)\b")

_TEXT: Final[Mapping[str, object]] = {
    "encoding": "",
    "skip_lines": 0,
    "unterminated_last_line": "accept",
    "ready_file": None,
    "checksum_file": None,
}


def survey(source: str, path: Path, settings: Mapping[str, object]) -> list[Table]:
    """Return the tables of a source: one, or of an SQLite file each that can be read; `path` is a file's place.

    `settings` are keys of [customers] for a source on a server, of which "table" names the one wanted, also of a file.
    Raises SourceError with one sentence if nothing can be made of it.
    """
    try:
        kind = sources.kind_of(source)
        if not kind.suffixes:
            return [_survey_server(source, path, settings)]
    except SourceSettingError as fault:
        raise SourceError(f"{source}: {fault}") from None
    if "table" in kind.keys:
        return _survey_database(path, str(settings.get("table") or ""))
    return [survey_text(path)]


def survey_text(path: Path) -> Table:
    """Return the table of a text file. Raises SourceError."""
    with open_regular(path) as file:
        head = file.read(HEAD)
    kind = kind_of(head)
    encoding = ""
    try:
        table = _below_titles(path, encoding)
    except SourceError as fault:
        encoding = unmarked_utf_16(head) or _FALLBACK
        if kind is not None:
            raise
        try:
            table = _below_titles(path, encoding)
        except SourceError:
            raise fault from None
    if kind is not None and not any(map(holds_addresses, map(table.column, table.columns))):
        raise SourceError(f"{path}: this is {kind.name}; {kind.todo}")
    return replace(table, encoding=encoding, lacks_last_end=_lacks_last_end(path))


def _below_titles(path: Path, encoding: str) -> Table:
    """Return the table whose header is above the first line with an address, if there is one. Raises SourceError.

    That is the line with a column of addresses that is called so; or else the first whose rows are as wide. Without
    either, it is a line further down with such a column: there may be an address in a title.
    """
    lines, above = _lines_above_address(path)
    found: list[Table] = []
    first: Table | SourceError | None = None
    for skip_lines in range(lines):
        try:
            table = _read_text(path, encoding, skip_lines)
        except SourceError as fault:
            first = first or fault
            continue
        first = first or table
        with_addresses = [name for name in table.columns if holds_addresses(table.column(name))] if table.wide else []
        if any(map(_is_called_mail, with_addresses)):
            return table
        if with_addresses and skip_lines < above:
            found.append(table)
        if found and skip_lines + 1 >= above:
            break
    if found:
        return found[0]
    if isinstance(first, Table):
        return first
    raise first or SourceError(f"{path} is empty; export it again")


def _is_called_mail(name: str) -> bool:
    """Return whether this is the name of a column; a cell of a customer may say "no email"."""
    return "mail" in name_key(name) and not _WITHOUT.search(name_key(name))


def _lines_above_address(path: Path) -> tuple[int, int]:
    """Return how many lines may be titles or the header, and how many of them are above the first with an address."""
    with open_regular(path) as file:
        lines = file.read(HEAD).splitlines()[: _MOST_TITLES + 1]
    first = next((number for number, line in enumerate(lines) if b"@" in line), 1)
    return max(1, len(lines) - 1), max(1, first)


def _read_text(path: Path, encoding: str, skip_lines: int) -> Table:
    """Read the first rows below a header that may be in this line. Raises SourceError."""
    settings = {**_TEXT, "encoding": encoding, "skip_lines": skip_lines}
    with closing(sources.parse(str(path), path, "customers", settings).open({}, path)) as opened:
        columns, rows, whole = _first_rows(opened)
    wide = sum(len(row) == len(columns) for row in rows) >= _WIDE * len(rows)
    return replace(_table(str(path), "", columns, rows), whole=whole, wide=wide, skip_lines=skip_lines)


def _first_rows(opened: OpenSource) -> tuple[tuple[str, ...], list[list[str]], bool]:
    batches = (row for batch in opened.batches() for row in batch.rows)
    rows = list(islice(batches, ROWS))
    return tuple(opened.columns.names), rows, next(batches, None) is None


def _table(source: str, name: str, columns: tuple[str, ...], rows: list[list[str]], *, whole: bool = True) -> Table:
    """Return a table with as many cells in each row as there are columns."""
    count = len(columns)
    even = tuple(tuple((row + [""] * count)[:count]) for row in rows if any(map(str.strip, row)))
    return Table(source=source, name=name, columns=columns, rows=even, whole=whole)


def _survey_database(path: Path, wanted: str) -> list[Table]:
    with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
        sampled = sample_tables(path, Path(folder, "copy.tmp"), ROWS)
        tables = [
            _table(str(path), name, tuple(columns), rows, whole=len(rows) < ROWS) for name, columns, rows in sampled
        ]
    if not tables:
        raise SourceError(f"{path} has no table or view that can be read; name another file")
    if wanted:
        tables.sort(key=lambda table: table.name.lower() != wanted.lower())
        if tables[0].name.lower() != wanted.lower():
            has = ", ".join(f'"{table.name}"' for table in tables)
            raise SourceError(f'{path} has no table or view "{wanted}" that can be read, only {has}; correct --table')
    return tables


def _survey_server(source: str, path: Path, settings: Mapping[str, object]) -> Table:
    parsed = sources.parse(source, path, "customers", settings)
    spec = ImportSpec(source=parsed)
    with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
        try:
            inspected, remarks = inspect(spec, Path(folder), ROWS)
        except OSError as error:
            raise SourceError(f"{folder}: {error.strerror}; set TMPDIR to a folder with free space") from None
        if inspected is None:
            raise SourceError(next(remark.sentence for remark in remarks if remark.level == "fault"))
        with closing(inspected.source.open({}, Path(folder, "unused.tmp"))) as opened:
            columns, rows, whole = _first_rows(opened)
    return _table(source, str(settings["table"]), columns, rows, whole=whole)


def survey_beside(path: Path, suffixes: tuple[str, ...] = (".csv", ".tsv")) -> Iterator[Table]:
    """Yield the other text files in the folder of a file, as far as they can be read."""
    with suppress(OSError):
        others = (each for each in path.parent.iterdir() if each.suffix.lower() in suffixes and each != path)
        beside = sorted(each for each in others if is_utf8(each))  # no config can name another
        for each in beside[:_MOST_TITLES]:
            with suppress(SourceError, OSError):
                yield survey_text(each)


def _lacks_last_end(path: Path) -> bool:
    with open_regular(path) as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4))
        end = file.read().replace(b"\0", b"").rstrip(b"\x1a")  # also of UTF-16, and CP/M's end of a text
    return not end.endswith((b"\n", b"\r"))
