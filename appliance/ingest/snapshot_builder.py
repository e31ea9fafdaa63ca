"""Fills a new snapshot file from the sources."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.column_name import name_key
from appliance.customers.record import ColumnFault, Columns
from appliance.customers.snapshot import (
    FORMAT,
    SCHEMA,
    Relation,
    SnapshotMetadata,
    SourceVersion,
    add_to_checksum,
    related_keys,
)
from appliance.ingest.encode import EncodedBatch, Header, open_related, read_customers, usable_rows
from appliance.ingest.key_index import KeyIndexer
from appliance.ingest.read_ahead import read_ahead
from appliance.ingest.sources.base import SourceFault, require
from appliance.ingest.spec import MAX_LISTED, BadRow, ImportSpec, RelatedSpec, Report

# Nothing is lost that a crash could lose: the file has no name yet, and is read back and synced before it gets one.
_FAST: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -65536;
PRAGMA temp_store = FILE;
"""
_LARGE: Final = 8 * 1024 * 1024  # a smaller file is read before a process for it would be there
_CUSTOMERS: Final = "INSERT INTO customer SELECT key + ?, value FROM json_each(?)"
_ADDRESSES: Final = "INSERT INTO staged_address SELECT value, key + ? FROM json_each(?) WHERE type = 'text'"
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,9})?", re.ASCII)


