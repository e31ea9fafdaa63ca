"""When to start the next process in place of one that exited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

DELAYS: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds to wait after the first, second ... exit in a row of a process that never was ready; then the last again."""

SOON: Final = 10.0
PAUSE: Final = 0.25
"""Seconds to wait after the exit of a process that was ready, within SOON of its start. It was killed, or something
makes it crash; with this pause it is replaced within a second, and a crash loop costs little."""

NO_PROCESS: Final = 1.0
"""Seconds to wait after a failed fork. Trying costs next to nothing, and the limit may be raised at any time."""


class Backoff:
    """Waits longer for each failed start in a row, and hardly at all otherwise."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """`timer` returns seconds."""
        self._timer = timer
        self._failures = 0
        self._until = 0.0

    def record_exit(self, *, was_ready: bool, lived: float) -> float:
        """Record an exit, `lived` seconds after the start; return how many seconds the next start has to wait."""
        if was_ready:
            self._failures = 0
            delay = 0.0 if lived >= SOON else PAUSE
        else:
            delay = DELAYS[min(self._failures, len(DELAYS) - 1)]
            self._failures += 1
        self._until = max(self._until, self._timer() + delay)
        return delay

    def record_failed_fork(self) -> float:
        """Record a failed fork; return how many seconds the next try has to wait."""
        self._until = max(self._until, self._timer() + NO_PROCESS)
        return NO_PROCESS

    @property
    def is_over(self) -> bool:
        """Whether the next start may be now."""
        return self._timer() >= self._until
