"""What a process writes to descriptors 1 and 2 by itself: C libraries, `faulthandler`, the last words of `abort`.

In every process of the service both lead into a pipe, one for each process, that the supervisor reads at each of its
turns, twice a second or more, and logs as events. So all of it is JSON like the rest, and the log's bounds hold:

- A pipe holds 64 KiB and is never waited for: with O_NONBLOCK, a writer whose pipe is full loses what it writes (EAGAIN
  of write(2)). Nobody outside the service has the pipe, so the flag hits nobody else.
- A process may say BURST bytes at once, and RATE bytes a second after that. What is more is counted and dropped.
- A pipe is closed at its end, when all who could write into it have ended: a worker, or the steward and its import.

The supervisor reads its own pipe, too. But nobody reads that one once the supervisor dies, so its `faulthandler` writes
to the stderr that it was started with: text, the one thing in the log that is not JSON. A pipe there is not waited for.
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
"""Bytes of a process that are logged at once: the stacks of a crash of a worker are 2 KiB."""

RATE: Final = 256
"""Bytes a second of it that are logged from then on."""

TELL_EVERY: Final = 60.0
"""Seconds between two lines about what was dropped."""

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
    partial: bytearray = field(default_factory=bytearray)  # of a line whose end has not come
    budget: float = BURST
    dropped: int = 0  # bytes that no line has told of yet
    tell_at: float = -math.inf  # when one may

    def close(self) -> None:
        """Close what this process has of it."""
        for end in (self.read_end, self.write_end):
            if end >= 0:
                os.close(end)
        self.read_end = self.write_end = -1


class RawOutput:
    """The supervisor's end of all pipes."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """`timer` gives seconds."""
        self._timer = timer
        self._pipes: list[ProcessPipe] = []

    def open(self, kind: str) -> ProcessPipe | None:
        """Make the pipe of a process of this kind that is about to be forked.

        Return None if there can be none: then what the process writes is taken for the supervisor's.
        """
        try:
            read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        return ProcessPipe(kind, read_end, write_end, self._timer())

    def redirect_child(self, pipe: ProcessPipe | None) -> None:
        """Have this process, newly forked, write into its own pipe, and let go of all others."""
        for other in self._pipes:
            other.close()
        self._pipes.clear()
        if pipe is not None:
            for stream in _STREAMS:
                os.dup2(pipe.write_end, stream)
            pipe.close()
        faulthandler.enable(_STREAMS[-1])

    def watch(self, pipe: ProcessPipe | None, pid: int) -> None:
        """Read from now on what the process `pid`, for which `pipe` was made, writes."""
        if pipe is None:
            return
        pipe.pid = pid
        os.close(pipe.write_end)
        pipe.write_end = -1
        self._pipes.append(pipe)

    def read(self) -> None:
        """Log what has come since the last time. Waits for nothing, raises nothing."""
        for pipe in tuple(self._pipes):
            if not self._read(pipe):
                pipe.close()
                self._pipes.remove(pipe)

    def close(self) -> None:
        """Log what is left, and close all pipes."""
        self.read()
        self.read()  # what the first left of a line is logged by the second
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()

    def discard(self, pipe: ProcessPipe | None) -> None:
        """Close the pipe of a process that could not be forked."""
        if pipe is not None:
            pipe.close()

    def capture_self(self) -> None:
        """Have what this process writes read, too."""
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
        """Say how much was left out, once every TELL_EVERY seconds."""
        if pipe.dropped and now >= pipe.tell_at:
            log.warning("stderr_dropped", process=pipe.kind, pid=pipe.pid, bytes=pipe.dropped)
            pipe.dropped = 0
            pipe.tell_at = now + TELL_EVERY


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text).strip("\n")


def _without_waiting(stream: int) -> int:
    """Return a copy of a descriptor that, if it is a pipe, is not waited for, while the descriptor itself still is."""
    if stat.S_ISFIFO(os.fstat(stream).st_mode):
        with contextlib.suppress(OSError):  # such as another user's
            return os.open(f"/proc/self/fd/{stream}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(stream)


@contextlib.contextmanager
def captured(timer: Callable[[], float]) -> Iterator[RawOutput]:
    """Take over this process's raw output within the block; afterwards its streams are what they were."""
    before = [os.dup(stream) for stream in _STREAMS]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # for a child ends without a flush
    raw = RawOutput(timer)
    last_words = _without_waiting(_STREAMS[-1])
    faulthandler.enable(last_words)
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
        for one in (*before, last_words):
            os.close(one)
