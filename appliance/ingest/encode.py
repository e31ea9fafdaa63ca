"""From a source's rows to batches that only have to be inserted: bad rows left out, addresses found, encoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.address_reader import AddressReader
from appliance.customers.keys import split
from appliance.customers.record import ColumnError, Columns
from appliance.ingest.company_domain import read_domains
from appliance.ingest.sources.base import Batch, OpenSource, SourceError, require
from appliance.ingest.spec import MAX_LISTED, ImportSpec, RelatedSpec

_FIRST: Final = itemgetter(0)

MAX_ROW: Final = 1024 * 1024
"""Characters of one row: a card is made of up to 20 customers, each of whom is read whole."""

UNCLEAR_DOMAIN: Final = '"{}" contains a value that is not a domain; nobody is found by it'
UNCLEAR: Final = "{} contains a value beside an email address that is not one; it is ignored"
TOO_LARGE: Final = f"this row has more than {MAX_ROW:,} characters; shorten its columns in the export"


class Header(msgspec.Struct, frozen=True, tag=True):
    """The columns of the customers: what comes before the first batch."""

    columns: tuple[str, ...]


class EncodedBatch(msgspec.Struct, frozen=True, tag=True):
    """Some customers, in the order of the source."""

    rows: int
    records: bytes
    """A JSON list of their rows."""

    main: bytes
    """A JSON list of the first address of each, or null."""

    more: list[tuple[int, str]]
    """Every other address, with the index of its customer."""

    companies: list[tuple[int, str]]
    """Every domain of a company, with the index of its customer."""

    without_address: int
    bad_rows: int
    bad: list[tuple[int, str]]
    """Lines of the rows that were left out, at most MAX_LISTED, and why."""

    unclear_rows: int
    """Rows that are kept, with a value beside an address that is not one."""

    unclear: list[tuple[int, str]]
    """Their lines, as for bad rows."""

    share: float
    """How much of the source has been read, from 0 to 1."""


class Ending(msgspec.Struct, frozen=True, tag=True):
    """What comes after the last batch: where a last line without a line end is, or ""."""

    unterminated: str


def open_related(related: RelatedSpec, scratch: Path) -> OpenSource:
    """Open a source of related rows. A copy may be put at `scratch`. Raises SourceError."""
    key, order_by = (f"related.{related.name}.{key}" for key in ("key", "order_by"))
    column = related.order_by.removeprefix("-")
    return related.source.open({**({column: order_by} if column else {}), related.key: key}, scratch)


def batches_of(spec: ImportSpec, source: OpenSource) -> Iterator[Batch]:
    """Return every row of a source, with empty cells in place of the spec's null values. Raises SourceError."""
    nulls = frozenset(map(str.strip, spec.null_values))
    for batch in source.batches():
        yield batch._replace(rows=[_without(nulls, row) for row in batch.rows]) if nulls else batch


def _without(nulls: frozenset[str], row: list[str]) -> list[str]:
    if nulls.isdisjoint(map(str.strip, row)):
        return row
    return ["" if cell.strip() in nulls else cell for cell in row]


def read_customers(spec: ImportSpec, scratch: Path) -> Generator[Header | EncodedBatch | Ending, None, None]:
    """Return the columns, then every customer, then how the source ends. Raises SourceError.

    A copy may be put at `scratch`.
    """
    source = spec.source.open(dict.fromkeys(spec.addresses, "customers.addresses"), scratch)
    try:
        _check_names(spec, source.columns)
        yield Header(source.columns.names)
        reader = AddressReader(
            spec.addresses, source.columns, fold_plus=spec.plus_addressing, gmail_dots=spec.gmail_dots
        )
        for batch in batches_of(spec, source):
            yield _encode(spec, batch, source, reader)
        yield Ending(source.unterminated)
    except ColumnError as fault:
        raise SourceError(f"{spec.source}: {fault}") from None
    except UnicodeEncodeError:  # such as half a surrogate pair, which UTF-7 can spell
        raise SourceError(f"{spec.source} contains characters that are not valid text; export it as UTF-8") from None
    finally:
        source.close()


def _check_names(spec: ImportSpec, columns: Columns) -> None:
    """Raise ColumnError if a column is missing, or a related table would hide a column in the card."""
    if spec.company_domain:
        require(columns, {spec.company_domain: "customers.company_domain"})
    tables = [related.name for related in spec.related]
    for name, setting in spec.key_columns.items():
        table, column = split(name, tables)
        if not table:
            require(columns, {column: setting})
    for related in spec.related:
        require(columns, {related.on: f"related.{related.name}.on"})
        if related.name in columns.attributes:
            raise ColumnError(
                f'"{related.name}" is a column and a related table too; rename the table [related.{related.name}]'
            )


