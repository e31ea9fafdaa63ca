"""Tells a stuck process from a live one by its beats, looked at now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BEAT_EVERY: Final = 1.0
"""Seconds between two beats of a process whose loop goes round."""

STUCK_AFTER: Final = 15.0
"""Seconds without a beat after which a process is killed: no request may take a tenth of it."""


class Heartbeat:
    """Watches one process."""

    def __init__(self, timer: Callable[[], float], limit: float) -> None:
        """`timer` gives seconds; `limit` is how many of them without a beat are too many."""
        self._timer = timer
        self._limit = limit
        self._beats = 0
        self._looked = self._quiet_since = timer()

    def stuck(self, beats: int) -> bool:
        """Say whether the process has been quiet for too long, when it has beaten `beats` times in all."""
        now = self._timer()
        # Whoever looks so late was stopped itself (Ctrl-Z, a paused VM), and so was everybody else.
        if beats != self._beats or now - self._looked > self._limit / 2:
            self._quiet_since = now
        self._beats = beats
        self._looked = now
        return now - self._quiet_since > self._limit
