"""A dry run: what an import would find right now, without keeping any of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.record import Columns, Record, Rows
from appliance.customers.snapshot import Relation, SnapshotMetadata
from appliance.customers.snapshot_store import open_newest
from appliance.ingest import marks
from appliance.ingest.encode import EncodedBatch, Header, batches_of, open_related, read_customers, usable_rows
from appliance.ingest.fetch import inspect
from appliance.ingest.importer import import_customers
from appliance.ingest.sources.base import Source, SourceError
from appliance.ingest.sources.remote import FetchedTable, Remark
from appliance.ingest.spec import BadRow, ImportRefused, ImportSpec
from appliance.ingest.stats import RejectedRows

WHOLE: Final = 64 * 1024 * 1024
"""Sources of at most this many bytes in total are read completely. Of larger ones, the first rows and the end."""

FIRST_ROWS: Final = 2000
"""How many rows of each table of a server are read."""

SAMPLE: Final = 100
"""How many customers cards are tried on."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What was read, and what of it would be left out."""

    rows: int
    with_address: int
    bad_rows: int
    bad: tuple[BadRow, ...]
    """The first of them, each with its file, line and reason."""

    unclear_rows: int
    unclear: tuple[BadRow, ...]
    """Rows that would be kept by an address, with something beside it that is none; the first of them."""

    columns: tuple[str, ...]
    """The customers'; none if their file was not read."""

    relations: tuple[Relation, ...]
    """The related tables, with their columns."""

    sample: tuple[Record, ...]
    whole: bool
    """Whether everything was read; if not, these are the first rows of each source."""

    unread: tuple[Source, ...] = ()
    """Sources that were not read at all, because they are large and cannot be read in part."""

    remarks: tuple[Remark, ...] = ()
    """What was seen of the servers."""


class DryRunRefused(ImportRefused):
    """An import would be refused; `remarks` is what was seen of the servers, with the reason if it is there."""

    def __init__(self, refused: ImportRefused, remarks: tuple[Remark, ...]) -> None:
        super().__init__(str(refused), refused.bad, transient=refused.transient)
        self.remarks = remarks


def dry_run(
    spec: ImportSpec,
    folder: Path,
    *,
    clock: Callable[[], float],
    timer: Callable[[], float],
    last: SnapshotMetadata | None = None,
) -> DryRun:
    """Read what `spec` names; `folder` is for temporary files.

    `clock` and `timer` are as for `import_customers`; `last` is the snapshot to compare with. Raises ImportRefused with
    the sentence that an import would give.
    """
    whole = partial(_whole, folder=folder, clock=clock, timer=timer, last=last)
    if spec.is_fetched:
        return _of_servers(spec, folder, whole)
    if spec.size() > WHOLE:
        try:
            marks.check(spec)
            return _first_rows(spec, folder / "unused.tmp")
        except SourceError as fault:
            raise ImportRefused(str(fault), transient=fault.transient) from fault
    return whole(spec)


def _of_servers(spec: ImportSpec, folder: Path, whole: Callable[[ImportSpec], DryRun]) -> DryRun:
    """Inspect the servers, and read the first rows of each source; if it has no more, all. Raises ImportRefused."""
    fetched = folder / "fetched"
    fetched.mkdir()
    try:
        inspected, remarks = inspect(spec, fetched, FIRST_ROWS)
    except SourceError as fault:
        raise ImportRefused(str(fault), transient=fault.transient) from fault
    if inspected is None:
        faults = "\n".join(remark.sentence for remark in remarks if remark.level == "fault")
        raise DryRunRefused(ImportRefused(faults), remarks)
    is_cut = any(isinstance(source, FetchedTable) and source.fetched.rows >= FIRST_ROWS for source in inspected.sources)
    try:
        if not is_cut:
            return replace(whole(inspected), remarks=remarks)
        marks.check(inspected)
        return replace(_first_rows(inspected, folder / "unused.tmp"), remarks=remarks)
    except SourceError as fault:
        raise DryRunRefused(ImportRefused(str(fault), transient=fault.transient), remarks) from fault
    except ImportRefused as refused:
        raise DryRunRefused(refused, remarks) from refused


def _whole(
    spec: ImportSpec,
    *,
    folder: Path,
    clock: Callable[[], float],
    timer: Callable[[], float],
    last: SnapshotMetadata | None,
) -> DryRun:
    """Import everything. Raises ImportRefused."""
    report = import_customers(spec, folder, clock=clock, timer=timer, last=last)
    made = open_newest(folder, spec.digest())
    if made is None:
        raise ImportRefused(f"what was written to {folder} could not be read back; check that disk", transient=True)
    with closing(made):
        sample = made.sample(SAMPLE)
    return DryRun(
        rows=report.rows,
        with_address=report.rows - report.without_address,
        bad_rows=report.bad_rows,
        bad=report.bad,
        unclear_rows=report.unclear_rows,
        unclear=report.unclear,
        columns=made.metadata.columns,
        relations=made.metadata.relations,
        sample=sample,
        whole=True,
    )


def _first_rows(spec: ImportSpec, scratch: Path) -> DryRun:
    """Read the first rows of each source that can be read in part, and look at its end. Raises SourceError."""
    unread = tuple(source for source in spec.sources if not source.is_streamed)
    rejected, unclear = RejectedRows(), RejectedRows()
    columns, encoded = Columns(()), EncodedBatch(0, b"[]", b"[]", [], [], 0, 0, [], 0, [], 0.0)
    if spec.source not in unread:
        with closing(read_customers(spec, scratch)) as items:
            for item in items:
                if isinstance(item, EncodedBatch):
                    encoded = item
                    break
                if isinstance(item, Header):
                    columns = Columns(item.columns)
        rejected.add(spec.source, encoded.bad_rows, encoded.bad)
        unclear.add(spec.source, encoded.unclear_rows, encoded.unclear)
        with closing(spec.source.open({}, scratch)) as source:
            source.check_end()
    relations = []
    for related in spec.related:
        if related.source not in unread:
            with closing(open_related(related, scratch)) as source:
                relations.append(Relation(related.name, source.columns.names, related.on, by_address=False))
                for batch in islice(batches_of(spec, source), 1):
                    _, faults = usable_rows(batch, source.columns)
                    rejected.add(related.source, len(faults), [(batch.line_of(at), why) for at, why in faults])
                source.check_end()
    values = msgspec.json.decode(encoded.records, type=list[tuple[str, ...]])[:SAMPLE]
    no_rows = {related.name: Rows(()) for related in spec.related}
    return DryRun(
        rows=encoded.rows,
        with_address=encoded.rows - encoded.without_address,
        bad_rows=rejected.count,
        bad=tuple(rejected.listed),
        unclear_rows=unclear.count,
        unclear=tuple(unclear.listed),
        columns=columns.names,
        relations=tuple(relations),
        sample=tuple(Record(columns, row, no_rows) for row in values),
        whole=False,
        unread=unread,
    )
