"""What a process writes to stdout and stderr past the log: C libraries, `faulthandler`, the message of `abort`.

In every process of the service both are a pipe, one for each process, which the supervisor reads at least twice a
second and logs as events. So all of it is JSON like the rest of the log, and is bounded like it:

- A pipe holds 64 KiB and never blocks its writer: with O_NONBLOCK, what does not fit is lost (EAGAIN of write(2)). No
  process outside the service has the pipe, so the flag affects no other.
- A process may write BURST bytes at once, and RATE bytes a second after that. What exceeds that is counted and dropped.
- A pipe is closed when all who could write into it have ended: a worker, or the steward and its import.

The supervisor reads its own pipe, too. But after a crash of the supervisor nobody would, so its `faulthandler` writes
to the stderr that it was started with: text, the one thing in the log that is not JSON. It does not block there either.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from appliance.observe.logs import log

BURST: Final = 16 * 1024
"""Bytes of a process that are logged at once; the stacks of a worker's crash are 2 KiB."""

RATE: Final = 256
"""Bytes a second that are logged after that."""

TELL_EVERY: Final = 60.0
"""Seconds between two log lines about what was dropped."""

TEXT: Final = 900
"""Characters of one event; each is at most 4 bytes of JSON, so that a line stays below PIPE_BUF."""

_READ: Final = 64 * 1024  # what a pipe holds
_STREAMS: Final = (1, 2)


@dataclass(slots=True, eq=False)
class ProcessPipe:
    """The pipe of one process."""

    kind: str
    read_end: int
    write_end: int
    since: float
    pid: int = 0
    partial: bytearray = field(default_factory=bytearray)  # a line without its end
    budget: float = BURST
    dropped: int = 0  # bytes that were not logged as dropped yet
    tell_at: float = -math.inf  # when the next line about them may be logged

    def close(self) -> None:
        """Close this process's ends of it."""
        for end in (self.read_end, self.write_end):
            if end >= 0:
                os.close(end)
        self.read_end = self.write_end = -1


class RawOutput:
    """The supervisor's end of all pipes."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """`timer` returns seconds."""
        self._timer = timer
        self._pipes: list[ProcessPipe] = []

    def open(self, kind: str) -> ProcessPipe | None:
        """Make the pipe of a process of this kind, before the fork.

        Return None if no pipe can be made: what the process writes is then logged as the supervisor's.
        """
        try:
            read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        return ProcessPipe(kind, read_end, write_end, self._timer())

    def redirect_child(self, pipe: ProcessPipe | None) -> None:
        """Redirect the output of this newly forked process to its own pipe, and close all others."""
        for other in self._pipes:
            other.close()
        self._pipes.clear()
        if pipe is not None:
            for stream in _STREAMS:
                os.dup2(pipe.write_end, stream)
            pipe.close()
        faulthandler.enable(_STREAMS[-1])

    def watch(self, pipe: ProcessPipe | None, pid: int) -> None:
        """Begin to read the pipe of the process `pid`."""
        if pipe is None:
            return
        pipe.pid = pid
        os.close(pipe.write_end)
        pipe.write_end = -1
        self._pipes.append(pipe)

    def read(self) -> None:
        """Log what was written since the last call. Does not block, raises nothing."""
        for pipe in tuple(self._pipes):
            if not self._read(pipe):
                pipe.close()
                self._pipes.remove(pipe)

    def close(self) -> None:
        """Log what is left, and close all pipes."""
        self.read()
        self.read()  # the second time logs a line without its end
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()

    def discard(self, pipe: ProcessPipe | None) -> None:
        """Close the pipe of a process that could not be forked."""
        if pipe is not None:
            pipe.close()

    def capture_self(self) -> None:
        """Read what this process writes, too."""
        pipe = self.open("supervisor")
        if pipe is not None:
            for stream in _STREAMS:
                os.dup2(pipe.write_end, stream)
            self.watch(pipe, os.getpid())

    def _read(self, pipe: ProcessPipe) -> bool:
        """Read a pipe once; return whether more may come."""
        now = self._timer()
        pipe.budget = min(BURST, pipe.budget + (now - pipe.since) * RATE)
        pipe.since = now
        try:
            said = os.read(pipe.read_end, _READ)
        except BlockingIOError:
            self._log_text(pipe, all_of_it=True)
            self._log_dropped(pipe, now)
            return True
        allowed = said[: int(pipe.budget)]
        pipe.budget -= len(allowed)
        pipe.dropped += len(said) - len(allowed)
        pipe.partial += allowed
        self._log_text(pipe, all_of_it=not said or len(allowed) < len(said))
        self._log_dropped(pipe, now if said else math.inf)
        return bool(said)

    def _log_text(self, pipe: ProcessPipe, *, all_of_it: bool) -> None:
        """Log the whole lines, or all that there is: several lines in one event, as far as they fit."""
        cut = pipe.partial.rfind(b"\n") + 1
        if all_of_it or len(pipe.partial) - cut >= TEXT:
            cut = len(pipe.partial)
        text = _printable(pipe.partial[:cut].decode("utf-8", "replace"))
        del pipe.partial[:cut]
        while text:
            piece = text[:TEXT]
            if len(text) > TEXT and (line_end := piece.rfind("\n")) > 0:
                piece = piece[:line_end]
            text = text[len(piece) :].lstrip("\n")
            log.warning("stderr", process=pipe.kind, pid=pipe.pid, text=piece)

    def _log_dropped(self, pipe: ProcessPipe, now: float) -> None:
        """Log how much was dropped, once every TELL_EVERY seconds."""
        if pipe.dropped and now >= pipe.tell_at:
            log.warning("stderr_dropped", process=pipe.kind, pid=pipe.pid, bytes=pipe.dropped)
            pipe.dropped = 0
            pipe.tell_at = now + TELL_EVERY


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text).strip("\n")


def _without_waiting(stream: int) -> int:
    """Return a copy of a descriptor that, if it is a pipe, never blocks; the descriptor itself still does."""
    if stat.S_ISFIFO(os.fstat(stream).st_mode):
        with contextlib.suppress(OSError):  # such as a pipe of another user
            return os.open(f"/proc/self/fd/{stream}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(stream)


@contextlib.contextmanager
def captured(timer: Callable[[], float]) -> Iterator[RawOutput]:
    """Redirect this process's stdout and stderr within the block; afterwards they are what they were."""
    before = [os.dup(stream) for stream in _STREAMS]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # because a child exits without a flush
    raw = RawOutput(timer)
    crash_output = _without_waiting(_STREAMS[-1])
    faulthandler.enable(crash_output)
    raw.capture_self()
    try:
        yield raw
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        for stream, one in zip(_STREAMS, before, strict=True):
            os.dup2(one, stream)
        raw.close()
        faulthandler.disable()
        for one in (*before, crash_output):
            os.close(one)
