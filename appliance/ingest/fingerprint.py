"""What the sources of an import look like, and since when."""

from __future__ import annotations

from appliance.customers.snapshot import SnapshotMetadata, SourceVersion
from appliance.ingest.spec import ImportSpec
from appliance.system.files import fingerprint_of


def fingerprint(spec: ImportSpec) -> str:
    """Return what all sources and marks look like right now. If it is equal before and after a read, nobody wrote."""
    marks = fingerprint_of(file for file in (spec.ready_file, spec.checksum_file) if file)
    return " ".join([*(source.fingerprint() for source in spec.sources), marks])


def versions(spec: ImportSpec, known: SnapshotMetadata | None, now: float) -> dict[str, SourceVersion]:
    """Return since when each source is unchanged: reading it again does not make it newer.

    `known` is what was read before. No time is later than `now`, because the clock may have been set back.
    """
    found: dict[str, SourceVersion] = {}
    for source in spec.sources:
        seen, before = source.fingerprint(), known.versions.get(source.describe()) if known else None
        is_known = before is not None and before.fingerprint == seen and not source.is_of_now
        as_of = min(before.as_of, now) if before is not None and is_known else now
        found[source.describe()] = SourceVersion(seen, as_of)
    return found
