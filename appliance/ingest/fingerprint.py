"""Whether the files of an import have changed."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.ingest.spec import ImportSpec
from appliance.system.files import fingerprint_of


def fingerprint(spec: ImportSpec) -> str:
    """Return what every file of the spec is right now. Two equal ones around a read: nobody wrote meanwhile.

    A SQLite file in WAL mode changes in the -wal file beside it first.
    """
    files = [name for file in spec.files for name in (file, wal_of(file))]
    files += [file for file in (spec.ready_file, spec.checksum_file) if file]
    return fingerprint_of(files)


def wal_of(file: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a database: beside the file itself, not beside a link to it."""
    return Path(os.path.realpath(file) + "-wal")
