"""Ports of the loopback address for the services that tests start.

A service is told its port before it starts, so nothing holds the port in between. Therefore each process of the tests
has a block of ports of its own, among all processes of the machine: it keeps the first of them bound until it ends.
The blocks are below the ports that the kernel gives to outgoing connections and to whoever binds port 0.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import socket
from collections.abc import Iterator
from typing import NamedTuple

BLOCKS = range(10_000, 30_000, 250)


class _Block(NamedTuple):
    lock: socket.socket
    ports: Iterator[int]


def free_port() -> int:
    """Return a port that nothing uses and that no other caller gets for the next two hundred calls."""
    _, ports = _block(os.getpid())  # a forked process has a block of its own
    return next(port for port in itertools.islice(ports, BLOCKS.step) if _is_free(port))


@functools.cache
def _block(_process: int) -> _Block:
    for first in BLOCKS:
        lock = socket.socket()  # without SO_REUSEADDR, so that nobody else can bind what is bound here
        with contextlib.suppress(OSError):
            lock.bind(("127.0.0.1", first))
            return _Block(lock, itertools.cycle(range(first + 1, first + BLOCKS.step)))
        lock.close()
    raise AssertionError(f"{len(BLOCKS)} processes have all ports of the tests")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
