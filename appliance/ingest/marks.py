"""Marks by which the exporter declares its files complete: a file written last, or checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from appliance.ingest.sources.local_file import open_regular
from appliance.ingest.spec import ImportRefused, ImportSpec

_MAX_SUMS: Final = 1024 * 1024


def check(spec: ImportSpec) -> None:
    """Raise ImportRefused if a mark is missing, or says that a file is not complete."""
    if spec.ready_file is not None:
        _check_ready(spec.ready_file, spec.files)
    if spec.checksum_file is not None:
        _check_sums(spec.checksum_file, spec.files)


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
