"""How a worker has the steward store what is said of ids: a socket in the folder of ids, a line each way.

    worker     a Change, as JSON
    steward    "stored", once it is on the disk; "failed", if it cannot be written

    worker     a Question: nothing is known of this id
    steward    "stored", once something is known of it; "failed", if nothing is to be expected soon

Every change is on a connection of its own, so a worker or a steward may be replaced at any time: a change without an
answer is sent again, which changes nothing more (ids.py), until PATIENCE is over. Changes that come together are synced
together.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.id_map import IdMapError, changed_at
from appliance.customers.ids import Change, Known, Result, has_expired
from appliance.inbox_api.client import InboxApi
from appliance.observe.health import ApiInfo, IdsInfo
from appliance.observe.logs import describe, log
from appliance.service import id_questions
from appliance.service.id_fill import IdFill
from appliance.service.id_questions import IdQuestions
from appliance.service.id_store import IdStore
from appliance.system.files import OPEN_FOLDER
from appliance.system.work_thread import WorkThread

PATIENCE: Final = 5.0
_ANSWERED_WITHIN: Final = id_questions.PATIENCE + 0.5
_AGAIN: Final = 0.1
_REOPEN: Final = 1.0
_FORGET_EVERY: Final = 3600.0
_NAME: Final = "steward.sock"
_STORED: Final = b"stored\n"
_FAILED: Final = b"failed\n"


class Question(msgspec.Struct, frozen=True, tag=True):
    """A page was asked for about a customer of whose id nothing is known."""

    customer: int


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Change | Question).decode


async def store(folder: Path, change: Change, patience: float | None = None) -> bool:
    """Have the steward store a change; return whether it is on the disk. `patience` is seconds, PATIENCE by default."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE if patience is None else patience):
            while True:
                with suppress(OSError):
                    if (answer := await _ask(folder, change)) is not None:
                        return answer
                await asyncio.sleep(_AGAIN)
    return False


async def ask(folder: Path, customer: int) -> bool:
    """Have the steward ask about an id; return whether something is known of it now. Waits a few seconds at most."""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_ANSWERED_WITHIN):
            return bool(await _ask(folder, Question(customer)))
    return False


async def _ask(folder: Path, message: Change | Question) -> bool | None:
    """Ask once; return None if the steward went away before it had answered. Raises OSError."""
    reader, writer = await asyncio.open_unix_connection(sock=_connected(folder))
    with closing(writer):
        writer.write(_encode(message) + b"\n")
        answer = await reader.readline()
    return answer == _STORED if answer.endswith(b"\n") else None


def _connected(folder: Path) -> socket.socket:
    """Return a socket that is connected to the steward. Connecting to one that listens here does not wait."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setblocking(False)
        descriptor = os.open(folder, OPEN_FOLDER)
        try:
            made.connect(_path(descriptor))
        finally:
            os.close(descriptor)
    except BaseException:
        made.close()
        raise
    return made


def _path(folder: int) -> str:
    """Return the socket's path by the descriptor of its folder: an address has room for 107 bytes only (unix(7))."""
    return f"/proc/self/fd/{folder}/{_NAME}"


