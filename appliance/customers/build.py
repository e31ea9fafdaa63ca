"""Fills a new snapshot file from the sources."""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.address import fold_plus, normalise
from appliance.customers.csv_source import CSV_SUFFIXES, CsvSource
from appliance.customers.plan import MAX_LISTED, BadRow, Plan, RelatedPlan, Report
from appliance.customers.record import ColumnFault, Columns
from appliance.customers.snapshot import FORMAT, SCHEMA, Facts, Relation, encode_values, related_key
from appliance.customers.source import Source, require
from appliance.customers.sqlite_source import SqliteSource

# Nothing is lost that a crash could lose: the file has no name yet, and is read back and synced before it gets one.
_FAST: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -65536;
PRAGMA temp_store = FILE;
"""
_CHUNK: Final = 5000
_BETWEEN: Final = re.compile(r"[\s;,]+")  # an unquoted comma cannot be part of an address (RFC 5322, 3.2.3)
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,9})?", re.ASCII)


class Tally:
    """Counts what an import meets."""

    def __init__(self) -> None:
        self.rows = self.without_address = self.addresses = self.shared = self.bad_rows = self.checksum = 0
        self.bad: list[BadRow] = []
        self.related: dict[str, int] = {}

    def reject(self, file: Path, line: int, why: str) -> None:
        """Count a row that is left out."""
        self.bad_rows += 1
        if len(self.bad) < MAX_LISTED:
            self.bad.append(BadRow(str(file), line, why))

    def report(self, generation: int, seconds: float) -> Report:
        """Give the numbers."""
        return Report(
            generation=generation,
            rows=self.rows,
            addresses=self.addresses,
            without_address=self.without_address,
            shared_addresses=self.shared,
            bad_rows=self.bad_rows,
            bad=tuple(self.bad),
            related=self.related,
            seconds=round(seconds, 3),
        )


class Builder:
    """Writes one snapshot file."""

    def __init__(self, plan: Plan, file: Path, tally: Tally, progress: Callable[[int, float], None]) -> None:
        self._plan = plan
        self._file = file
        self._tally = tally
        self._progress = progress
        self._database = sqlite3.connect(file, isolation_level=None)

    def build(self, as_of: float, signature: str) -> Facts:
        """Read every source and write everything. Raises SourceFault, sqlite3.Error and OSError.

        `as_of`, seconds since 1970, and `signature` are what the snapshot will say of when and what was read.
        """
        try:
            self._database.executescript(_FAST + SCHEMA + "CREATE TEMP TABLE met(address TEXT, customer INTEGER);")
            self._database.execute("BEGIN")
            columns = self._customers()
            self._addresses()
            relations = tuple(self._relation(number, related) for number, related in enumerate(self._plan.related))
            facts = Facts(
                format=FORMAT,
                plan=self._plan.digest(),
                signature=signature,
                as_of=as_of,
                columns=columns.names,
                relations=relations,
                rows=self._tally.rows,
                addresses=self._tally.addresses,
                checksum=self._tally.checksum,
            )
            self._database.execute("INSERT INTO facts VALUES(?)", (msgspec.json.encode(facts).decode(),))
            self._database.execute("COMMIT")
            return facts
        finally:
            self._database.close()

    def _customers(self) -> Columns:
        plan, tally = self._plan, self._tally
        source = self._open(plan.source, plan.table, plan.addresses, "customers.addresses")
        try:
            self._check_names(source.columns)
            read_addresses = _address_reader(plan, source.columns)
            for chunk in _chunks(_good_rows(source, plan.source, tally)):
                records: list[tuple[int, bytes]] = []
                met: list[tuple[str, int]] = []
                for line, cells in chunk:
                    addresses, written = read_addresses(cells)
                    if written and not addresses:
                        tally.reject(plan.source, line, f"there is no e-mail address in {_listed(plan.addresses)}")
                        continue
                    tally.rows += 1
                    tally.without_address += not addresses
                    record = encode_values(cells)
                    tally.checksum = zlib.crc32(record, tally.checksum)
                    records.append((tally.rows, record))
                    met += [(address, tally.rows) for address in addresses]
                self._database.executemany("INSERT INTO customer VALUES(?,?)", records)
                self._database.executemany("INSERT INTO met VALUES(?,?)", met)
                self._progress(tally.rows, source.share_read())
            return source.columns
        finally:
            source.close()

    def _open(self, file: Path, table: str, wanted: Sequence[str], setting: str) -> Source:
        """Open one file of the plan, which must have the `wanted` columns, named by the key `setting`.

        Raises SourceFault.
        """
        if file.suffix.lower() in CSV_SUFFIXES:
            proven = bool(self._plan.ready_file or self._plan.checksum_file)
            return CsvSource(file, wanted, setting, self._plan.encoding, whole=proven)
        return SqliteSource(file, table, wanted, setting, self._file.with_name("source.tmp"))

    def _check_names(self, columns: Columns) -> None:
        """Raise ColumnFault if related rows cannot be joined, or would hide a column in the card."""
        for related in self._plan.related:
            require(columns, (related.on,), f"related.{related.name}.on")
            if related.name in columns.attributes:
                raise ColumnFault(
                    f'"{related.name}" is a column and a related table too; rename the table [related.{related.name}]'
                )

    def _addresses(self) -> None:
        """Move the addresses into their table in its own order: filled unsorted it takes twice as long."""
        self._database.execute("INSERT INTO address SELECT address, customer FROM met ORDER BY address, customer")
        self._database.execute("DROP TABLE met")
        (self._tally.addresses,) = self._database.execute("SELECT count(*) FROM address").fetchone()
        (self._tally.shared,) = self._database.execute(
            "SELECT count(*) FROM (SELECT 1 FROM address GROUP BY address HAVING count(*) > 1)"
        ).fetchone()

    def _relation(self, number: int, related: RelatedPlan) -> Relation:
        by_address = any(related.on.casefold() == name.casefold() for name in self._plan.addresses)
        order_by = related.order_by.removeprefix("-")
        wanted = [related.key, *filter(None, [order_by])]
        source = self._open(related.source, related.table, wanted, f"related.{related.name}")
        try:
            key_at = source.columns.positions[related.key.casefold()]
            sort_at = source.columns.position(order_by)
            self._database.execute("CREATE TEMP TABLE joined(key TEXT, sort, record BLOB)")
            rows = (
                (
                    related_key(cells[key_at], by_address),
                    None if sort_at is None else _sortable(cells[sort_at]),
                    encode_values(cells),
                )
                for _, cells in _good_rows(source, related.source, self._tally)
            )
            self._database.executemany("INSERT INTO joined VALUES(?,?,?)", rows)
        finally:
            source.close()
        down = "DESC" if related.order_by.startswith("-") else "ASC"
        self._database.execute(
            f"""INSERT INTO related SELECT ?, key, place, record FROM (
            SELECT key, record, row_number() OVER (PARTITION BY key ORDER BY sort IS NULL, sort {down}, rowid) AS place
            FROM joined WHERE key <> '') WHERE place <= ? ORDER BY key, place""",
            (number, related.limit),
        )
        (self._tally.related[related.name],) = self._database.execute("SELECT count(*) FROM joined").fetchone()
        self._database.execute("DROP TABLE joined")
        return Relation(related.name, source.columns.names, related.on, by_address)


def _good_rows(source: Source, file: Path, tally: Tally) -> Iterator[tuple[int, Sequence[str]]]:
    """Give the rows that have the header's number of cells and something in them; tell `tally` of the others."""
    width = len(source.columns.names)
    for line, cells in source.rows():
        if cells is None:
            tally.reject(file, line, "the last line has no line end, so it may be cut short; end it with one")
        elif len(cells) != width:
            if any(cells):
                tally.reject(
                    file, line, f"{len(cells)} cells, but the header has {width}; quote a cell with a delimiter"
                )
        elif any(cells):
            yield line, cells


def _address_reader(plan: Plan, columns: Columns) -> Callable[[Sequence[str]], tuple[list[str], bool]]:
    """Give a function from a row's cells to its distinct addresses, and whether its address cells hold anything."""
    positions = [columns.positions[name.strip().casefold()] for name in plan.addresses]
    fold = plan.plus_addressing

    def read(cells: Sequence[str]) -> tuple[list[str], bool]:
        addresses: list[str] = []
        written = False
        for position in positions:
            cell = cells[position].strip()
            if not cell:
                continue
            written = True
            for part in _BETWEEN.split(cell) if _BETWEEN.search(cell) else (cell,):
                address = normalise(part)
                if address is not None:
                    address = fold_plus(address) if fold else address
                    if address not in addresses:
                        addresses.append(address)
        return addresses, written

    return read


def _chunks(rows: Iterator[tuple[int, Sequence[str]]]) -> Iterator[list[tuple[int, Sequence[str]]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _sortable(text: str) -> float | str | None:
    """Give what SQLite sorts by: numbers by size and before texts, nothing for an empty cell."""
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else text or None


def _listed(names: Sequence[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)
