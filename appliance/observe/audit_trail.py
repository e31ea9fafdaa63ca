"""The audit trail: which agent looked at which customer, and when.

Lines are collected here and written by a thread in batches, so no request waits for the disk. The number of lines that
are not written yet is in shared memory, so that the supervisor knows how many a killed worker has lost.

A line is in one of three places: `_values` (not encoded), `_lines` (encoded), `_batch` (being written). A batch stays
there until it is on the disk; if anything fails before, that is logged, and the batch is tried again.
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

from appliance.observe.logs import TimestampFormatter, log
from appliance.outcomes import Reply

BATCH_AFTER: Final = 0.25
"""Seconds between two batches: what a killed process loses, besides the batch that is being written."""

RETRY_AFTER: Final = 1.0
AT_EXIT: Final = 1.0
MAX_WAITING: Final = 100_000
"""Lines, of about 190 bytes each. While so many are queued, further ones are lost and counted."""

NO_THREAD: Final = errno.EAGAIN
"""The error for "no thread can be started": the one that clone(2) fails with, and that no write to a file does."""

_AT_ONCE: Final = 64
_encode_lines: Final = msgspec.json.Encoder().encode_lines


class AuditLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One look at one customer. `address` is filled only where the operator asked for it."""

    timestamp: str
    app: str
    outcome: str
    agent: int | None
    conversation: int | None
    mailbox: int | None
    customer: str
    address: str = ""


class BatchFile(Protocol):
    """Where batches are written: an AuditFile."""

    def append(self, lines: bytes, /) -> None:
        """Append all of it, or raise OSError and append nothing. Blocks."""


class AuditCounters(Protocol):
    """The counters of an audit trail: WorkerCounters has them."""

    trail_waiting: int
    """Lines that are not written yet."""

    trail_error: int
    """The errno that says why they cannot be written; 0 when they can."""

    def trail_lost(self, lines: int) -> None:
        """Count lines that were lost."""


class AuditTrail:
    """Records every answer about a customer, found or not."""

    def __init__(self, file: BatchFile, counters: AuditCounters, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since 1970."""
        self._append = file.append
        self._counters = counters
        self._stamp = TimestampFormatter(clock)
        self._thread = ThreadPoolExecutor(1, "audit")
        self._values: list[AuditLine] = []
        self._lines = bytearray()
        self._batch, self._in_batch = b"", 0  # its bytes, and its number of lines
        self._waiting = 0  # including those that are being written
        self._lost = 0  # since the last failure began
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def write(self, reply: Reply, app: str, _duration_us: int, _peer: str) -> None:
        """Record a request if it was about a customer. To be called on the event loop; never waits."""
        customer = reply.customer
        if customer is None:
            return
        if self._waiting >= MAX_WAITING:
            self._lose()
            return
        self._values.append(
            AuditLine(
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
        """Write what is left, and give up soon if that fails."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=AT_EXIT)
        if self._waiting:
            self._counters.trail_lost(self._waiting)
            self._counters.trail_waiting = 0
            log.error("trail_lines_lost", count=self._waiting, why="they could not be written before the worker ended")

    async def _write_batches(self) -> None:
        """Write batches until nothing is left."""
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
        """Write everything that is queued, including what failed before. Raises whatever prevents that."""
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
            # The executor has queued the batch although it could not start a thread, and would write it a second time.
            self._thread = ThreadPoolExecutor(1, "audit")
            if isinstance(error, RuntimeError):  # "can't start new thread"
                raise OSError(NO_THREAD, os.strerror(NO_THREAD)) from error
            raise
        await written

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _encode(self) -> None:
        """Encode the new lines, a few at a time: all at once would block the loop, or in the thread the GIL."""
        self._lines += _encode_lines(self._values)
        self._values.clear()

    def _lose(self) -> None:
        self._counters.trail_lost(1)
        self._lost += 1
        self._fail(errno.EBUSY)  # the system has reported no error yet: the disk hangs

    def _fail(self, number: int) -> None:
        if not self._counters.trail_error:
            self._counters.trail_error = number
            log.error("trail_failed", why=explain(number), waiting=self._waiting)

    def _recover(self) -> None:
        if self._counters.trail_error:
            self._counters.trail_error = 0
            log.info("trail_recovered", lost=self._lost)
            self._lost = 0


def explain(number: int) -> str:
    """Return why the audit trail cannot be written, for the number that `trail_error` holds."""
    if number == NO_THREAD:
        return "no thread can be started; raise the limit of processes (TasksMax= in the unit, `ulimit -u`)"
    return os.strerror(number)


def _number_of(error: Exception) -> int:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return (error.errno if isinstance(error, OSError) else None) or errno.EIO
