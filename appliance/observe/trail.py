"""The access trail: who looked at whom, and when, for those who must be able to say.

Lines are collected here and written by a thread, batch by batch: no request waits for the disk. What waits is counted
in shared memory, line by line, so that those which a killed process takes with it are known.

Lines are in one of three places: `_values` (not encoded), `_lines` (encoded), `_batch` (on its way to the disk). A
batch leaves the last only when it was written; whatever goes wrong before that is said, and the batch is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import msgspec

from appliance.observe.logs import Stamp, log
from appliance.outcomes import Reply

BATCH_AFTER: Final = 0.25
"""Seconds between two batches: what a killed process can take with it, besides the batch that is being written."""

RETRY_AFTER: Final = 1.0
AT_EXIT: Final = 1.0
MAX_WAITING: Final = 100_000
"""Lines of about 190 bytes. When so many wait for the disk, further ones are lost, and counted."""

NO_THREAD: Final = errno.EAGAIN
"""Why no batch is written when no thread can be started: the number that clone(2) gives then, which no file does."""

_AT_ONCE: Final = 64
_encode_lines: Final = msgspec.json.Encoder().encode_lines


class TrailLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One look at one customer. The address is there only where the operator asked for it."""

    timestamp: str
    app: str
    outcome: str
    agent: int | None
    conversation: int | None
    mailbox: int | None
    customer: str
    address: str = ""


class File(Protocol):
    """What a batch is written to: a TrailFile."""

    def append(self, lines: bytes, /) -> None:
        """Append all of it or nothing. Blocks; raises OSError."""


class Counters(Protocol):
    """Where the trail says how it is doing: a Row."""

    trail_waiting: int
    """Lines that are not written yet."""

    trail_fault: int
    """The errno of why they cannot be; 0 when they can."""

    def trail_lost(self, lines: int) -> None:
        """Count lines that never will be."""


class Write(Protocol):
    """A request log's `write`."""

    def __call__(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """See RequestLog."""


class Trail:
    """Notes every answer about a customer, found or not; also a request log, which passes everything on to another."""

    def __init__(self, file: File, counters: Counters, clock: Callable[[], float], log_write: Write) -> None:
        """`clock` gives seconds since 1970; `log_write` is called first for every request."""
        self._append = file.append
        self._counters = counters
        self._stamp = Stamp(clock)
        self._log_write = log_write
        self._thread = ThreadPoolExecutor(1, "trail")
        self._values: list[TrailLine] = []
        self._lines = bytearray()
        self._batch, self._in_batch = b"", 0  # its bytes, and its number of lines
        self._waiting = 0  # also those that are being written
        self._lost = 0  # since it began to fail
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """Log a request, and note it if it was about a customer. Called on the event loop; never waits."""
        self._log_write(reply, app, duration_us, peer)
        customer = reply.customer
        if customer is None:
            return
        if self._waiting >= MAX_WAITING:
            self._lose()
            return
        self._values.append(
            TrailLine(
                self._stamp(),
                app,
                reply.outcome,
                reply.agent,
                reply.conversation,
                reply.mailbox,
                customer,
                reply.address,
            )
        )
        self._waiting += 1
        self._counters.trail_waiting = self._waiting
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_batches())
        elif len(self._values) >= _AT_ONCE:
            self._encode()

    async def close(self) -> None:
        """Write what is left, and give up soon if that cannot be done."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=AT_EXIT)
        if self._waiting:
            self._counters.trail_lost(self._waiting)
            self._counters.trail_waiting = 0
            log.error("trail_lines_lost", count=self._waiting, why="they could not be written before the end")

    async def _write_batches(self) -> None:
        """Write what waits until nothing does."""
        pause = BATCH_AFTER
        while self._waiting:
            await self._pause(pause)
            try:
                await self._write_batch()
            except Exception as error:
                self._fail(_number_of(error))
                if self._ending.is_set():
                    return
                pause = RETRY_AFTER
            else:
                self._recover()
                pause = BATCH_AFTER
        self._task = None

    async def _write_batch(self) -> None:
        """Write all that waits, also what could not be written before. Raises what is in the way."""
        self._encode()
        self._batch += self._lines
        self._lines.clear()
        self._in_batch = self._waiting
        await self._in_thread(self._batch)
        self._waiting -= self._in_batch
        self._batch, self._in_batch = b"", 0
        self._counters.trail_waiting = self._waiting

    async def _in_thread(self, batch: bytes) -> None:
        try:
            written = asyncio.get_running_loop().run_in_executor(self._thread, self._append, batch)
        except Exception as error:
            # The executor that could not start its thread holds the batch all the same, and would write it as well.
            self._thread = ThreadPoolExecutor(1, "trail")
            if isinstance(error, RuntimeError):  # "can't start new thread"
                raise OSError(NO_THREAD, os.strerror(NO_THREAD)) from error
            raise
        await written

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _encode(self) -> None:
        """Encode what has come, a few lines at a time: all at once would hold up the loop, or be held up by it."""
        self._lines += _encode_lines(self._values)
        self._values.clear()

    def _lose(self) -> None:
        self._counters.trail_lost(1)
        self._lost += 1
        self._fail(errno.EBUSY)  # nothing was said by the system yet: the disk hangs

    def _fail(self, number: int) -> None:
        if not self._counters.trail_fault:
            self._counters.trail_fault = number
            log.error("trail_failed", why=explain(number), waiting=self._waiting)

    def _recover(self) -> None:
        if self._counters.trail_fault:
            self._counters.trail_fault = 0
            log.info("trail_goes_on", lost=self._lost)
            self._lost = 0


def explain(number: int) -> str:
    """Say why the trail cannot be written, by the number that `trail_fault` holds."""
    if number == NO_THREAD:
        return "no thread can be started; raise the limit of processes (TasksMax= in the unit, `ulimit -u`)"
    return os.strerror(number)


def _number_of(error: Exception) -> int:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return (error.errno if isinstance(error, OSError) else None) or errno.EIO