class RejectedRows:
    """The rows of one table that are left out, or that there is something to say of."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[BadRow] = []

    def add(self, file: Path, count: int, bad: Sequence[tuple[int, str]]) -> None:
        """Count some more, and note the lines of some and the reasons."""
        self.count += count
        self.listed += [BadRow(str(file), line, why) for line, why in bad[: MAX_LISTED - len(self.listed)]]


class ImportStats:
    """Counts what an import meets."""

    def __init__(self) -> None:
        self.rows = self.without_address = self.addresses = self.shared = self.checksum = 0
        self.rejected = RejectedRows()
        self.unclear = RejectedRows()
        self.related: dict[str, int] = {}
        self.related_rejected: defaultdict[str, RejectedRows] = defaultdict(RejectedRows)

    def report(self, generation: int, seconds: float) -> Report:
        """Give the numbers."""
        every = [self.rejected, *self.related_rejected.values()]
        return Report(
            generation=generation,
            rows=self.rows,
            addresses=self.addresses,
            without_address=self.without_address,
            shared_addresses=self.shared,
            bad_rows=sum(rejected.count for rejected in every),
            bad=tuple(row for rejected in every for row in rejected.listed)[:MAX_LISTED],
            unclear_rows=self.unclear.count,
            unclear=tuple(self.unclear.listed),
            related=self.related,
            seconds=round(seconds, 3),
        )


class Builder:
    """Writes one snapshot file."""

    def __init__(
        self, spec: ImportSpec, file: Path, stats: ImportStats, progress: Callable[[int, float], None]
    ) -> None:
        self._spec = spec
        self._copy = file.with_name("source.tmp")
        self._stats = stats
        self._progress = progress
        self._database = sqlite3.connect(file, isolation_level=None)
        self._keys = KeyIndexer(self._database, spec.keys, [related.name for related in spec.related])

    def build(self, versions: dict[str, SourceVersion], fingerprint: str) -> SnapshotMetadata:
        """Read every source and write everything. Raises SourceFault, sqlite3.Error and OSError.

        `versions` and `fingerprint` are what the snapshot will say of when and what was read.
        """
        try:
            self._database.executescript(
                _FAST + SCHEMA + "CREATE TEMP TABLE staged_address(address TEXT, customer INTEGER);"
            )
            self._database.execute("BEGIN")
            columns = self._customers()
            self._addresses()
            self._keys.customers(Columns(columns))
            relations = tuple(
                self._relation(number, related, Columns(columns).require_index(related.on))
                for number, related in enumerate(self._spec.related)
            )
            facts = SnapshotMetadata(
                format=FORMAT,
                spec=self._spec.digest(),
                fingerprint=fingerprint,
                versions=versions,
                columns=columns,
                relations=relations,
                keys=self._spec.keys,
                rows=self._stats.rows,
                related_rows=self._stats.related,
                addresses=self._stats.addresses,
                checksum=self._stats.checksum,
            )
            self._database.execute("INSERT INTO facts VALUES(?)", (msgspec.json.encode(facts).decode(),))
            self._database.execute("COMMIT")
            return facts
        finally:
            self._database.close()

    def _customers(self) -> tuple[str, ...]:
        """Read and store the customers; give their columns."""
        items = read_customers(self._spec, self._copy)
        columns: tuple[str, ...] = ()
        for item in read_ahead(items) if self._is_large() else items:
            if isinstance(item, Header):
                columns = item.columns
            else:
                self._store(item)
                self._progress(self._stats.rows, item.share)
        return columns

    def _is_large(self) -> bool:
        try:
            return self._spec.source.stat().st_size > _LARGE
        except OSError:
            return False

    def _store(self, encoded: EncodedBatch) -> None:
        """Insert customers and their addresses: as one JSON text, which SQLite takes apart.

        It is twice as fast as executemany, which goes from Python to SQLite and back for every row.
        """
        stats, first = self._stats, self._stats.rows + 1
        stats.rejected.add(self._spec.source, encoded.bad_rows, encoded.bad)
        stats.unclear.add(self._spec.source, encoded.unclear_rows, encoded.unclear)
        if not encoded.rows:
            return
        stats.checksum = add_to_checksum(encoded.records[1:-1], stats.checksum)
        for statement, values in ((_CUSTOMERS, encoded.records), (_ADDRESSES, encoded.main)):
            self._database.execute(statement, (first, values.decode()))
        more = [(address, first + index) for index, address in encoded.more]
        self._database.executemany("INSERT INTO staged_address VALUES(?, ?)", more)
        stats.rows += encoded.rows
        stats.without_address += encoded.without_address

    def _addresses(self) -> None:
        """Move the addresses into their table in its own order: filled unsorted it takes twice as long."""
        self._database.execute(
            "INSERT INTO address SELECT address, customer FROM staged_address ORDER BY address, customer"
        )
        self._database.execute("DROP TABLE staged_address")
        self._stats.addresses, self._stats.shared = self._database.execute(
            "SELECT ifnull(sum(owners), 0), count(*) FILTER (WHERE owners > 1)"
            " FROM (SELECT count(*) AS owners FROM address GROUP BY address)"
        ).fetchone()

    def _relation(self, number: int, related: RelatedSpec, on: int) -> Relation:
        by_address = name_key(related.on) in map(name_key, self._spec.addresses)
        source = open_related(self._spec, related, self._copy)
        try:
            require(source.columns, self._keys.columns_of(related.name), "app.subject.column")
            relation = Relation(
                name=related.name,
                columns=source.columns.names,
                on=related.on,
                by_address=by_address,
                key=related.key,
                fold_plus=self._spec.plus_addressing,
            )
            self._stats.related[related.name] = 0
            key_at = source.columns.require_index(related.key)
            sort_at = source.columns.find_index(related.order_by.removeprefix("-"))
            self._database.execute("CREATE TEMP TABLE joined(key TEXT, sort, record TEXT)")
            for batch in source.batches():
                rows, faults = usable_rows(batch, source.columns)
                bad = [(batch.line_of(index), why) for index, why in faults[:MAX_LISTED]]
                self._stats.related_rejected[related.name].add(related.source, len(faults), bad)
                keys = [related_keys(row[key_at], relation) for row in rows]
                sorts = [None if sort_at is None else _sortable(row[sort_at]) for row in rows]
                records = [msgspec.json.encode(row).decode() for row in rows]
                columns = zip(keys, sorts, records, strict=True)
                values = [(key, sort, record) for some, sort, record in columns for key in some]
                self._database.executemany("INSERT INTO joined VALUES(?, ?, ?)", values)
                self._stats.related[related.name] += len(rows)
        except ColumnFault as fault:
            raise SourceFault(f"{related.source}: {fault}") from None
        finally:
            source.close()
        self._keys.related(related.name, source.columns, on, by_address=by_address)
        down = "DESC" if related.order_by.startswith("-") else "ASC"
        self._database.execute(
            f"""INSERT INTO related SELECT ?, key, place, total, record FROM (SELECT key, record,
            row_number() OVER (PARTITION BY key ORDER BY sort IS NULL, sort {down}, rowid) AS place,
            count(*) OVER (PARTITION BY key) AS total FROM joined) WHERE place <= ? ORDER BY key, place""",
            (number, related.limit),
        )
        self._database.execute("DROP TABLE joined")
        return relation


def _sortable(text: str) -> float | str | None:
    """Give what SQLite sorts by: numbers by size and before texts, nothing for an empty cell."""
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else text or None
