"""What SIGHUP means to a service that may have been started on a terminal.

It means either that somebody asks for a reload, or that the terminal has closed (a hang-up): both have the same number,
and a shell passes on the one that it got, or sends its own when it exits. It is a hang-up if

    the kernel sent it       whatever the state of the terminal: no process can make the kernel do that to another
    the terminal is gone     or goes within HANGUP seconds: a shell that exits signals its jobs before it closes it

and a request to reload otherwise. After a hang-up a service that was started by nohup stays, and any other stops. Once
the terminal has been gone for HANGUP seconds, or if there never was one, every SIGHUP from a process is a reload.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable
from typing import Final

HANGUP: Final = 2.0
_SI_KERNEL: Final = 0x80  # sigaction(2)


class Action(enum.Enum):
    """What to do about a signal, or about a terminal that is gone."""

    RELOAD = enum.auto()
    STOP = enum.auto()
    STAY = enum.auto()  # the terminal is gone, and the service was started by nohup


class Terminal:
    """Watches the controlling terminal."""

    def __init__(self, timer: Callable[[], float], *, nohup: bool, is_there: Callable[[], bool]) -> None:
        """`timer` returns seconds; `nohup`: SIGHUP was ignored at the start; `is_there` looks for the terminal."""
        self._timer = timer
        self._after = Action.STAY if nohup else Action.STOP
        self._is_there = is_there
        self._there = is_there()
        self._gone = self._hup = float("-inf")

    def on_sighup(self, code: int) -> Action:
        """Return what to do about a SIGHUP with this si_code."""
        self._hup = self._timer()
        self._has_gone()
        is_hangup = code == _SI_KERNEL or self._hup - self._gone < HANGUP
        return self._after if is_hangup else Action.RELOAD

    def poll(self) -> Action | None:
        """Return what to do if the terminal has gone since the last poll, right after a SIGHUP; None if it has not."""
        return self._after if self._has_gone() and self._gone - self._hup < HANGUP else None

    def _has_gone(self) -> bool:
        """Return whether the terminal has gone since the last call."""
        if not self._there or self._is_there():
            return False
        self._there, self._gone = False, self._timer()
        return True


def has_terminal() -> bool:
    """Return whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)  # these do not say whether there is one
    return True
