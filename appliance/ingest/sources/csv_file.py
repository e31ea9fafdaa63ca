"""Customers from a CSV or TSV file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.ingest.sources.base import SourceKind, Wanted
from appliance.ingest.sources.csv_reader import LastLine, OpenCsv, TextFormat
from appliance.ingest.sources.local_file import LocalFile
from appliance.system.files import size_in
from appliance.system.write_monitor import WriteMonitor


@dataclass(frozen=True)
class CsvFile(LocalFile):
    """A CSV or TSV file."""

    text: TextFormat

    @classmethod
    def parse(
        cls,
        path: Path,
        section: str,
        *,
        encoding: str,
        skip_lines: int,
        unterminated_last_line: str,
        ready_file: Path | None,
        checksum_file: Path | None,
    ) -> CsvFile:
        """Return the file as its section of the config describes it."""
        last_line = LastLine.ACCEPT if unterminated_last_line == "accept" else LastLine.REFUSE
        if ready_file or checksum_file:
            last_line = LastLine.PROVEN
        return cls(path, TextFormat(section=section, encoding=encoding, skip_lines=skip_lines, last_line=last_line))

    def identity(self) -> tuple[str, ...]:
        """Return what decides how it is read. How its last line is judged decides only whether it is read."""
        return (str(self.path), self.text.encoding, str(self.text.skip_lines))

    def unfinished(self, imported: str, writes: WriteMonitor) -> bool:
        """Return whether it was written to and not closed since, or has fewer bytes than when it was imported."""
        is_proven = self.text.last_line is LastLine.PROVEN
        return not is_proven and (writes.is_open(self.path) or self._has_shrunk(imported))

    def _has_shrunk(self, imported: str) -> bool:
        try:
            return os.stat(self.path).st_size < size_in(imported)
        except OSError:
            return False  # the import says what is wrong with it

    def open(self, wanted: Wanted, scratch: Path) -> OpenCsv:
        """Open it, and read its header. Raises SourceError."""
        return OpenCsv(self.path, wanted, self.text)


KIND: Final = SourceKind(
    title="CSV",
    parse=CsvFile.parse,
    suffixes=(".csv", ".tsv"),
    keys=("encoding", "skip_lines", "unterminated_last_line", "ready_file", "checksum_file"),
    about="a CSV or TSV file",
)
