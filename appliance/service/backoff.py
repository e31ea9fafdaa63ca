"""When to start the next process in the place of one that died."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

DELAYS: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds to wait after the first, second ... death of a process that never did its work; then the last again."""

SOON: Final = 10.0
PAUSE: Final = 0.25
"""After a death within SOON of its start, of a process that did its work. It was killed, or met something that kills
it; with this pause the place is filled again within a second, and a loop of deaths costs little."""


NO_PROCESS: Final = 1.0
"""After a fork that failed. Trying costs next to nothing, and the limit may be raised at any time."""


class Backoff:
    """Waits longer the more often in a row a start came to nothing, and hardly at all otherwise."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """`timer` gives seconds."""
        self._timer = timer
        self._failures = 0
        self._until = 0.0

    def died(self, *, was_ready: bool, lived: float) -> float:
        """Note a death, `lived` seconds after the start; give how many seconds the next start has to wait."""
        if was_ready:
            self._failures = 0
            delay = 0.0 if lived >= SOON else PAUSE
        else:
            delay = DELAYS[min(self._failures, len(DELAYS) - 1)]
            self._failures += 1
        self._until = max(self._until, self._timer() + delay)
        return delay

    def not_started(self) -> float:
        """Note that no process could be started; give how many seconds the next try has to wait."""
        self._until = max(self._until, self._timer() + NO_PROCESS)
        return NO_PROCESS

    @property
    def over(self) -> bool:
        """Whether the next start may be now."""
        return self._timer() >= self._until
