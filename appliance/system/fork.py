"""Forking: a child that ends with its parent, and never runs the parent's code by accident."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Collection, Mapping
from typing import Final

from appliance.observe.logs import describe, log

FAILED: Final = 70
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)

_IGNORED: Final = (signal.SIGHUP, signal.SIGINT)
"""A terminal sends these to the whole group; the supervisor has them too, and decides."""


_TODO: Final[Mapping[int, str]] = {
    errno.EAGAIN: "raise the limit of processes (TasksMax= in the unit, `ulimit -u`)",
    errno.ENOMEM: "free some memory, or raise MemoryMax= in the unit",
    errno.EMFILE: "raise the limit of descriptors (LimitNOFILE= in the unit, `ulimit -n`)",
}


def start_sentence(error: OSError) -> str:
    """Say that no process could be started, why, and what to do. It is tried again, so this may pass by itself."""
    todo = _TODO.get(error.errno or 0, "look at the system's log")
    return f"no process can be started: {error.strerror}; {todo}"


def end_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which forked it, ends in whatever way."""
    signal_at_end_of_parent(parent, signal.SIGKILL)


def signal_at_end_of_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when `parent`, which started it, ends in whatever way (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), number)


def fork(body: Callable[[], None], at_exit: Callable[[], None], unblock: Collection[signal.Signals]) -> int:
    """Run `body`, then `at_exit`, in a child; give its pid. The child has no signal of `unblock` blocked.

    It ends with code 0, or with FAILED when `body` raises, which is logged. The calling process must have no other
    threads. Raises OSError if there can be no child now.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    try:
        end_with(parent)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, unblock)
        body()
        code = 0
    except BaseException as error:
        log.critical("crash", **describe(error))
    finally:
        try:
            at_exit()
        finally:
            os._exit(code)
