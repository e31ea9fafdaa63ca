"""The command line, in which no process and no thread can be started while a file is there, named by the environment.

The limit on processes (RLIMIT_NPROC) would do the same, but does not hold for root.
"""

import errno
import os
import threading
from pathlib import Path

from appliance.cli import main

FULL = Path(os.environ["NO_PROCESS_WHILE"])
_fork, _start = os.fork, threading.Thread.start


def fork() -> int:
    if FULL.exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


def start(thread: threading.Thread) -> None:
    if FULL.exists():
        raise RuntimeError("can't start new thread")
    _start(thread)


os.fork = fork
threading.Thread.start = start  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    main()
