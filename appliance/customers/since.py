"""As of when data is, by a clock that may have been set back after the data was read."""

from __future__ import annotations


class Since:
    """Remembers when data from the future was first met, so that it grows old from then on.

    Without that it would be new until the clock has caught up, which may take years. A clock that is put right again
    brings back the true time.
    """

    def __init__(self) -> None:
        self._met: float | None = None

    def at(self, as_of: float, now: float) -> float:
        """Give as of when data is that was read at `as_of`, never after `now`; both are seconds since 1970."""
        if as_of <= now:
            self._met = None
            return as_of
        if self._met is None or self._met > now:
            self._met = now
        return self._met
