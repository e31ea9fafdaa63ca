"""Forking: a child that dies with its parent, and never runs the parent's code by accident."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from collections.abc import Callable, Collection, Mapping
from typing import Final

from appliance.errors import INTERNAL_ERROR
from appliance.observe.logs import describe, log

_PR_SET_PDEATHSIG: Final = 1
_STANDARD: Final = 3  # descriptors: stdin, stdout and stderr
_libc: Final = ctypes.CDLL(None)

_IGNORED: Final = (signal.SIGHUP, signal.SIGINT)
"""A terminal sends these to the whole process group; only the supervisor acts on them."""

_HINTS: Final[Mapping[int, str]] = {
    errno.EAGAIN: "raise the limit of processes (TasksMax= in the unit, `ulimit -u`)",
    errno.ENOMEM: "free some memory, or raise MemoryMax= in the unit",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE= in the unit, `ulimit -n`)",
}


def fork_failure(error: OSError) -> str:
    """Return a sentence: no process can be started, why, and what to do. The fork is tried again later."""
    hint = _HINTS.get(error.errno or 0, "see the system log")
    return f"no process can be started: {error.strerror}; {hint}"


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which forked it, ends in any way."""
    signal_on_parent_death(parent, signal.SIGKILL)


def become_child(parent: int) -> None:
    """Be a process of its own, right after a fork: end with `parent`, and by the signals that it handles itself."""
    die_with_parent(parent)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def close_others(kept: int) -> None:
    """Close what the parent had open, but for the standard streams and `kept`.

    As long as it is open here, nobody sees that the parent closed it.
    """
    os.closerange(_STANDARD, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def limit_resource(what: int, most: int) -> None:
    """Let this process have no more than `most` of a resource (setrlimit(2)), and no more than it was allowed."""
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def how_it_ended(status: int) -> str:
    """Return how a process ended, of which waitpid(2) has given this status."""
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"


def signal_on_parent_death(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when `parent`, which started it, ends in any way (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), number)


def fork(body: Callable[[], None], at_exit: Callable[[], None], unblock: Collection[signal.Signals]) -> int:
    """Run `body`, then `at_exit`, in a child process, and return its pid. It has no signal of `unblock` blocked.

    The child exits with 0, or with INTERNAL_ERROR if `body` raises, which is logged. The calling process must have no
    other threads. Raises OSError if no process can be started.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = INTERNAL_ERROR
    try:
        die_with_parent(parent)
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
