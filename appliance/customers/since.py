"""The age of data when the clock may have been set back after the data was read."""

from __future__ import annotations


class Since:
    """Remembers when data from the future was first seen, and counts its age from then.

    Otherwise it would count as new until the clock has caught up, which may take years. Once the clock is correct
    again, so is the age.
    """

    def __init__(self) -> None:
        self._first_seen: float | None = None

    def at(self, as_of: float, now: float) -> float:
        """Return when data was read by `as_of`, but never later than `now`; both are seconds since 1970."""
        if as_of <= now:
            self._first_seen = None
            return as_of
        if self._first_seen is None or self._first_seen > now:
            self._first_seen = now
        return self._first_seen
