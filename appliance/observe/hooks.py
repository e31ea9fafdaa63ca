"""Every hook through which Python itself would print to stderr, set so that it logs an event instead.

Each logs only the type and the place of an exception: its text may hold what a client sent. A hook may be called from a
finalizer in the middle of anything, or from another thread; the log's Writer is made for that.

`faulthandler` writes to a descriptor and not through a hook; see system/raw_output.py.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Final, TextIO

from appliance.observe.logs import describe, log, places

UNRAISABLE_EVERY: Final = 60.0
"""Seconds between two lines about exceptions of one type from one place, because clients can cause some of them."""

_MAX_PLACES: Final = 100


class Unraisable:
    """Logs exceptions that could not be caught: in finalizers, and in callbacks from C such as the one for SNI."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """`timer` returns seconds."""
        self._timer = timer
        self._suppressed: dict[tuple[str, str], int] = {}
        self._logged: dict[tuple[str, str], float] = {}  # when

    def __call__(self, unraisable: sys.UnraisableHookArgs, /) -> None:
        """Log it, or count it if one like it was logged recently. Keep no reference to what it holds."""
        name, where = getattr(unraisable.exc_type, "__qualname__", ""), places(unraisable.exc_traceback)
        kind = (name, where[-1] if where else "")
        if kind not in self._logged and len(self._logged) >= _MAX_PLACES:
            kind = ("", "")
        count = self._suppressed.get(kind, 0) + 1
        now = self._timer()
        if now - self._logged.get(kind, -UNRAISABLE_EVERY) < UNRAISABLE_EVERY:
            self._suppressed[kind] = count
            return
        self._logged[kind] = now
        self._suppressed[kind] = 0
        log.warning("unraisable", error=name, count=count, frames=where)


def install(timer: Callable[[], float]) -> None:
    """Set every hook, for this process and those that are forked from it."""
    sys.excepthook = log_crash
    sys.unraisablehook = Unraisable(timer)
    threading.excepthook = _log_thread_crash
    warnings.showwarning = show_warning
    logging.lastResort = None  # prints for loggers without a handler; ours has one
    logging.raiseExceptions = False  # prints the traceback of a handler that fails


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log the category and the place of a warning; its text may hold a value."""
    log.warning("warning", category=category.__name__, where=f"{filename}:{lineno}")


def log_crash(_kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log an exception that ends the program."""
    log.critical("crash", **describe(error.with_traceback(trace)))


def _log_thread_crash(crashed: threading.ExceptHookArgs, /) -> None:
    """Log an exception that ended a thread."""
    if crashed.exc_value is not None and not isinstance(crashed.exc_value, SystemExit):
        log.critical("crash", **describe(crashed.exc_value))
