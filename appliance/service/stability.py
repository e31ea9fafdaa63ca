"""Whether a changed source can be read, or is probably still being written.

For files of which nothing else is known, looking the same at two polls a second apart is enough (change_detector.py).
It is not enough for a text file that is smaller than at the last import, or that was written to and not closed since
(write_monitor.py): then no file of the import may have been written to for QUIET_PERIOD. No lease and no lock is taken:
both need the file's owner, and block its writer.

A database is read in a transaction, and its writer may keep it open for ever. With a mark by which the exporter itself
says that its files are complete (`ready_file`, `checksum_file`), nothing has to be guessed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.customers.snapshot import SnapshotMetadata
from appliance.ingest.sources.base import Source
from appliance.ingest.spec import ImportSpec
from appliance.system.write_monitor import WriteMonitor

QUIET_PERIOD: Final = 10.0
"""Seconds without a write to any file, after which a file that looks incomplete is read all the same."""

WARN_AFTER: Final = 600.0
"""Seconds of waiting after which the operator is warned: a file that is always being written is never imported."""


class StabilityCheck:
    """Watches the files of one import."""

    def __init__(
        self, spec: ImportSpec, writes: WriteMonitor, timer: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        """`writes` follows the files of `spec`; `timer` returns seconds, `clock` seconds since 1970."""
        self._spec = spec
        self._writes = writes
        self._timer = timer
        self._clock = clock
        self._seen = ""
        self._changed = timer()
        self._waiting_since: float | None = None
        self._waiting_for: Source | None = None

    def is_stable(self, fingerprint: str, imported: SnapshotMetadata | None) -> bool:
        """Return whether the files, which have this fingerprint now, can be read.

        `imported` describes the newest snapshot.
        """
        now = self._timer()
        if fingerprint != self._seen:
            self._seen, self._changed = fingerprint, now
        self.poll()
        self._waiting_for = self._incomplete(imported)
        # By both clocks, since one of them may be wrong: a modification time in the future must not block for ever.
        quiet = max(now - self._changed, self._clock() - self._last_write())
        if self._waiting_for is None or quiet >= QUIET_PERIOD:
            self.reset()
            return True
        if self._waiting_since is None:
            self._waiting_since = now
        return False

    def poll(self) -> None:
        """Read what was written since the last poll: the kernel's queue of events is limited."""
        self._writes.poll()

    def reset(self) -> None:
        """Record that there is nothing to wait for."""
        self._waiting_for = self._waiting_since = None

    @property
    def warning(self) -> str:
        """A sentence about a file that was waited for longer than WARN_AFTER; "" if there is none."""
        if self._waiting_for is None or self._waiting_since is None:
            return ""
        if self._timer() - self._waiting_since < WARN_AFTER:
            return ""
        return (
            f"{self._waiting_for} has been written to for {WARN_AFTER / 60:.0f} minutes, never pausing for"
            f" {QUIET_PERIOD:.0f} seconds, so it is not imported; write to another file and rename it into place,"
            " or set customers.ready_file"
        )

    def _incomplete(self, imported: SnapshotMetadata | None) -> Source | None:
        """Return the first source that looks incomplete."""
        for source in () if self._spec.is_marked else self._spec.sources:
            version = imported.versions.get(source.describe()) if imported else None
            if source.unfinished(version.fingerprint if version else "", self._writes):
                return source
        return None

    def _last_write(self) -> float:
        return max((_modified(file) for file in self._spec.files), default=0.0)


def _modified(file: Path) -> float:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return 0.0