class IdService:
    """The steward's end: the one that opens the store."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float],
        api: InboxApi | None = None,
        fill_account: str = "",
        keep: float = math.inf,
        timer: Callable[[], float] = time.monotonic,
        thread: WorkThread | None = None,
    ) -> None:
        """`clock` returns seconds since 1970, `timer` seconds.

        `api` is asked what is not known. `fill_account` tells its account from others: then all customers are listed.
        An id that was not seen for `keep` seconds is forgotten. Everything on the disk is done in `thread`.
        """
        self._thread = thread or WorkThread("ids")
        self._folder = folder
        self._clock = clock
        self._keep = keep
        self._api = api
        self._questions = IdQuestions(api, self.store, timer) if api is not None else None
        self._fill = None
        if api is not None and fill_account:
            self._fill = IdFill(
                api, self.store, self._is_known, folder, fill_account, self._thread.run, clock=clock, timer=timer
            )
        self._store: IdStore | None = None
        self._waiting: list[tuple[Change, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._why = ""
        self._changed_at: float | None = None
        self._changes: Counter[str] = Counter()

    @property
    def info(self) -> IdsInfo:
        """What /healthz says of it."""
        now = self._clock()
        return IdsInfo(
            known=self._store.known if self._store is not None else 0,
            fault=self._why,
            newest_age_seconds=max(0.0, round(now - self._changed_at, 3)) if self._changed_at is not None else None,
            changes=dict(self._changes),
            api=self._api_info(now),
            fill=self._fill.info if self._fill is not None else None,
        )

    def _api_info(self, now: float) -> ApiInfo | None:
        api = self._api
        if api is None or self._questions is None:
            return None
        return ApiInfo(
            fault=api.trouble.sentence if api.trouble is not None else "",
            next_try=now + api.pause if api.pause else None,
            requests=api.asked,
            limit=api.limit,
            remaining=api.remaining,
            waiting=self._questions.waiting,
        )

    async def store(self, changes: Sequence[Change]) -> bool:
        """Store some changes; return whether all are on the disk."""
        return all(await asyncio.gather(*map(self._queued, changes)))

    async def run(self) -> None:
        """Store what workers send, until it is cancelled. Without a usable folder it is tried again."""
        try:
            while True:
                try:
                    await self._open()
                    self._changed_at = changed_at(self._folder)
                    server = await asyncio.start_unix_server(self._serve, sock=self._listening())
                except (OSError, IdMapError) as error:
                    self._failed(error)
                    await asyncio.sleep(_REOPEN)
                    continue
                self._recovered()
                try:
                    await self._work()
                finally:
                    server.close()  # and wait for nobody: a stopped worker may be connected
        finally:
            if self._writing is not None:
                await asyncio.wait((self._writing,))
            if self._store is not None:
                await self._thread.run(self._store.close)
            self._thread.end()

    async def _open(self) -> None:
        """Open the store in place of the one before, which is closed. Raises OSError and IdMapError."""
        before = self._store
        self._store = await self._thread.run(partial(IdStore, self._folder, self._clock()))
        if before is not None:
            await self._thread.run(before.close)  # after what it was given to write

    async def _work(self) -> None:
        """Ask the API what is to be asked, until the folder is removed. Raises what only a bug raises."""
        watching = asyncio.create_task(self._watch())
        working = {watching, asyncio.create_task(self._forget_unseen())}
        if self._questions is not None:
            working.add(asyncio.create_task(self._questions.run()))
        if self._fill is not None:
            working.add(asyncio.create_task(self._fill.run()))
        try:
            while not watching.done():
                done, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in working:
                task.cancel()
            if working:
                await asyncio.wait(working)

    async def _forget_unseen(self) -> None:
        """Forget what nobody speaks of any more. An hour after the start the clock has been set."""
        while True:
            await asyncio.sleep(_FORGET_EVERY)
            store, now = self._store, self._clock()
            if store is None or math.isinf(self._keep):
                continue
            with suppress(OSError, IdMapError):  # what is wrong with the disk is said with the next change
                count = await self._thread.run(partial(store.forget_unseen, now - self._keep, now))
                if count:
                    log.info("ids_forgotten", count=count)

    async def _watch(self) -> None:
        """Return when the socket has lost its name: the folder was removed."""
        name = self._folder / _NAME
        while name.exists():
            await asyncio.sleep(_REOPEN)

    def _listening(self) -> socket.socket:
        folder = os.open(self._folder, OPEN_FOLDER)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            made.setblocking(False)
            with suppress(FileNotFoundError):
                os.unlink(_NAME, dir_fd=folder)  # of a steward before this one: there is never a second
            made.bind(_path(folder))
            os.chmod(_NAME, 0o600, dir_fd=folder)
            made.listen(128)
        except BaseException:
            made.close()
            raise
        finally:
            os.close(folder)
        return made

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                message = _decode(await reader.readline())
            except (msgspec.MsgspecError, ValueError, OSError):
                return  # the worker was killed in the middle of it
            done = await (self._queued(message) if isinstance(message, Change) else self._answer(message.customer))
            writer.write(_STORED if done else _FAILED)
            with suppress(OSError):
                await writer.drain()

    def _queued(self, change: Change) -> asyncio.Future[bool]:
        """Have a change written; return the future of whether it is on the disk."""
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, stored))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return stored

    async def _answer(self, customer: int) -> bool:
        """Return whether something is known of an id, once the API was asked, if it has to be."""
        if self._questions is None:
            return False
        held = await self._held(customer)
        if held is not None:
            return held.addresses is not None
        return await self._questions.ask(customer)

    async def _is_known(self, customer: int) -> bool:
        return await self._held(customer) is not None

    async def _held(self, customer: int) -> Known | None:
        """Return what is held of an id: also of one that was deleted, unless its mark has expired."""
        store = self._store
        if store is None:
            return None
        held = await self._thread.run(partial(store.find, customer))
        return held if held is not None and not has_expired(held, self._clock()) else None

    async def _write(self) -> None:
        """Store everything that waits, and what comes meanwhile."""
        while self._waiting and self._store is not None:
            batch, self._waiting = self._waiting, []
            changes = [change for change, _ in batch]
            try:
                results = await self._thread.run(partial(self._store.apply, changes, self._clock()))
            except Exception as error:
                self._failed(error)
                is_stored = False
            else:
                self._recovered()
                is_stored = True
                self._changed_at = self._clock()
                for change, result in zip(changes, results, strict=True):
                    self._changes[change.source] += result is not Result.STALE
            for _, stored in batch:
                if not stored.done():
                    stored.set_result(is_stored)
        self._writing = None

    def _failed(self, error: Exception) -> None:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else type(error).__qualname__
        if why != self._why:
            self._why = why
            more = {} if isinstance(error, OSError) else describe(error)
            log.error("ids_not_stored", why=f"{self._folder}: {why}", **more)

    def _recovered(self) -> None:
        if self._why:
            self._why = ""
            log.info("ids_stored")
