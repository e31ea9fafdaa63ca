"""When to refuse a source that could be read: it may still be incomplete."""

from __future__ import annotations

from appliance.customers.snapshot import SnapshotMetadata
from appliance.ingest.sources.base import Source
from appliance.ingest.sources.csv_reader import unterminated
from appliance.ingest.spec import ImportRefused, ImportSpec
from appliance.ingest.stats import ImportStats, RejectedRows


def check(spec: ImportSpec, stats: ImportStats, last: SnapshotMetadata | None) -> None:
    """Raise ImportRefused if a file may be cut short, or too much is missing, also against the last snapshot."""
    try:
        _check_rows(spec, stats, last)
    except ImportRefused as refused:
        if stats.unterminated:  # the likely cause of the rest
            raise ImportRefused(unterminated(stats.unterminated[0]), refused.bad) from None
        raise
    if stats.unterminated:
        raise ImportRefused(unterminated(stats.unterminated[0], else_whole=True))


def _check_rows(spec: ImportSpec, stats: ImportStats, last: SnapshotMetadata | None) -> None:
    _check_bad_rows(spec, stats.rejected, stats.rows)
    if not stats.rows:
        raise ImportRefused(f"{spec.source} contains no customers; export it again")
    if stats.without_address == stats.rows and not spec.keys and not stats.companies:
        names = " or ".join(f'"{name}"' for name in spec.addresses)
        raise ImportRefused(
            f"{spec.source} has no customer with an address in {names}, so nobody could be found;"
            " name the right columns in customers.addresses"
        )
    _check_shrink(spec, spec.source, stats.rejected, stats.rows, last.rows if last else 0, "customers")
    for related in spec.related:
        rows, rejected = stats.related[related.name], stats.related_rejected[related.name]
        before = last.related_rows.get(related.name, 0) if last else 0
        _check_bad_rows(spec, rejected, rows)
        _check_shrink(spec, related.source, rejected, rows, before, "rows")


def _check_bad_rows(spec: ImportSpec, rejected: RejectedRows, rows: int) -> None:
    bad = rejected.count
    if bad > spec.max_bad_rows * (rows + bad):
        raise ImportRefused(
            f"{bad:,} of {rows + bad:,} rows are bad, more than customers.max_bad_rows allows"
            f" ({100 * spec.max_bad_rows:.3g}%); mend them, the first is {rejected.listed[0]}",
            tuple(rejected.listed),
        )


def _check_shrink(spec: ImportSpec, source: Source, rejected: RejectedRows, rows: int, before: int, what: str) -> None:
    if rows < before * (1 - spec.max_shrink):
        raise ImportRefused(
            f"{source} shrank by {100 * (1 - rows / before):.3g}%, from {before:,} to {rows:,} {what}, and"
            f" customers.max_shrink allows {100 * spec.max_shrink:.3g}%; if intended, raise it for one import",
            tuple(rejected.listed),
        )
