"""From a source's rows to batches that only have to be inserted: bad rows left out, addresses found, encoded."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.address_reader import AddressReader
from appliance.customers.keys import split
from appliance.customers.record import ColumnFault, Columns
from appliance.ingest.sources.base import Batch, Source, SourceFault, require
from appliance.ingest.sources.csv_file import CSV_SUFFIXES, CsvSource
from appliance.ingest.sources.sqlite_file import SqliteSource
from appliance.ingest.spec import MAX_LISTED, ImportSpec, RelatedSpec

_FIRST: Final = itemgetter(0)

MAX_ROW: Final = 1024 * 1024
"""Characters of one row: a card is made of up to 20 customers, each of whom is read whole."""

UNCLEAR: Final = "{} contains a value beside an email address that is not one; it is ignored"
TOO_LARGE: Final = f"this row has more than {MAX_ROW:,} characters; shorten its columns in the export"


class Header(msgspec.Struct, frozen=True, tag=True):
    """The columns of the customers: what comes before the first batch."""

    columns: tuple[str, ...]


class EncodedBatch(msgspec.Struct, frozen=True, tag=True):
    """Some customers in the order of the file."""

    rows: int
    records: bytes
    """A JSON list of their rows."""

    main: bytes
    """A JSON list of the first address of each, or null."""

    more: list[tuple[int, str]]
    """Every other address, with the index of its customer."""

    without_address: int
    bad_rows: int
    bad: list[tuple[int, str]]
    """Lines of rows that were left out, the first MAX_LISTED of the batch, and why."""

    unclear_rows: int
    """Rows that are kept, with something beside an address that is none."""

    unclear: list[tuple[int, str]]
    """Their lines, as for bad rows."""

    share: float
    """How much of the file has been read, from 0 to 1."""


def open_source(spec: ImportSpec, file: Path, table: str, wanted: Sequence[str], setting: str, copy: Path) -> Source:
    """Open one file of the spec, which must have the `wanted` columns, named by the key `setting`.

    `copy` is where a database may be copied to. Raises SourceFault.
    """
    if file.suffix.lower() in CSV_SUFFIXES:
        return _open_csv(spec, file, wanted, setting)
    return SqliteSource(file, table, wanted, setting, copy)


def open_related(spec: ImportSpec, related: RelatedSpec, copy: Path) -> Source:
    """Open a file of related rows, as `open_source` does. Raises SourceFault."""
    wanted = [related.key, *filter(None, [related.order_by.removeprefix("-")])]
    return open_source(spec, related.source, related.table, wanted, f"related.{related.name}", copy)


def check_end(spec: ImportSpec, file: Path) -> None:
    """Look at the end of a CSV file of the spec. Raises SourceFault if it may be cut short."""
    with closing(_open_csv(spec, file, (), "")) as source:
        source.check_end()


def _open_csv(spec: ImportSpec, file: Path, wanted: Sequence[str], setting: str) -> CsvSource:
    proven = bool(spec.ready_file or spec.checksum_file)
    return CsvSource(file, wanted, setting, spec.encoding, whole=proven)


def read_customers(spec: ImportSpec, copy: Path) -> Generator[Header | EncodedBatch, None, None]:
    """Give the columns, then every customer. Raises SourceFault."""
    source = open_source(spec, spec.source, spec.table, spec.addresses, "customers.addresses", copy)
    try:
        _check_names(spec, source.columns)
        yield Header(source.columns.names)
        reader = AddressReader(spec.addresses, source.columns, fold_plus=spec.plus_addressing)
        for batch in source.batches():
            yield _encode(spec, batch, source, reader)
    except ColumnFault as fault:
        raise SourceFault(f"{spec.source}: {fault}") from None
    except UnicodeEncodeError:  # such as half a surrogate pair, which UTF-7 can spell
        raise SourceFault(f"{spec.source} holds what is no text; export it as UTF-8") from None
    finally:
        source.close()


def _check_names(spec: ImportSpec, columns: Columns) -> None:
    """Raise ColumnFault if related rows cannot be joined, would hide a column in the card, or a key has no column."""
    tables = [related.name for related in spec.related]
    require(columns, [column for table, column in (split(name, tables) for name in spec.keys) if not table],
            "app.subject.column")  # fmt: skip
    for related in spec.related:
        require(columns, (related.on,), f"related.{related.name}.on")
        if related.name in columns.attributes:
            raise ColumnFault(
                f'"{related.name}" is a column and a related table too; rename the table [related.{related.name}]'
            )


def _encode(spec: ImportSpec, batch: Batch, source: Source, reader: AddressReader) -> EncodedBatch:
    indices, faults = split_valid_rows(batch, source.columns)
    rows = [batch.rows[index] for index in indices]
    found = reader.read(rows)
    records = msgspec.json.encode(rows)
    left_out = dict.fromkeys(too_large(rows), TOO_LARGE) if len(records) > MAX_ROW else {}
    names = " or ".join(f'"{name}"' for name in spec.addresses)
    if found.bad:
        left_out |= dict.fromkeys(found.bad, f"{names} contains a value that is not an email address")
    unclear = [(indices[index], UNCLEAR.format(names)) for index in found.unclear if index not in left_out]
    if left_out:
        faults = sorted([*faults, *((indices[index], why) for index, why in left_out.items())])
        rows = [row for index, row in enumerate(rows) if index not in left_out]
        found = reader.read(rows)
        records = msgspec.json.encode(rows)
    return EncodedBatch(
        rows=len(rows),
        records=records,
        main=msgspec.json.encode(found.main),
        more=found.more,
        without_address=found.main.count(None),
        bad_rows=len(faults),
        bad=[(batch.line_of(index), why) for index, why in faults[:MAX_LISTED]],
        unclear_rows=len(unclear),
        unclear=[(batch.line_of(index), why) for index, why in unclear[:MAX_LISTED]],
        share=source.share_read(),
    )


def usable_rows(batch: Batch, columns: Columns) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Return the rows that can be used, and the indices of the others with the reason; empty ones are neither."""
    indices, faults = split_valid_rows(batch, columns)
    rows = [batch.rows[index] for index in indices]
    if large := set(too_large(rows)):
        faults = sorted([*faults, *((indices[index], TOO_LARGE) for index in large)])
        rows = [row for index, row in enumerate(rows) if index not in large]
    return rows, faults


def _wrong_width(cells: int, width: int) -> str:
    todo = (
        "name the other columns there, or quote a cell that contains a delimiter" if cells > width else "add the rest"
    )
    return f"{cells} cells, but the header has {width} names; {todo}"


def too_large(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the indices of the rows of more than MAX_ROW characters."""
    return [index for index, row in enumerate(rows) if sum(map(len, row)) > MAX_ROW]


def split_valid_rows(batch: Batch, columns: Columns) -> tuple[Sequence[int], list[tuple[int, str]]]:
    """Give the indices of the rows that can be used, and those of rows that cannot, each with the reason.

    Empty rows are neither.
    """
    width = len(columns.names)
    if not batch.faults and set(map(len, batch.rows)) == {width} and all(map(_FIRST, batch.rows)):
        return range(len(batch.rows)), []
    good: list[int] = []
    faults: list[tuple[int, str]] = []
    for index, row in enumerate(batch.rows):
        if index in batch.faults:
            faults.append((index, batch.faults[index]))
            continue
        if not any(row):
            continue
        if len(row) > width and not any(map(str.strip, row[width:])):
            del row[width:]  # a delimiter at the end of each line, and what spreadsheets write beyond the last column
        if len(row) == width:
            good.append(index)
        else:
            faults.append((index, _wrong_width(len(row), width)))
    return good, faults