def _encode(spec: ImportSpec, batch: Batch, source: OpenSource, reader: AddressReader) -> EncodedBatch:
    indices, faults = split_valid_rows(batch, source.columns)
    rows = _chosen(batch, indices, source.columns)
    found = reader.read(rows)
    records = msgspec.json.encode(rows)
    left_out = dict.fromkeys(too_large(rows), TOO_LARGE) if len(records) > MAX_ROW else {}
    names = " or ".join(f'"{name}"' for name in spec.addresses)
    if found.bad:
        left_out |= dict.fromkeys(found.bad, f"{names} contains a value that is not an email address")
    if left_out:
        faults = sorted([*faults, *((indices[index], why) for index, why in left_out.items())])
        rows = [row for index, row in enumerate(rows) if index not in left_out]
        indices = [index for at, index in enumerate(indices) if at not in left_out]
        found = reader.read(rows)
        records = msgspec.json.encode(rows)
    companies, no_domains = _companies(spec, source.columns, rows)
    unclear = dict.fromkeys(no_domains, UNCLEAR_DOMAIN.format(spec.company_domain))
    unclear |= dict.fromkeys(found.unclear, UNCLEAR.format(names))
    return EncodedBatch(
        rows=len(rows),
        records=records,
        main=msgspec.json.encode(found.main),
        more=found.more,
        companies=companies,
        without_address=found.main.count(None),
        bad_rows=len(faults),
        bad=[(batch.line_of(index), why) for index, why in faults[:MAX_LISTED]],
        unclear_rows=len(unclear),
        unclear=[(batch.line_of(indices[index]), unclear[index]) for index in sorted(unclear)[:MAX_LISTED]],
        share=source.share_read(),
    )


def _companies(
    spec: ImportSpec, columns: Columns, rows: Sequence[Sequence[str]]
) -> tuple[list[tuple[int, str]], list[int]]:
    """Return the companies' domains in some rows, and the indices of rows in which something else is there."""
    companies: list[tuple[int, str]] = []
    unclear: list[int] = []
    if spec.company_domain:
        at = columns.require_index(spec.company_domain)
        for index, row in enumerate(rows):
            domains = read_domains(row[at])
            if domains is None:
                unclear.append(index)
            else:
                companies += [(index, domain) for domain in domains]
    return companies, unclear


def usable_rows(batch: Batch, columns: Columns) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Return the usable rows, and the indices of the others with the reasons. Empty rows are in neither."""
    indices, faults = split_valid_rows(batch, columns)
    rows = _chosen(batch, indices, columns)
    if large := set(too_large(rows)):
        faults = sorted([*faults, *((indices[index], TOO_LARGE) for index in large)])
        rows = [row for index, row in enumerate(rows) if index not in large]
    return rows, faults


def _chosen(batch: Batch, indices: Sequence[int], columns: Columns) -> list[list[str]]:
    """Return these rows without empty cells beyond the header; the batch keeps its own, of which lines are counted."""
    if isinstance(indices, range):  # all of them, as they are
        return batch.rows
    return [batch.rows[index][: len(columns.names)] for index in indices]


def _wrong_width(cells: int, width: int) -> str:
    todo = (
        "name the other columns there, or quote a cell that contains a delimiter" if cells > width else "add the rest"
    )
    return f"{cells} cells, but the header has {width} names; {todo}"


def too_large(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the indices of the rows of more than MAX_ROW characters."""
    return [index for index, row in enumerate(rows) if sum(map(len, row)) > MAX_ROW]


def split_valid_rows(batch: Batch, columns: Columns) -> tuple[Sequence[int], list[tuple[int, str]]]:
    """Return the indices of the usable rows, and those of the others with the reasons. Empty rows are in neither."""
    width = len(columns.names)
    if not batch.faults and set(map(len, batch.rows)) == {width} and all(map(_FIRST, batch.rows)):
        return range(len(batch.rows)), []
    good: list[int] = []
    faults: list[tuple[int, str]] = []
    for index, row in enumerate(batch.rows):
        if index in batch.faults:
            faults.append((index, batch.faults[index]))
            continue
        if not any(row) or (len(row) != width and not any(map(str.strip, row))):
            continue
        # Beyond the header may be a delimiter at the end of each line, and what spreadsheets write there.
        if len(row) >= width and not any(map(str.strip, row[width:])):
            good.append(index)
        else:
            faults.append((index, _wrong_width(len(row), width)))
    return good, faults
