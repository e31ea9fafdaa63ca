"""What a SIGHUP means to a service that may have been started on a terminal.

It is either a person's word to reload, or the end of the terminal; the kernel sends the same number for both, and a
shell passes on what it got, or sends one of its own when it is left. So it is a hang-up when

    the kernel sent it       whatever the state of the terminal: a process never does that to another
    the terminal is gone     or goes within HANGUP seconds: a shell that is left tells its jobs before it closes it

and otherwise a reload. After a hang-up a service that nohup started stays, and any other ends. Once the terminal has
been gone for HANGUP seconds, or if there never was one, every SIGHUP of a process is a reload.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable
from typing import Final

HANGUP: Final = 2.0
_SI_KERNEL: Final = 0x80  # sigaction(2)


class Meaning(enum.Enum):
    """What is to be done about a signal, or about a terminal that is gone."""

    RELOAD = enum.auto()
    END = enum.auto()
    STAY = enum.auto()  # the terminal has gone, and under nohup that is all


class Terminal:
    """Looks whether the controlling terminal is still there. `timer` gives seconds."""

    def __init__(self, timer: Callable[[], float], *, nohup: bool, is_there: Callable[[], bool]) -> None:
        """`nohup`: whether SIGHUP was ignored at the start; `is_there` looks for the terminal."""
        self._timer = timer
        self._after = Meaning.STAY if nohup else Meaning.END
        self._is_there = is_there
        self._there = is_there()
        self._gone = self._hup = float("-inf")

    def hup(self, code: int) -> Meaning:
        """Return what a SIGHUP with this si_code means."""
        self._hup = self._timer()
        self._look()
        is_hangup = code == _SI_KERNEL or self._hup - self._gone < HANGUP
        return self._after if is_hangup else Meaning.RELOAD

    def look(self) -> Meaning | None:
        """Return what is to be done if the terminal has gone since the last look, right after a SIGHUP."""
        return self._after if self._look() and self._gone - self._hup < HANGUP else None

    def _look(self) -> bool:
        """Return whether it has gone since the last time."""
        if not self._there or self._is_there():
            return False
        self._there, self._gone = False, self._timer()
        return True


def has_terminal() -> bool:
    """Return whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)  # which say nothing about it
    return True
