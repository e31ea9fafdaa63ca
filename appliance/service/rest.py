"""Whether a source that has changed may be read, or is likely to be half written still.

Looking the same twice, a second apart, is enough for files of which nothing is known (refresh.Watch sees to that). It
is not enough while a text file has fewer bytes than when it was last imported, or was written to and not closed since
(writes.Writes): then nobody may have written to any file of the plan for LONG. No lease and no lock is taken: they need
the file's owner, and hold up its writer.

A database is read in a transaction of its own, and its writer may have it open for ever. With a mark by which the
exporter says itself that its files are complete, nothing has to be guessed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.customers.snapshot import SnapshotMetadata
from appliance.ingest.sources.base import Source
from appliance.ingest.spec import ImportSpec
from appliance.system.writes import Writes

LONG: Final = 10.0
"""Seconds without a write to any file, after which also a file that looks half written is read."""

TELL_AFTER: Final = 600.0
"""Seconds of waiting after which the operator is told: a file that is never at rest is never imported."""


class Rest:
    """Looks at the files of one plan."""

    def __init__(
        self, plan: ImportSpec, writes: Writes, timer: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        """`writes` follows the plan's files; `timer` gives seconds, `clock` seconds since 1970."""
        self._plan = plan
        self._writes = writes
        self._timer = timer
        self._clock = clock
        self._seen = ""
        self._changed = timer()
        self._waits_since: float | None = None
        self._for: Source | None = None

    def enough(self, fingerprint: str, imported: SnapshotMetadata | None) -> bool:
        """Say whether the files, which look like this now, have been at rest for long enough.

        `imported` are the facts of the newest snapshot.
        """
        now = self._timer()
        if fingerprint != self._seen:
            self._seen, self._changed = fingerprint, now
        self.look()
        self._for = self._unfinished(imported)
        # By both clocks, for one of them may be wrong: a time of the file's in the future must not stop it for ever.
        if self._for is None or max(now - self._changed, self._clock() - self._last_write()) >= LONG:
            self.over()
            return True
        if self._waits_since is None:
            self._waits_since = now
        return False

    def look(self) -> None:
        """Take note of what was written since the last look: the kernel keeps only so much until it is asked."""
        self._writes.look()

    def over(self) -> None:
        """Note that nothing has to be waited for."""
        self._for = self._waits_since = None

    @property
    def fault(self) -> str:
        """Say which file has been waited for for very long; "" for none."""
        if self._for is None or self._waits_since is None or self._timer() - self._waits_since < TELL_AFTER:
            return ""
        return (
            f"{self._for} has been written to for {TELL_AFTER / 60:.0f} minutes without a rest of {LONG:.0f} seconds,"
            " so it is not imported; write it beside and rename it into place, or name a customers.ready_file"
        )

    def _unfinished(self, imported: SnapshotMetadata | None) -> Source | None:
        for source in () if self._plan.is_marked else self._plan.sources:
            version = imported.versions.get(source.describe()) if imported else None
            if source.unfinished(version.fingerprint if version else "", self._writes):
                return source
        return None

    def _last_write(self) -> float:
        return max((_modified(file) for file in self._plan.files), default=0.0)


def _modified(file: Path) -> float:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return 0.0
