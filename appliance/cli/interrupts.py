"""Ctrl-C: one press is one interrupt, and none disturbs a command that is ending.

A terminal sends SIGINT to every process of the command, and the bootloader of the packaged executable forwards its own:
this process may get two for one press, at any moment. So SIGINT is blocked from the start of `main`; then it is

    handled by the command itself  serve and preview wait for it in their loops, replay in one call
    a KeyboardInterrupt            in every other command, at most one in ONE_PRESS
    ignored                        once the command has ended and only the interpreter is left
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Final

ONE_PRESS: Final = 0.5
"""Seconds within which a second SIGINT is of the same press."""

_SIGINT: Final = frozenset({signal.SIGINT})


class _Interrupt:
    """A handler that raises KeyboardInterrupt once a press."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= ONE_PRESS:
            self._last = now
            raise KeyboardInterrupt


def block() -> None:
    """Hold SIGINT back until it can be handled."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGINT)


def allow() -> None:
    """Let SIGINT, also one that is held back, raise KeyboardInterrupt; one that was ignored at the start stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Interrupt())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)


def ignore() -> None:
    """Let no interrupt disturb the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
