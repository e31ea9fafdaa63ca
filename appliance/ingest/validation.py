"""When to refuse a source that could be read: what looks whole may still be half a file."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from appliance.customers.snapshot import SnapshotMetadata
from appliance.ingest.snapshot_builder import ImportStats, RejectedRows
from appliance.ingest.sources.base import open_regular
from appliance.ingest.spec import ImportRefused, ImportSpec

_ROOM: Final = 16 * 1024 * 1024
_MAX_SUMS: Final = 1024 * 1024


def check_before(spec: ImportSpec, folder: Path) -> None:
    """Raise ImportRefused if the operator's own marks say that a file is not complete, or the disk has no room."""
    check_marks(spec)
    check_room(spec, folder)


def check_marks(spec: ImportSpec) -> None:
    """Raise ImportRefused if the operator's own marks say that a file is not complete."""
    if spec.ready_file is not None:
        _check_ready(spec.ready_file, spec.files)
    if spec.checksum_file is not None:
        _check_sums(spec.checksum_file, spec.files)


def check_room(spec: ImportSpec, folder: Path) -> None:
    """Raise ImportRefused if the disk of `folder` has no room for an import."""
    size = sum(file.stat().st_size for file in spec.files if file.is_file())
    disk = os.statvfs(folder)
    free, needed = disk.f_bavail * disk.f_frsize, 2 * size + _ROOM
    if free < needed:
        raise ImportRefused(
            f"{folder} has {_mib(free)} free, and the import needs {_mib(needed)}; make room there", transient=True
        )


def _check_ready(ready: Path, files: tuple[Path, ...]) -> None:
    if not ready.exists():
        raise ImportRefused(f"{ready} is not there yet; write it when the export is complete (customers.ready_file)")
    written = ready.stat().st_mtime_ns
    for file in files:
        if file.exists() and file.stat().st_mtime_ns > written:
            raise ImportRefused(f"{file} is newer than {ready}; write that file again when the export is complete")


def _check_sums(sums: Path, files: tuple[Path, ...]) -> None:
    """Compare with a file in sha256sum's format: a digest, two characters, a name."""
    with open_regular(sums) as binary:
        lines = binary.read(_MAX_SUMS).decode("utf-8", "replace").splitlines()
    wanted = {Path(line[66:].strip()).name: line[:64].lower() for line in lines if len(line) > 66}
    for file in files:
        if file.name not in wanted:
            raise ImportRefused(f"{sums} has no line for {file.name}; write it with sha256sum")
        with open_regular(file) as binary:
            if hashlib.file_digest(binary, "sha256").hexdigest() != wanted[file.name]:
                raise ImportRefused(f"{file} does not have the checksum in {sums}; it is damaged, or not complete yet")


def check_after(spec: ImportSpec, stats: ImportStats, last: SnapshotMetadata | None) -> None:
    """Raise ImportRefused if too much is missing from any file, compared with itself and with the last snapshot."""
    _check_bad_rows(spec, stats.rejected, stats.rows)
    if not stats.rows:
        raise ImportRefused(f"{spec.source} contains no customers; export it again")
    if stats.without_address == stats.rows and not spec.keys:
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


def _check_shrink(spec: ImportSpec, file: Path, rejected: RejectedRows, rows: int, before: int, what: str) -> None:
    if rows < before * (1 - spec.max_shrink):
        raise ImportRefused(
            f"{file} shrank by {100 * (1 - rows / before):.3g}%, from {before:,} to {rows:,} {what}, and"
            f" customers.max_shrink allows {100 * spec.max_shrink:.3g}%; if intended, raise it for one import",
            tuple(rejected.listed),
        )


def explain(error: Exception, folder: Path) -> str:
    """Say in a sentence what stopped an import that was not the source's fault."""
    code = getattr(error, "errno", None)
    text = str(error)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "disk is full" in text:
        return f"{folder} is full; make room there"
    if isinstance(error, MemoryError) or code == errno.ENOMEM:
        return "the import ran out of memory; look for a file with a very long line"
    if isinstance(error, sqlite3.Error):
        return f"{folder}: the snapshot could not be written ({text}); make room there, or check the disk"
    return f"{getattr(error, 'filename', None) or folder}: {getattr(error, 'strerror', None) or text}"


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MiB"
