"""Port 80: the answers to HTTP-01, and the way to https for everybody else.

    GET /.well-known/acme-challenge/TOKEN    the file of that token, or 404
    any other path                           308 to https, and to a name of the config: never one that a client chose

A request is one head, of at most 16 KiB, within 5 seconds; then the connection is closed. There are at most 100.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

WELL_KNOWN: Final = "/.well-known/acme-challenge/"
_DEADLINE: Final = 5.0
_MAX_HEAD: Final = 16 * 1024
_MAX_CONNECTIONS: Final = 100
_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,2000}) HTTP/1\.[01]\r?\n")
_HOST: Final = re.compile(rb"\nhost:[ \t]*([!-~]{1,255})", re.IGNORECASE)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/?%-]")


class HttpResponder:
    """A server of plain HTTP on sockets that listen already."""

    def __init__(self, sockets: Sequence[socket.socket], names: Sequence[str], answer: Callable[[str], bytes | None]):
        """`names` are those to redirect to; `answer` returns the answer for a token, or None."""
        self._sockets = sockets
        self._names = names
        self._answer = answer
        self._open = 0

    async def start(self) -> None:
        """Begin to serve."""
        for one in self._sockets:
            await asyncio.start_server(self._serve, sock=one, limit=_MAX_HEAD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= _MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(_DEADLINE):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self.respond(head))
                    await writer.drain()
                    writer.write_eof()
                    while await reader.read(_MAX_HEAD):  # so that no reset overtakes the answer
                        pass
        finally:
            self._open -= 1
            writer.transport.abort()

    def respond(self, head: bytes) -> bytes:
        """Return the response to a request's head."""
        line = _LINE.match(head)
        if line is None:
            return _response("400 Bad Request")
        method, path = line[1], line[2].decode("ascii")
        if path.startswith(WELL_KNOWN):
            answer = self._answer(path.removeprefix(WELL_KNOWN)) if method in (b"GET", b"HEAD") else None
            if answer is None:
                return _response("404 Not Found")
            content_type = "Content-Type: application/octet-stream\r\n"
            return _response("200 OK", content_type, answer, is_head=method == b"HEAD")
        found = _HOST.search(head)
        host = found[1].decode("ascii").lower().partition(":")[0] if found else ""
        name = host if host in self._names else self._names[0]
        return _response("308 Permanent Redirect", f"Location: https://{name}{_UNSAFE.sub('', path)}\r\n")


def _response(status: str, header: str = "", body: bytes = b"", *, is_head: bool = False) -> bytes:
    head = f"HTTP/1.1 {status}\r\n{header}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if is_head else body)
