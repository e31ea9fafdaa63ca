"""Whether the sources of an import have changed."""

from __future__ import annotations

from appliance.ingest.spec import ImportSpec
from appliance.system.files import fingerprint_of


def fingerprint(spec: ImportSpec) -> str:
    """Return what every source looks like right now, marks included. Two equal ones around a read: nobody wrote."""
    marks = fingerprint_of(file for file in (spec.ready_file, spec.checksum_file) if file)
    return " ".join([*(source.fingerprint() for source in spec.sources), marks])
