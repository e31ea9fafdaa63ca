"""Reads in a process of its own, so that one batch is encoded while another is inserted."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NoReturn

import msgspec

from appliance.ingest.encode import EncodedBatch, Ending, Header
from appliance.ingest.sources.base import SourceError
from appliance.system.fork import close_others

_PIPE_BYTES: Final = 1024 * 1024


class _Fault(msgspec.Struct, frozen=True, tag=True):
    sentence: str
    transient: bool


class _End(msgspec.Struct, frozen=True, tag=True):
    pass


_DECODER: Final = msgspec.msgpack.Decoder(Header | EncodedBatch | Ending | _Fault | _End)


def read_ahead(items: Iterator[Header | EncodedBatch | Ending]) -> Iterator[Header | EncodedBatch | Ending]:
    """Return the items, produced in a forked child. Raises SourceError, as `items` does.

    If no child can be forked, they are produced here, which only takes longer. The calling process must have no other
    threads.
    """
    read_end, write_end = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(read_end)
        os.close(write_end)
        yield from items
        return
    if child == 0:
        _produce(items, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        try:
            while len(length := pipe.read(4)) == 4:
                size = int.from_bytes(length, "big")
                if len(frame := pipe.read(size)) < size:
                    break
                item = _DECODER.decode(frame)
                if isinstance(item, _End):
                    return
                if isinstance(item, _Fault):
                    raise SourceError(item.sentence, transient=item.transient)
                yield item
        finally:
            os.kill(child, signal.SIGKILL)  # it has exited, unless the rest is not wanted
            os.waitpid(child, 0)
    raise SourceError("the reader process was killed; check the system log (out of memory?)", transient=True)


def _produce(items: Iterator[Header | EncodedBatch | Ending], write_end: int) -> NoReturn:
    """Write every item to the pipe, then exit: none of the parent's code may run in this process."""
    code = 1
    try:
        close_others(write_end)  # if the parent is killed, its lock and its pipes must not stay open here
        with suppress(OSError):  # an account may have used up its share of pipe memory
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with os.fdopen(write_end, "wb") as pipe:
            for item in _with_end(items):
                encoded = msgspec.msgpack.encode(item)
                pipe.write(len(encoded).to_bytes(4, "big") + encoded)
        code = 0
    finally:
        os._exit(code)


def _with_end(
    items: Iterator[Header | EncodedBatch | Ending],
) -> Iterator[Header | EncodedBatch | Ending | _Fault | _End]:
    try:
        yield from items
    except SourceError as fault:
        yield _Fault(str(fault), fault.transient)
    except MemoryError:
        yield _Fault("the import ran out of memory; look for a file with a very long line", True)
    else:
        yield _End()
