"""What pages ask of ids that nothing is known of: the Inbox API is asked, one id at a time.

an id is asked about         then
it was answered lately       no: a page that loads again and again asks nothing
it waits already             whoever asks shares the answer
MAX_WAITING others wait      no: the page asks again when it is loaded again
else                         it waits; whoever asks is told as soon as it is stored, or no after PATIENCE
the API is not asked now     no, at once; it waits, and the page finds the customer when it is loaded again

the answer                   then
addresses, or none           stored; not asked again for REMEMBER seconds
nobody has this id           not asked again for REMEMBER seconds
a failure                    not asked again for SOON seconds
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from cachetools import TLRUCache

from appliance.customers.ids import Change
from appliance.inbox_api.client import ApiError

PATIENCE: Final = 3.0
"""Seconds that a page waits for Help Scout's answer."""

REMEMBER: Final = 600.0
SOON: Final = 30.0
MAX_WAITING: Final = 1000
MAX_REMEMBERED: Final = 10_000

StoreChanges = Callable[[Sequence[Change]], Awaitable[bool]]
"""Stores what was said of some ids; returns whether it is on the disk."""

Sleep = Callable[[float], Awaitable[object]]


class Asks(Protocol):
    """The part of the Inbox API that is asked about one id."""

    @property
    def pause(self) -> float:
        """Seconds before which it is not to be asked."""

    async def find(self, customer: int) -> tuple[Change, ...]:
        """Return what it says of an id. Raises ApiError."""


class IdQuestions:
    """The questions that wait, and the one that is asked."""

    def __init__(
        self, api: Asks, store: StoreChanges, timer: Callable[[], float], sleep: Sleep = asyncio.sleep
    ) -> None:
        """`timer` returns seconds; `sleep` waits for that many."""
        self._api = api
        self._store = store
        self._sleep = sleep
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._is_asked = asyncio.Event()
        self._lately: TLRUCache[int, float] = TLRUCache(
            MAX_REMEMBERED, ttu=lambda _customer, seconds, now: now + seconds, timer=timer
        )

    @property
    def waiting(self) -> int:
        """How many ids wait for an answer."""
        return len(self._waiting)

    async def ask(self, customer: int) -> bool:
        """Have an id asked about; return whether something about it was stored since. Waits for PATIENCE at most."""
        if customer in self._lately:
            return False
        answered = self._waiting.get(customer)
        if answered is None:
            if len(self._waiting) >= MAX_WAITING:
                return False
            answered = self._waiting[customer] = asyncio.get_running_loop().create_future()
            self._is_asked.set()
        if self._api.pause > PATIENCE:
            return False
        done, _ = await asyncio.wait((answered,), timeout=PATIENCE)
        return bool(done) and answered.result()

    async def run(self) -> None:
        """Ask, for ever."""
        while True:
            if not self._waiting:
                self._is_asked.clear()
                await self._is_asked.wait()
            while (pause := self._api.pause) > 0:
                await self._sleep(pause)
            await self._ask_next(next(iter(self._waiting)))

    async def _ask_next(self, customer: int) -> None:
        is_stored, remembered = False, SOON
        try:
            changes = await self._api.find(customer)
            is_stored = bool(changes) and await self._store(changes)
            if is_stored or not changes:
                remembered = REMEMBER
        except ApiError:  # said by whoever the API reports to
            pass
        self._lately[customer] = remembered
        self._waiting.pop(customer).set_result(is_stored)
