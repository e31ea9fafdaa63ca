"""Writes log lines without ever waiting for whoever reads them.

The descriptor is shared: with the other processes of the service, and with whoever gave it to us. So it stays blocking
(O_NONBLOCK belongs to the open file and would hit them too), it is polled before each write, and what is written at
once is whole lines of at most PIPE_BUF bytes, which a pipe takes whole or not at all (pipe(7)). A pipe that polls as
writable has room for one such piece; a lock keeps the other processes from taking that room in between.
"""

from __future__ import annotations

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
from typing import Final

import msgspec

MAX_PIECE: Final = select.PIPE_BUF
"""No line may be longer than this: a longer one could be torn, or block."""

MAX_PENDING: Final = 1024 * 1024
FLUSH_AT: Final = 16 * 1024
FLUSH_AFTER: Final = 0.025
_AT_ONCE: Final = 64
_encode_lines: Final = msgspec.json.Encoder().encode_lines
_RETRY_LEAST: Final = 0.001
_RETRY_MOST: Final = 0.05
_AT_EXIT: Final = 0.5
_ASIDE: Final = 1000
_STDERR: Final = 2

_Later = Callable[[float, Callable[[], None]], object]


class Writer:
    """The log's end of a descriptor, in this process and in those forked from it."""

    def __init__(self, descriptor: int, *, prefix: bytes = b"", sleep: Callable[[float], None] = time.sleep) -> None:
        """Write to `descriptor`; at once, until `schedule_by` gives something to wait with.

        `prefix` goes in front of each line that was taken as a value.
        """
        self._descriptor = descriptor
        self._prefix = prefix
        self._sleep = sleep
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        # Record locks belong to the process, and end with it. (flock's belong to the open file, which a fork shares.)
        self._lock = os.memfd_create("log-lock")
        self._pending = bytearray()
        self._values: list[msgspec.Struct] = []  # lines of now that are not encoded yet
        self._aside: deque[bytes] = deque()  # lines that came while another was written, or from another thread
        self._busy = False
        self._thread = threading.get_ident()
        self._later: _Later | None = None
        self._scheduled = False
        self._retry = _RETRY_LEAST
        forget = weakref.WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (call := forget()) and call())
        self.dropped = 0
        """How many lines were lost, because they were not read or could not be written."""

    def schedule_by(self, later: _Later) -> None:
        """Write in batches from now on, with the loop's `later(seconds, call)`."""
        self._later = later

    def _forget(self) -> None:
        """In a forked child: forget what the parent has yet to write, for it will, and the parent's loop."""
        self._pending.clear()
        self._values.clear()
        self._aside.clear()
        self._busy = False
        self._thread = threading.get_ident()
        self._later = None
        self._scheduled = False
        self.dropped = 0

    def take(self, line: msgspec.Struct) -> None:
        """Take a line as a value, to be encoded together with others: half the price of one by one."""
        self._values.append(line)
        if self._later is None:
            self.flush()
        elif not self._scheduled:
            self._schedule(self._later, FLUSH_AFTER)
        elif len(self._values) >= _AT_ONCE:
            self._collect()
            if len(self._pending) >= FLUSH_AT and self._retry == _RETRY_LEAST:
                self.flush()

    def write(self, line: bytes) -> None:
        """Take a line, with its end, of at most MAX_PIECE bytes. Drops and counts it when too many wait already.

        Also in another thread, and in a finalizer that runs in the middle of any call here: then it is written with
        the next flush.
        """
        if self._busy or threading.get_ident() != self._thread:
            if len(self._aside) < _ASIDE:
                self._aside.append(line)
            else:
                self.dropped += 1
            return
        self._collect()
        self._append(line)
        if self._later is None:
            self.flush()
        elif not self._scheduled:
            self._schedule(self._later, FLUSH_AFTER)
        elif len(self._pending) >= FLUSH_AT and self._retry == _RETRY_LEAST:
            self.flush()

    def flush(self) -> bool:
        """Write what can be written without waiting; say whether that was all. Raises nothing."""
        if self._busy or threading.get_ident() != self._thread:
            return False
        self._collect()
        if not self._pending:
            return True
        if self._later is None:
            done = self._flush_within(20 * _RETRY_LEAST, only_lock=True)
        else:
            done = self._write_pending() is None
        if done:
            self._retry = _RETRY_LEAST
        elif self._later is not None and not self._scheduled:
            self._schedule(self._later, self._retry)
            self._retry = min(2 * self._retry, _RETRY_MOST)
        return done

    def close(self) -> None:
        """Write what is left, and give up soon if it is not read."""
        self._collect()
        self._later = None
        if not self._flush_within(_AT_EXIT):
            self._drop_pending()

    def _collect(self) -> None:
        """Encode what was taken as values, and append what was set aside."""
        if self._values:
            self._busy = True
            lines = _encode_lines(self._values)
            self._values.clear()
            self._busy = False
            if self._prefix:  # JSON has no line end but a line's own
                lines = self._prefix + lines[:-1].replace(b"\n", b"\n" + self._prefix) + b"\n"
            self._append(lines)
        while self._aside:
            self._append(self._aside.popleft())

    def _append(self, lines: bytes) -> None:
        if len(self._pending) + len(lines) > MAX_PENDING:
            self.dropped += lines.count(b"\n")
        else:
            self._pending += lines

    def _schedule(self, later: _Later, seconds: float) -> None:
        self._scheduled = True
        later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._scheduled = False
        self.flush()

    def _flush_within(self, seconds: float, *, only_lock: bool = False) -> bool:
        """Try for so long; with `only_lock` not for a reader, only for the other processes' turn to end."""
        for _ in range(round(seconds / _RETRY_LEAST)):
            obstacle = self._write_pending()
            if obstacle is None:
                return True
            if only_lock and obstacle == "reader":
                return False
            self._sleep(_RETRY_LEAST)
        return False

    def _write_pending(self) -> str | None:
        """Write while it can be done without waiting; give what is in the way, None for nothing."""
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
        except BlockingIOError:  # somebody else made it non-blocking
            return "reader"
        except OSError:  # nobody reads any more, or the disk is full; the service goes on
            del self._pending[:written]
            written = 0
            self._drop_pending()
        finally:
            del self._pending[:written]
            self._busy = False
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return None

    def _write_to_stderr(self) -> None:
        """Write all there: a child that reads a file has closed every other descriptor."""
        with contextlib.suppress(OSError):
            os.write(_STDERR, self._pending)
        self._pending.clear()

    def _drop_pending(self) -> None:
        self.dropped += self._pending.count(b"\n")
        self._pending.clear()
