"""The folder of snapshots: the newest whole one that was made by the same import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from appliance.customers import snapshot
from appliance.customers.snapshot import Snapshot, SnapshotError, SnapshotMetadata


def newest(folder: Path, digest: str) -> SnapshotMetadata | None:
    """Return the metadata of the newest snapshot that was made by a spec of this digest, or None."""
    opened = open_newest(folder, digest)
    if opened is None:
        return None
    opened.close()
    return opened.metadata


def open_newest(folder: Path, digest: str, after: int = 0) -> Snapshot | None:
    """Open the newest whole snapshot with a higher number than `after` that was made by a spec of this digest.

    Return None if there is none.
    """
    for opened in open_all(folder, after):
        if opened.metadata.spec == digest:
            return opened
        opened.close()
    return None


def open_all(folder: Path, after: int = 0) -> Iterator[Snapshot]:
    """Open the whole snapshots with a higher number than `after`, newest first."""
    for generation in snapshot.generations(folder):
        if generation <= after:
            return
        # If one is damaged or of another version, an older one may serve until the next import.
        with suppress(SnapshotError):
            yield Snapshot(snapshot.file_of(folder, generation), generation)
