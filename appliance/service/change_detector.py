"""When to act on files that change: once they look new, and have looked the same at two polls.

Each poll reports what the files look like (`due`), and each attempt to use them how it ended (`finished`). Without a
snapshot (`set_current`) they are used at the first poll. Files that were refused are tried again once they have
changed, or at every poll if the same files may be accepted the next time.
"""

from __future__ import annotations


class ChangeDetector:
    """Decides, poll by poll, whether to use files now. It does no I/O: callers pass in the files' fingerprint."""

    def __init__(self, current: str = "") -> None:
        """`current` is the fingerprint of the files that are in use; "" if none are."""
        self._current = current
        self._tried = current
        self._seen = current
        self._retry = False
        self._at_once = not current

    def set_current(self, current: str) -> None:
        """Record which files are in use: another process may have made a snapshot, or removed it ("")."""
        if current != self._current:
            self._current = self._tried = current
            self._at_once = not current

    def due(self, fingerprint: str, *, stable: bool = True) -> bool:
        """Return whether to use files with this fingerprint now; never while they are known not to be `stable`."""
        unchanged, self._seen = fingerprint == self._seen, fingerprint
        wanted = self._retry or fingerprint != self._tried
        return stable and (self._at_once or (unchanged and wanted))

    @property
    def pending(self) -> bool:
        """Whether the files have changed and were not tried yet, so that the next poll should come soon."""
        return self._seen != self._tried

    def finished(self, fingerprint: str, retry: bool = False) -> None:
        """Record that these files were tried. `retry` if they were refused and may be accepted the next time."""
        self._seen = self._tried = fingerprint
        self._retry = retry
        self._at_once = False
