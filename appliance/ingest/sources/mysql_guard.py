"""The process that ends on a MySQL server what a killed process has begun there.

Neither MySQL nor MariaDB notices that a client is gone before it sends the first row, which may be long after. So
another process waits for the end of the one that fetches:

    fetching   forks the guard -> connects -> tells it the connection's number -> queries -> releases it
    guard      released, or told no number: ends
               the other has ended without: has the server KILL that connection, then ends
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from appliance.ingest.sources.base import SourceError
from appliance.system.fork import fork_failure

_RELEASED: Final = b"released"


class Guard:
    """The process that ends on the server what a killed process has begun there."""

    def __init__(self, kill: Callable[[int], None]) -> None:
        """Start it; `kill` ends the connection with this number, and raises SourceError. Raises SourceError."""
        read_end, self._write_end = os.pipe()
        try:
            self._pid = os.fork()
        except OSError as error:
            os.close(read_end)
            os.close(self._write_end)
            raise SourceError(fork_failure(error), transient=True) from None
        if self._pid == 0:
            _guard(kill, read_end)
        os.close(read_end)

    def watch(self, connection_id: str) -> None:
        """Have it end this connection, unless it is released."""
        os.write(self._write_end, f"{connection_id}\n".encode())

    def release(self) -> None:
        """Have it leave the connection alone: the server has answered all."""
        os.write(self._write_end, _RELEASED)

    def close(self) -> None:
        """Wait for its end."""
        os.close(self._write_end)
        os.waitpid(self._pid, 0)


def _guard(kill: Callable[[int], None], read_end: int) -> NoReturn:
    """Wait for the end of the process that forked this one; it must not hold open what that one had open."""
    try:
        os.setsid()
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        os.dup2(read_end, 0)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        told = b"".join(iter(lambda: os.read(0, 64), b""))
        number, _, end = told.partition(b"\n")
        if number and not end:
            with suppress(SourceError):
                kill(int(number))
    finally:
        os._exit(0)
