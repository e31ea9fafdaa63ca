"""Lists all customers of the account once, so that their ids are known before a page asks.

    state of the progress file      after a crash, or a new start
    none, or of another api_id      the list begins with its first page
    the place of the next page      it goes on there: what came before is on the disk
    the same, but the API does      it begins again with the first page; the second time, and later, after an hour
    not take it any more
    finished                        nothing is listed

A page's customers are stored before its place is written, so a page may come twice and none is left out. The list takes
half of the account's requests, and pauses for a minute when three quarters of a minute's are used up, by whomever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from appliance.customers.ids import Source
from appliance.inbox_api.client import MINUTE, ApiError, CursorGoneError, Page
from appliance.observe.health import FillInfo
from appliance.observe.logs import log
from appliance.service.id_questions import Asks, Sleep, StoreChanges
from appliance.system.files import write_atomically

FILE: Final = "fill.json"
SHARE: Final = 0.5
"""Of the account's requests."""

_RESERVE: Final = 0.25  # of a minute's requests: with fewer left, everybody else comes first
_AGAIN: Final = 60.0
_HOUR: Final = 3600.0
NOT_STORED: Final = "what it says cannot be stored"


class Progress(msgspec.Struct, frozen=True):
    """How far the list is, as the file has it. `account` tells one api_id from another."""

    account: str
    cursor: str = ""
    pages: int = 0
    customers: int = 0
    restarts: int = 0
    started: float = 0.0
    finished: float = 0.0


class Lists(Asks, Protocol):
    """The part of the Inbox API that lists customers."""

    limit: int
    remaining: int | None

    async def page(self, cursor: str) -> Page:
        """Return a page of the list. Raises ApiError and CursorGoneError."""


class IdFill:
    """The list of all customers."""

    def __init__(
        self,
        api: Lists,
        store: StoreChanges,
        is_known: Callable[[int], Awaitable[bool]],
        folder: Path,
        account: str,
        in_thread: Callable[[Callable[[], object]], Awaitable[object]],
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """The progress file is in `folder`. What may wait for the disk runs `in_thread`."""
        self._api = api
        self._store = store
        self._is_known = is_known
        self._file = folder / FILE
        self._in_thread = in_thread
        self._clock = clock
        self._timer = timer
        self._sleep = sleep
        self._not_before = 0.0
        self._why = ""
        self.progress = Progress(account)

    @property
    def info(self) -> FillInfo:
        """What the status page says of it."""
        now = self.progress
        return FillInfo(
            pages=now.pages, customers=now.customers, started=now.started, finished=now.finished, why=self._why
        )

    async def run(self) -> None:
        """List what was not listed yet."""
        self.progress = self._read()
        if self.progress.finished:
            return
        if self.progress.started:
            log.info("ids_fill_resumed", customers=self.progress.customers)
        else:
            self.progress = replace(self.progress, started=self._clock())
            log.info("ids_fill_started")
        while not self.progress.finished:
            if not await self._next_page():
                await self._sleep(_AGAIN)
        now = self.progress
        log.info("ids_filled", customers=now.customers, seconds=round(now.finished - now.started))

    async def _next_page(self) -> bool:
        """List one more page; return whether that has worked."""
        before = self.progress
        try:
            await self._wait()
            page = await self._api.page(before.cursor)
            for customer in page.unsaid:
                if not await self._is_known(customer) and not await self._ask_one(customer):
                    return False
        except CursorGoneError:
            if before.restarts:
                await self._sleep(_HOUR)
            self.progress = Progress(before.account, restarts=before.restarts + 1, started=before.started)
            return True
        except ApiError as error:  # said by whoever the API reports to
            self._why = str(error)
            return False
        if not await self._store(page.changes):
            self._why = NOT_STORED
            return False
        after = replace(
            before,
            cursor=page.cursor,
            pages=before.pages + 1,
            customers=before.customers + len(page.changes) + len(page.unsaid),
            finished=0.0 if page.cursor else self._clock(),
        )
        try:
            await self._in_thread(partial(write_atomically, self._file, msgspec.json.encode(after)))
        except OSError:  # the store says what is wrong with the disk
            self._why = NOT_STORED
            return False
        self.progress, self._why = after, ""
        return True

    async def _ask_one(self, customer: int) -> bool:
        """Ask about one whose addresses the list does not say; return whether what was said is stored."""
        await self._wait()
        try:
            changes = await self._api.find(customer)
        except ApiError as error:
            if not error.is_of_one:
                raise
            return True  # it is left out; a page will ask about it
        if changes and not await self._store([replace(each, source=Source.FILL) for each in changes]):
            self._why = NOT_STORED
            return False
        return True

    async def _wait(self) -> None:
        """Wait for the next turn."""
        api = self._api
        if api.remaining is not None and api.remaining < api.limit * _RESERVE:
            self._not_before = max(self._not_before, self._timer() + MINUTE)
        while (pause := max(self._not_before - self._timer(), api.pause)) > 0:
            await self._sleep(pause)
        self._not_before = self._timer() + MINUTE / (api.limit * SHARE)

    def _read(self) -> Progress:
        """Return the progress as the file has it; of nothing, if there is no such file, or it is another account's."""
        none = Progress(self.progress.account)
        try:
            found = msgspec.json.decode(self._file.read_bytes(), type=Progress)
        except (OSError, msgspec.MsgspecError):
            return none
        return found if found.account == none.account else none
