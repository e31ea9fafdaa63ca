"""From a source's rows to portions that only have to be inserted: sifted, their addresses found, encoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.address_reader import AddressReader
from appliance.customers.keys import split
from appliance.customers.record import ColumnFault, Columns
from appliance.ingest.company_domain import read_domains
from appliance.ingest.sources.base import Batch, Source, SourceFault, require
from appliance.ingest.sources.csv_file import CSV_SUFFIXES, CsvSource, LastLine, TextFormat
from appliance.ingest.sources.sqlite_file import SqliteSource
from appliance.ingest.spec import MAX_LISTED, Plan, RelatedPlan

_FIRST: Final = itemgetter(0)

MAX_ROW: Final = 1024 * 1024
"""Characters of one row: a card is made of up to 20 customers, each of whom is read whole."""

UNCLEAR_DOMAIN: Final = '"{}" contains a value that is not a domain; nobody is found by it'
UNCLEAR: Final = "{} contains a value beside an email address that is not one; it is ignored"
TOO_LARGE: Final = f"this row has more than {MAX_ROW:,} characters; shorten its columns in the export"


class Header(msgspec.Struct, frozen=True, tag=True):
    """The columns of the customers: what comes before the first portion."""

    columns: tuple[str, ...]


class Portion(msgspec.Struct, frozen=True, tag=True):
    """Some customers in the order of the file."""

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
    """Lines of rows that were left out, the first MAX_LISTED of the portion, and why."""

    unclear_rows: int
    """Rows that are kept, with something beside an address that is none."""

    unclear: list[tuple[int, str]]
    """Their lines, as for bad rows."""

    share: float
    """How much of the file has been read, from 0 to 1."""


class Ending(msgspec.Struct, frozen=True, tag=True):
    """What comes behind the last portion: where a last line without a line end stands, or ""."""

    unterminated: str


def open_customers(plan: Plan, copy: Path) -> Source:
    """Open the file of the customers. `copy` is where a database may be copied to. Raises SourceFault."""
    return _open(plan.source, plan.table, plan.addresses, "customers.addresses", copy, _text_format(plan))


def open_related(plan: Plan, related: RelatedPlan, copy: Path) -> Source:
    """Open a file of related rows, as `open_customers` does. Raises SourceFault."""
    wanted = [related.key, *filter(None, [related.order_by.removeprefix("-")])]
    text = _text_format(plan, related)
    return _open(related.source, related.table, wanted, f"related.{related.name}", copy, text)


def _open(file: Path, table: str, wanted: Sequence[str], setting: str, copy: Path, text: TextFormat) -> Source:
    """Open a file, which must have the `wanted` columns, named by the key `setting`."""
    if file.suffix.lower() in CSV_SUFFIXES:
        return CsvSource(file, wanted, setting, text)
    return SqliteSource(file, table, wanted, setting, copy)


def batches_of(plan: Plan, source: Source) -> Iterator[Batch]:
    """Return every row of a file, as `source.batches` does, with empty cells for the plan's texts for nothing."""
    nulls = frozenset(map(str.strip, plan.null_values))
    for batch in source.batches():
        yield batch._replace(rows=[_without(nulls, row) for row in batch.rows]) if nulls else batch


def _without(nulls: frozenset[str], row: list[str]) -> list[str]:
    if nulls.isdisjoint(map(str.strip, row)):
        return row
    return ["" if cell.strip() in nulls else cell for cell in row]


def check_end(plan: Plan, related: RelatedPlan | None = None) -> None:
    """Look at the end of a CSV file, the customers' or a related one. Raises SourceFault if it may be cut short."""
    with closing(CsvSource((related or plan).source, (), "", _text_format(plan, related))) as source:
        source.check_end()


def _text_format(plan: Plan, related: RelatedPlan | None = None) -> TextFormat:
    """Return how a text file is written, the customers' or a related one."""
    if plan.ready_file or plan.checksum_file:
        last_line = LastLine.PROVEN
    else:
        last_line = LastLine.ACCEPT if plan.unterminated_last_line == "accept" else LastLine.REFUSE
    return TextFormat(
        section=f"related.{related.name}" if related else "customers",
        encoding=plan.encoding,
        skip_lines=(related or plan).skip_lines,
        last_line=last_line,
    )


