"""The counts of an import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from appliance.ingest.sources.base import Source
from appliance.ingest.spec import MAX_LISTED, BadRow, Report


class RejectedRows:
    """Rows of one table that are left out, or reported for another reason."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[BadRow] = []

    def add(self, source: Source, count: int, bad: Sequence[tuple[int, str]]) -> None:
        """Count more rows, and list the first ones with their lines and reasons."""
        self.count += count
        self.listed += [BadRow(source.describe(), line, why) for line, why in bad[: MAX_LISTED - len(self.listed)]]


class ImportStats:
    """What an import has counted so far."""

    def __init__(self) -> None:
        self.rows = self.without_address = self.addresses = self.shared = self.checksum = 0
        self.rejected = RejectedRows()
        self.unclear = RejectedRows()
        self.unterminated: list[str] = []
        """The places of last lines without a line end: their files may be cut short."""

        self.companies: int | None = None
        self.related: dict[str, int] = {}
        self.related_rejected: defaultdict[str, RejectedRows] = defaultdict(RejectedRows)

    def report(self, generation: int, seconds: float) -> Report:
        """Return the numbers."""
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
            companies=self.companies,
        )
