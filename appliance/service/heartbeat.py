"""Tells whether a process is stuck, by its heartbeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BEAT_EVERY: Final = 1.0
"""Seconds between two heartbeats of a process whose event loop runs."""

STUCK_AFTER: Final = 15.0
"""Seconds without a heartbeat after which a process is killed: no request may take a tenth of that."""


class Heartbeat:
    """The heartbeats of one process."""

    def __init__(self, timer: Callable[[], float], limit: float) -> None:
        """`timer` returns seconds; a process is stuck after more than `limit` of them without a heartbeat."""
        self._timer = timer
        self._limit = limit
        self._beats = 0
        self._polled = self._last_beat = timer()

    def is_stuck(self, beats: int) -> bool:
        """Return whether the process is stuck; `beats` is the number of its heartbeats so far."""
        now = self._timer()
        # If this poll is so late, this process was stopped itself (Ctrl-Z, a paused VM), and so was the other.
        if beats != self._beats or now - self._polled > self._limit / 2:
            self._last_beat = now
        self._beats = beats
        self._polled = now
        return now - self._last_beat > self._limit
