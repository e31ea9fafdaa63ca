"""The process that speaks to the Inbox API, so that nothing of it can hold up or crash the one that asks.

Looking up a name, TLS and reading may block for any time, and a slow answer may come byte by byte. The process is
forked at the first request, has nothing open but its end of a pair of sockets, and is killed if a request takes too
long; the next request then forks another. It dies with the process that asks.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing, nullcontext, suppress
from typing import Final

import msgspec

from appliance.errors import INTERNAL_ERROR
from appliance.http_client import UnreachableError
from appliance.inbox_api.wire import Connection, Origin, Request, Response
from appliance.system.fork import become_child, close_others, fork_failure, limit_resource

DEADLINE: Final = 20.0
"""Seconds for one request, with the connection's opening."""

MAX_MEMORY: Final = 1024**3
_LENGTH: Final = 4


class _Failed(msgspec.Struct, frozen=True, tag=True):
    """There was no response: why."""

    why: str


class _Done(msgspec.Struct, frozen=True, tag=True):
    """There was a response."""

    response: Response


_encode: Final = msgspec.msgpack.Encoder().encode
_read_request: Final = msgspec.msgpack.Decoder(Request).decode
_read_result: Final = msgspec.msgpack.Decoder(_Done | _Failed).decode


class ApiProcess:
    """The asking end. One request at a time."""

    def __init__(
        self,
        origin: Origin,
        deadline: float = DEADLINE,
        still: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        """`deadline` is seconds for one request. While it forks, it is `still`: no other thread holds a lock."""
        self._origin = origin
        self._still = still
        self._deadline = deadline
        self._pid = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def pid(self) -> int:
        """The process, 0 if none runs."""
        return self._pid

    async def exchange(self, request: Request) -> Response:
        """Return the response, whatever its status. Raises UnreachableError."""
        is_kept = self._streams is not None
        try:
            async with asyncio.timeout(self._deadline):
                try:
                    result = await self._ask(request)
                except (OSError, EOFError):
                    if not is_kept:
                        raise
                    self.close()  # it was killed; a request may be sent twice, for it changes nothing
                    result = await self._ask(request)
        except TimeoutError:
            self.close()
            raise UnreachableError(f"no answer within {self._deadline:.0f} seconds") from None
        except (OSError, EOFError, msgspec.MsgspecError):
            self.close()
            raise UnreachableError("the process that asks has ended") from None
        except asyncio.CancelledError:
            self.close()
            raise
        if isinstance(result, _Failed):
            raise UnreachableError(result.why)
        return result.response

    def close(self) -> None:
        """End the process."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    async def _ask(self, request: Request) -> _Done | _Failed:
        if self._streams is None:
            async with self._still():
                end = self._start()
            self._streams = await asyncio.open_connection(sock=end)
        reader, writer = self._streams
        writer.write(_framed(request))
        await writer.drain()
        length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        result: _Done | _Failed = _read_result(await reader.readexactly(length))
        return result

    def _start(self) -> socket.socket:
        """Fork the process; return the socket to it. Raises UnreachableError."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        try:
            self._pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise UnreachableError(fork_failure(error)) from None
        if self._pid == 0:
            _run(theirs, parent, lambda: Connection(self._origin))
        theirs.close()
        ours.setblocking(False)
        return ours


def _run(end: socket.socket, parent: int, connect: Callable[[], Connection]) -> None:
    code = INTERNAL_ERROR
    try:
        become_child(parent)
        close_others(end.fileno())
        limit_resource(resource.RLIMIT_AS, MAX_MEMORY)
        with closing(connect()) as connection:
            serve(end, connection)
        code = 0
    finally:
        os._exit(code)  # without a trace: a request holds the secret


def serve(end: socket.socket, connection: Connection) -> None:
    """Answer requests until the other end is closed."""
    with end.makefile("rwb") as stream:
        while len(head := stream.read(_LENGTH)) == _LENGTH:
            request = _read_request(stream.read(int.from_bytes(head, "big")))
            result: _Done | _Failed
            try:
                result = _Done(connection.exchange(request))
            except UnreachableError as error:
                result = _Failed(str(error))
            stream.write(_framed(result))
            stream.flush()


def _framed(value: object) -> bytes:
    text = _encode(value)
    return len(text).to_bytes(_LENGTH, "big") + text
