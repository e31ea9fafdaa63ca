"""How a worker has the steward store what is said of ids: a socket in the folder of ids, a line each way.

    worker     a Change, as JSON
    steward    "stored", once it is on the disk; "failed", if it cannot be written

Every change is on a connection of its own, so a worker or a steward may be replaced at any time: a change without an
answer is sent again, which changes nothing more (ids.py), until PATIENCE is over. Changes that come together are synced
together.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import msgspec

from appliance.customers.ids import Change
from appliance.observe.health import IdsInfo
from appliance.observe.logs import describe, log
from appliance.service.id_store import IdStore
from appliance.system.files import OPEN_FOLDER

PATIENCE: Final = 5.0
_AGAIN: Final = 0.1
_REOPEN: Final = 1.0
_NAME: Final = "steward.sock"
_STORED: Final = b"stored\n"
_FAILED: Final = b"failed\n"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Change).decode


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


async def _ask(folder: Path, change: Change) -> bool | None:
    """Ask once; return None if the steward went away before it had answered. Raises OSError."""
    reader, writer = await asyncio.open_unix_connection(sock=_connected(folder))
    with closing(writer):
        writer.write(_encode(change) + b"\n")
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

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since 1970."""
        self._folder = folder
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "ids")  # everything on the disk is done there, in its order
        self._store: IdStore | None = None
        self._waiting: list[tuple[Change, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._why = ""

    @property
    def info(self) -> IdsInfo:
        """What /healthz says of it."""
        return IdsInfo(known=self._store.known if self._store is not None else 0, fault=self._why)

    async def run(self) -> None:
        """Store what workers send, until it is cancelled. Without a usable folder it is tried again."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    self._store = await loop.run_in_executor(self._thread, IdStore, self._folder, self._clock())
                    server = await asyncio.start_unix_server(self._serve, sock=self._listening())
                except OSError as error:
                    self._failed(error)
                    await asyncio.sleep(_REOPEN)
                    continue
                self._recovered()
                try:
                    await self._watch()
                finally:
                    server.close()  # and wait for nobody: a stopped worker may be connected
        finally:
            if self._writing is not None:
                await asyncio.wait((self._writing,))
            if self._store is not None:
                await loop.run_in_executor(self._thread, self._store.close)
            self._thread.shutdown(wait=False)

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
                change = _decode(await reader.readline())
            except (msgspec.MsgspecError, ValueError, OSError):
                return  # the worker was killed in the middle of it
            stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._waiting.append((change, stored))
            if self._writing is None:
                self._writing = asyncio.create_task(self._write())
            writer.write(_STORED if await stored else _FAILED)
            with suppress(OSError):
                await writer.drain()

    async def _write(self) -> None:
        """Store everything that waits, and what comes meanwhile."""
        while self._waiting and self._store is not None:
            batch, self._waiting = self._waiting, []
            changes = [change for change, _ in batch]
            try:
                await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._store.apply, changes, self._clock()
                )
            except Exception as error:
                self._failed(error)
                is_stored = False
            else:
                self._recovered()
                is_stored = True
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
