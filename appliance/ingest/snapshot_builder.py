"""Fills a new snapshot file from the sources."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.column_name import name_key
from appliance.customers.record import ColumnError, Columns
from appliance.customers.snapshot import (
    FORMAT,
    SCHEMA,
    Relation,
    SnapshotMetadata,
    SourceVersion,
    add_to_checksum,
    related_keys,
)
from appliance.ingest.encode import EncodedBatch, Ending, Header, batches_of, open_related, read_customers, usable_rows
from appliance.ingest.key_index import KeyIndexer
from appliance.ingest.read_ahead import read_ahead
from appliance.ingest.sources.base import OpenSource, SourceError, require
from appliance.ingest.spec import MAX_LISTED, ImportSpec, RelatedSpec
from appliance.ingest.stats import ImportStats

# A crash loses nothing: the file is not published yet, and is read back and synced before it is.
_FAST: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -65536;
PRAGMA temp_store = FILE;
"""
_LARGE: Final = 8 * 1024 * 1024  # a smaller source is read faster than a process can be started
_CUSTOMERS: Final = "INSERT INTO customer SELECT key + ?, value FROM json_each(?)"
_ADDRESSES: Final = "INSERT INTO staged_address SELECT value, key + ? FROM json_each(?) WHERE type = 'text'"
_STAGING: Final = """
CREATE TEMP TABLE staged_address(address TEXT, customer INTEGER);
CREATE TEMP TABLE staged_company(domain TEXT, customer INTEGER);
"""
_BY_COMPANY: Final = """SELECT staged_company.domain, customer.record FROM staged_company
JOIN customer ON customer.number = staged_company.customer ORDER BY staged_company.domain, staged_company.customer"""
_RELATED: Final = """INSERT INTO related SELECT ?, key, place, total, record FROM (SELECT key, record,
row_number() OVER (PARTITION BY key ORDER BY sort IS NULL, sort {}, rowid) AS place,
count(*) OVER (PARTITION BY key) AS total FROM joined) WHERE place <= ? ORDER BY key, place"""
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,9})?", re.ASCII)


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
        self._keys = KeyIndexer(self._database, list(spec.key_columns), [related.name for related in spec.related])

    def build(self, versions: dict[str, SourceVersion], fingerprint: str) -> SnapshotMetadata:
        """Read every source and write everything. Raises SourceError, sqlite3.Error and OSError.

        `versions` and `fingerprint` say when and what was read; the snapshot records them.
        """
        try:
            self._database.executescript(_FAST + SCHEMA + _STAGING)
            self._database.execute("BEGIN")
            columns = self._customers()
            self._addresses()
            self._companies()
            self._keys.customers(Columns(columns))
            relations = tuple(
                self._relation(number, related, Columns(columns).require_index(related.on))
                for number, related in enumerate(self._spec.related)
            )
            metadata = SnapshotMetadata(
                format=FORMAT,
                spec=self._spec.digest(),
                fingerprint=fingerprint,
                versions=versions,
                columns=columns,
                relations=relations,
                keys=tuple(self._spec.key_columns),
                rows=self._stats.rows,
                related_rows=self._stats.related,
                addresses=self._stats.addresses,
                companies=self._stats.companies or 0,
                checksum=self._stats.checksum,
            )
            self._database.execute("INSERT INTO metadata VALUES(?)", (msgspec.json.encode(metadata).decode(),))
            self._database.execute("COMMIT")
            return metadata
        finally:
            self._database.close()

    def _customers(self) -> tuple[str, ...]:
        """Read and store the customers; return their columns."""
        items = read_customers(self._spec, self._copy)
        columns: tuple[str, ...] = ()
        for item in read_ahead(items) if self._is_large() else items:
            if isinstance(item, Header):
                columns = item.columns
            elif isinstance(item, Ending):
                self._stats.unterminated += filter(None, [item.unterminated])
            else:
                self._store(item)
                self._progress(self._stats.rows, item.share)
        return columns

    def _is_large(self) -> bool:
        return self._spec.source.size() > _LARGE

    def _store(self, encoded: EncodedBatch) -> None:
        """Insert customers and their addresses, passed as one JSON text that SQLite splits.

        That is twice as fast as executemany, which crosses between Python and SQLite for every row.
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
        companies = [(domain, first + index) for index, domain in encoded.companies]
        self._database.executemany("INSERT INTO staged_company VALUES(?, ?)", companies)
        stats.rows += encoded.rows
        stats.without_address += encoded.without_address

    def _addresses(self) -> None:
        """Move the addresses into their table, sorted: unsorted inserts take twice as long."""
        self._database.execute(
            "INSERT INTO address SELECT address, customer FROM staged_address ORDER BY address, customer"
        )
        self._database.execute("DROP TABLE staged_address")
        self._stats.addresses, self._stats.shared = self._database.execute(
            "SELECT ifnull(sum(owners), 0), count(*) FILTER (WHERE owners > 1)"
            " FROM (SELECT count(*) AS owners FROM address GROUP BY address)"
        ).fetchone()

    def _companies(self) -> None:
        """Store what the customers of each company have in common."""
        if not self._spec.company_domain:
            return
        self._stats.companies = 0
        found = self._database.execute(_BY_COMPANY)
        for domain, rows in groupby(found, itemgetter(0)):
            members, record = _in_common(record for _, record in rows)
            self._database.execute("INSERT INTO company VALUES(?, ?, ?)", (domain, members, record))
            self._stats.companies += 1
        self._database.execute("DROP TABLE staged_company")

    def _relation(self, number: int, related: RelatedSpec, on: int) -> Relation:
        """Read and store related rows; return what the snapshot says of them. `on` is the customers' column."""
        source = open_related(related, self._copy)
        try:
            require(source.columns, dict.fromkeys(self._keys.columns_of(related.name), "app.subject.column"))
            relation = Relation(
                name=related.name,
                columns=source.columns.names,
                on=related.on,
                by_address=name_key(related.on) in map(name_key, self._spec.addresses),
                key=related.key,
                fold_plus=self._spec.plus_addressing,
                gmail_dots=self._spec.gmail_dots,
            )
            self._database.execute("CREATE TEMP TABLE joined(key TEXT, sort, record TEXT)")
            self._join(source, related, relation)
        except ColumnError as fault:
            raise SourceError(f"{related.source}: {fault}") from None
        finally:
            source.close()
        self._keys.related(related.name, source.columns, on, by_address=relation.by_address)
        down = "DESC" if related.order_by.startswith("-") else "ASC"
        self._database.execute(_RELATED.format(down), (number, related.limit))
        self._database.execute("DROP TABLE joined")
        return relation

    def _join(self, source: OpenSource, related: RelatedSpec, relation: Relation) -> None:
        """Store every row under each value by which it is joined to customers."""
        stats = self._stats
        stats.related[related.name] = 0
        key_at = source.columns.require_index(related.key)
        sort_at = source.columns.find_index(related.order_by.removeprefix("-"))
        for batch in batches_of(self._spec, source):
            rows, faults = usable_rows(batch, source.columns)
            bad = [(batch.line_of(index), why) for index, why in faults[:MAX_LISTED]]
            stats.related_rejected[related.name].add(related.source, len(faults), bad)
            keys = [related_keys(row[key_at], relation) for row in rows]
            sorts = [None if sort_at is None else _sortable(row[sort_at]) for row in rows]
            records = [msgspec.json.encode(row).decode() for row in rows]
            columns = zip(keys, sorts, records, strict=True)
            values = [(key, sort, record) for some, sort, record in columns for key in some]
            self._database.executemany("INSERT INTO joined VALUES(?, ?, ?)", values)
            stats.related[related.name] += len(rows)
        stats.unterminated += filter(None, [source.unterminated])


def _in_common(records: Iterable[str]) -> tuple[int, str]:
    """Return how many records there are, and one with the values that they all have, and empty cells for the others."""
    members, common = 0, []
    for members, record in enumerate(records, 1):
        values = msgspec.json.decode(record, type=list[str])
        if members == 1:
            common = values
        else:
            common = [one if one.strip() == other.strip() else "" for one, other in zip(common, values, strict=True)]
    return members, msgspec.json.encode(common).decode()


def _sortable(text: str) -> float | str | None:
    """Return the sort key: numbers by value and before texts, None for an empty cell."""
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else text or None