def read_customers(plan: Plan, copy: Path) -> Generator[Header | Portion | Ending, None, None]:
    """Return the columns, then every customer, then how the file ends. Raises SourceFault."""
    source = open_customers(plan, copy)
    try:
        _check_names(plan, source.columns)
        yield Header(source.columns.names)
        reader = AddressReader(
            plan.addresses, source.columns, fold_plus=plan.plus_addressing, gmail_dots=plan.gmail_dots
        )
        for batch in batches_of(plan, source):
            yield _portion(plan, batch, source, reader)
        yield Ending(source.unterminated)
    except ColumnFault as fault:
        raise SourceFault(f"{plan.source}: {fault}") from None
    except UnicodeEncodeError:  # such as half a surrogate pair, which UTF-7 can spell
        raise SourceFault(f"{plan.source} holds what is no text; export it as UTF-8") from None
    finally:
        source.close()


def _check_names(plan: Plan, columns: Columns) -> None:
    """Raise ColumnFault if related rows cannot be joined, would hide a column in the card, or a key has no column."""
    if plan.company_domain:
        require(columns, (plan.company_domain,), "customers.company_domain")
    tables = [related.name for related in plan.related]
    require(columns, [column for table, column in (split(name, tables) for name in plan.keys) if not table],
            "app.subject.column")  # fmt: skip
    for related in plan.related:
        require(columns, (related.on,), f"related.{related.name}.on")
        if related.name in columns.attributes:
            raise ColumnFault(
                f'"{related.name}" is a column and a related table too; rename the table [related.{related.name}]'
            )


def _portion(plan: Plan, batch: Batch, source: Source, reader: AddressReader) -> Portion:
    indices, faults = sift(batch, source.columns)
    rows = _chosen(batch, indices, source.columns)
    found = reader.read(rows)
    records = msgspec.json.encode(rows)
    left_out = dict.fromkeys(too_large(rows), TOO_LARGE) if len(records) > MAX_ROW else {}
    names = " or ".join(f'"{name}"' for name in plan.addresses)
    if found.bad:
        left_out |= dict.fromkeys(found.bad, f"{names} contains a value that is not an email address")
    if left_out:
        faults = sorted([*faults, *((indices[index], why) for index, why in left_out.items())])
        rows = [row for index, row in enumerate(rows) if index not in left_out]
        indices = [index for at, index in enumerate(indices) if at not in left_out]
        found = reader.read(rows)
        records = msgspec.json.encode(rows)
    companies, no_domains = _companies(plan, source.columns, rows)
    unclear = dict.fromkeys(no_domains, UNCLEAR_DOMAIN.format(plan.company_domain))
    unclear |= dict.fromkeys(found.unclear, UNCLEAR.format(names))
    return Portion(
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


def _companies(plan: Plan, columns: Columns, rows: Sequence[Sequence[str]]) -> tuple[list[tuple[int, str]], list[int]]:
    """Return the companies' domains in some rows, and the indices of rows in which something else stands there."""
    companies: list[tuple[int, str]] = []
    unclear: list[int] = []
    if plan.company_domain:
        place = columns.place(plan.company_domain)
        for index, row in enumerate(rows):
            domains = read_domains(row[place])
            if domains is None:
                unclear.append(index)
            else:
                companies += [(index, domain) for domain in domains]
    return companies, unclear


def usable_rows(batch: Batch, columns: Columns) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Return the rows that can be used, and the indices of the others with the reason; empty ones are neither."""
    indices, faults = sift(batch, columns)
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


def sift(batch: Batch, columns: Columns) -> tuple[Sequence[int], list[tuple[int, str]]]:
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
        if not any(row) or (len(row) != width and not any(map(str.strip, row))):
            continue
        # Beyond the header may be a delimiter at the end of each line, and what spreadsheets write there.
        if len(row) >= width and not any(map(str.strip, row[width:])):
            good.append(index)
        else:
            faults.append((index, _wrong_width(len(row), width)))
    return good, faults
