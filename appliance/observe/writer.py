"""Writes log lines without ever waiting for their reader.

The descriptor is shared with the other processes of the service, and with the process that started us. So it stays
blocking (O_NONBLOCK belongs to the open file, and would affect them, too), it is polled before each write, and each
write is whole lines of at most PIPE_BUF bytes, which a pipe takes as a whole or not at all (pipe(7)). A pipe that polls
as writable has room for one such piece; a lock keeps the other processes from taking that room in between.

While an event loop runs in the process, lines are written in batches, FLUSH_AFTER the first; without one, at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

MAX_PIECE: Final = select.PIPE_BUF
"""Bytes of the longest line: a longer one could be torn, or block."""

MAX_PENDING: Final = 1024 * 1024
FLUSH_AT: Final = 16 * 1024
FLUSH_AFTER: Final = 0.025
_AT_ONCE: Final = 64
_encode_lines: Final = msgspec.json.Encoder().encode_lines
_RETRY_LEAST: Final = 0.001
_RETRY_MOST: Final = 0.05
_AT_EXIT: Final = 0.5
_MAX_DEFERRED: Final = 1000
_STDERR: Final = 2


class Timers(Protocol):
    """An event loop, as far as it is needed here."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Call `callback` once, `delay` seconds from now."""


def running_loop() -> Timers | None:
    """Return the event loop that runs in this thread, if any. A forked child has none until it starts one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Writer:
    """The log's end of a descriptor, in this process and in those forked from it."""

    def __init__(
        self,
        descriptor: int,
        *,
        prefix: bytes = b"",
        sleep: Callable[[float], None] = time.sleep,
        find_loop: Callable[[], Timers | None] = running_loop,
    ) -> None:
        """Write to `descriptor`. `prefix` goes in front of each line that came by `take`."""
        self._descriptor = descriptor
        self._prefix = prefix
        self._sleep = sleep
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        # Record locks belong to the process, and end with it. (flock's belong to the open file, which a fork shares.)
        self._lock = os.memfd_create("log-lock")
        self._pending = bytearray()
        self._values: list[msgspec.Struct] = []  # new lines that are not encoded yet
        self._deferred: deque[bytes] = deque()  # lines that came while another was written, or from another thread
        self._busy = False
        self._thread = threading.get_ident()
        self._find_loop = find_loop
        self._scheduled = False
        self._retry = _RETRY_LEAST
        forget = weakref.WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (call := forget()) and call())
        self.dropped = 0
        """How many lines were lost, because they were not read or could not be written."""

    def _forget(self) -> None:
        """Forget, in a forked child, the lines that the parent will write itself."""
        self._pending.clear()
        self._values.clear()
        self._deferred.clear()
        self._busy = False
        self._thread = threading.get_ident()
        self._scheduled = False
        self.dropped = 0

    def take(self, line: msgspec.Struct) -> None:
        """Accept a line as a value, to be encoded together with others: half the cost of one by one."""
        self._values.append(line)
        if not self._scheduled:
            self._schedule_or_flush()
        elif len(self._values) >= _AT_ONCE:
            self._collect()
            self._flush_if_much()

    def write(self, line: bytes) -> None:
        """Accept a line of at most MAX_PIECE bytes with its end; drop and count it when too many are pending.

        It may be called in another thread, and in a finalizer in the middle of any call here; then the line is written
        with the next flush.
        """
        if self._busy or threading.get_ident() != self._thread:
            if len(self._deferred) < _MAX_DEFERRED:
                self._deferred.append(line)
            else:
                self.dropped += 1
            return
        self._collect()
        self._append(line)
        if not self._scheduled:
            self._schedule_or_flush()
        else:
            self._flush_if_much()

    def flush(self) -> bool:
        """Write what can be written without waiting, and return whether that was all. Raises nothing."""
        if self._busy or threading.get_ident() != self._thread:
            return False
        self._collect()
        if not self._pending:
            return True
        loop = self._find_loop()
        if loop is None:
            return self._flush_within(20 * _RETRY_LEAST, only_lock=True)
        done = self._write_pending() is None
        if done:
            self._retry = _RETRY_LEAST
        elif not self._scheduled:
            self._schedule(loop, self._retry)
            self._retry = min(2 * self._retry, _RETRY_MOST)
        return done

    def close(self) -> None:
        """Write what is left, and give up soon if it is not read."""
        self._collect()
        if not self._flush_within(_AT_EXIT):
            self._drop_pending()

    def _collect(self) -> None:
        """Encode the lines that came as values, and append the deferred ones."""
        if self._values:
            self._busy = True
            lines = _encode_lines(self._values)
            self._values.clear()
            self._busy = False
            if self._prefix:  # there is no line end within JSON text
                lines = self._prefix + lines[:-1].replace(b"\n", b"\n" + self._prefix) + b"\n"
            self._append(lines)
        while self._deferred:
            self._append(self._deferred.popleft())

    def _append(self, lines: bytes) -> None:
        if len(self._pending) + len(lines) > MAX_PENDING:
            self.dropped += lines.count(b"\n")
        else:
            self._pending += lines

    def _schedule_or_flush(self) -> None:
        loop = self._find_loop()
        if loop is None:
            self.flush()
        else:
            self._schedule(loop, FLUSH_AFTER)

    def _flush_if_much(self) -> None:
        if len(self._pending) >= FLUSH_AT and self._retry == _RETRY_LEAST:
            self.flush()

    def _schedule(self, loop: Timers, seconds: float) -> None:
        self._scheduled = True
        loop.call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._scheduled = False
        self.flush()

    def _flush_within(self, seconds: float, *, only_lock: bool = False) -> bool:
        """Try for some seconds; with `only_lock` wait only for another process to release the lock, for no reader."""
        for _ in range(round(seconds / _RETRY_LEAST)):
            obstacle = self._write_pending()
            if obstacle is None:
                return True
            if only_lock and obstacle == "reader":
                return False
            self._sleep(_RETRY_LEAST)
        return False

    def _write_pending(self) -> str | None:
        """Write as much as is possible without waiting; return what prevented the rest, None if nothing is left."""
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EBADF:
                self._write_to_stderr()
                return None
            return "lock"
        written = 0
        self._busy = True
        try:
            while written < len(self._pending):
                if not self._poll.poll(0):
                    return "reader"
                end = self._pending.rfind(b"\n", written, written + MAX_PIECE) + 1 or written + MAX_PIECE
                written += os.write(self._descriptor, self._pending[written:end])
        except BlockingIOError:  # another process has made it non-blocking
            return "reader"
        except OSError:  # the reader has gone, or the disk is full; the service keeps running
            del self._pending[:written]
            written = 0
            self._drop_pending()
        finally:
            del self._pending[:written]
            self._busy = False
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return None

    def _write_to_stderr(self) -> None:
        """Write everything to stderr: a child that reads a file has closed every other descriptor."""
        with contextlib.suppress(OSError):
            os.write(_STDERR, self._pending)
        self._pending.clear()

    def _drop_pending(self) -> None:
        self.dropped += self._pending.count(b"\n")
        self._pending.clear()
