"""When to fetch from a server again: only a fetch tells whether its rows have changed.

    the last fetch                     the next one
    was imported                       after `refresh`
    failed, once or more in a row      after `refresh`, then twice as long each time, up to an hour
    failed, because of the login       once the password, or the config, has changed: servers lock accounts

Every pause is up to a tenth longer, at random, so that several nodes do not ask at the same moment.

What the last fetch found may save the next one, if the server says that nothing has changed since (`changed`). After
FULL seconds all is fetched in any case: what the server is asked may not cover everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.ingest.fetch import Known
from appliance.ingest.spec import FetchReport

FULL: Final = 6 * 3600.0
LONGEST: Final = 3600.0
_SPREAD: Final = 0.1


class FetchSchedule:
    """Decides about the fetches of one import. It does no I/O, and has no clock."""

    def __init__(self, refresh: float, random: Callable[[], float]) -> None:
        """`random` returns a number from 0 to 1."""
        self._refresh = refresh
        self._random = random
        self._failures = 0
        self._refused: str | None = None
        self._known: Known = {}
        self._full_until = 0.0

    def known(self, now: float) -> Known:
        """Return what was found before, if not all has to be fetched now; `now` never goes back."""
        return self._known if now < self._full_until else {}

    def record_found(self, fetch: FetchReport, now: float) -> None:
        """Record what a fetch, begun at `now`, has found and is in use."""
        self._known = {name: table for name, table in fetch.tables.items() if table.mark}
        if fetch.whole:
            self._full_until = now + FULL

    def is_due(self, login: str) -> bool:
        """Return whether to fetch now that a pause is over; `login` stands for the passwords that would be used."""
        return login != self._refused

    def record(self, login: str, *, failed: bool, login_refused: bool) -> None:
        """Record how a fetch with this login ended."""
        self._failures = self._failures + 1 if failed else 0
        self._refused = login if login_refused else None

    @property
    def is_refused(self) -> bool:
        """Whether nothing is fetched before the password or the config has changed."""
        return self._refused is not None

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        # A password is looked at without asking the server, so that there is no reason to wait longer for it.
        doublings = min(max(0, self._failures - 1), 32) if self._refused is None else 0
        longest = max(LONGEST, self._refresh)
        return min(self._refresh * float(2**doublings), longest) * (1 + _SPREAD * self._random())
