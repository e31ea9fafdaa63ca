"""Every hook through which Python would print to stderr by itself, set so that it logs an event instead.

None of them says more of an exception than its type and place: its text may hold what a client sent. What calls them
may be a finalizer in the middle of anything, or another thread: the log's Writer is made for that.

`faulthandler` writes to a descriptor and not through a hook; see service/raw_output.py.
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
"""Seconds between two lines about exceptions of one type from one place: clients can cause some of them."""

_MAX_PLACES: Final = 100


class Unraisable:
    """Logs exceptions that could not be raised: in finalizers, in callbacks from C such as the one for server names."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """`timer` gives seconds."""
        self._timer = timer
        self._unsaid: dict[tuple[str, str], int] = {}
        self._said: dict[tuple[str, str], float] = {}

    def __call__(self, unraisable: sys.UnraisableHookArgs, /) -> None:
        """Log it, or count it if the like was logged a short while ago. Keep no reference to what it holds."""
        name, where = getattr(unraisable.exc_type, "__qualname__", ""), places(unraisable.exc_traceback)
        kind = (name, where[-1] if where else "")
        if kind not in self._said and len(self._said) >= _MAX_PLACES:
            kind = ("", "")
        count = self._unsaid.get(kind, 0) + 1
        now = self._timer()
        if now - self._said.get(kind, -UNRAISABLE_EVERY) < UNRAISABLE_EVERY:
            self._unsaid[kind] = count
            return
        self._said[kind] = now
        self._unsaid[kind] = 0
        log.warning("unraisable", error=name, count=count, frames=where)


def install(timer: Callable[[], float]) -> None:
    """Set every hook of this process, and of those that are forked from it."""
    sys.excepthook = log_crash
    sys.unraisablehook = Unraisable(timer)
    threading.excepthook = _log_thread_crash
    warnings.showwarning = show_warning
    logging.lastResort = None  # for loggers that lead to no handler; the root has one
    logging.raiseExceptions = False  # of a handler that fails, in plain text


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a warning's category and place: its text may hold a value."""
    log.warning("warning", category=category.__name__, where=f"{filename}:{lineno}")


def log_crash(_kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log an exception that ends the program."""
    log.critical("crash", **describe(error.with_traceback(trace)))


def _log_thread_crash(crashed: threading.ExceptHookArgs, /) -> None:
    """Log an exception that ended a thread."""
    if crashed.exc_value is not None and not isinstance(crashed.exc_value, SystemExit):
        log.critical("crash", **describe(crashed.exc_value))
