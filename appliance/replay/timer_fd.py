"""A timer with microseconds: uvloop's own has milliseconds, and late starts would look like a slow service."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from typing import Final

_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME, timerfd_create(2); Python has it from 3.13 on
_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Setting(ctypes.Structure):
    """struct itimerspec: the interval, which is 0 here, then the time."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns"))


class TimerFd:
    """Calls a function at a time of time.monotonic(), which is CLOCK_MONOTONIC."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        self._loop = loop
        self._call = call
        self._armed = 0.0
        self._descriptor = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        loop.add_reader(self._descriptor, self._expire)

    def arm(self, when: float) -> None:
        """Call at `when` instead of the time that was set before; at once if it has passed."""
        if when != self._armed:
            self._armed = when
            seconds, rest = divmod(max(1, round(when * 1e9)), 1_000_000_000)
            _libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(_Setting(0, 0, seconds, rest)), None)

    def _expire(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # set again since it expired
            return
        self._armed = 0.0
        self._loop.call_soon(self._call)  # once all is read that has come meanwhile: a connection may have ended

    def close(self) -> None:
        """Cancel the timer, and close its descriptor."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
