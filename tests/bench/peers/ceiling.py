"""What a server of uvloop and httptools can reach in Python, with nothing around them: no limits, log or counters.

It answers right requests rightly, and is no example: what is wrong ends the connection.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import hmac
import os
import sqlite3
import ssl
from collections import OrderedDict
from html import escape
from time import monotonic
from typing import Any

import httptools
import msgspec
import uvloop

MOST, SECONDS = 10_000, 60.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
DENIED = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
QUERY = "SELECT name, plan, since, ltv, company, last_order FROM customers WHERE email = ?"
SECRET = os.environ["SECRET"].encode().ljust(64, b"\0")
INNER, OUTER = (hashlib.sha1(bytes(byte ^ pad for byte in SECRET)) for pad in (0x36, 0x5C))

database = sqlite3.connect(f"file:{os.environ['DB']}?immutable=1", uri=True)
database.execute("PRAGMA mmap_size = 268435456")
cache: OrderedDict[str, tuple[bytes, float]] = OrderedDict()


class Customer(msgspec.Struct):
    email: str


class Message(msgspec.Struct):
    customer: Customer


read = msgspec.json.Decoder(Message).decode


def is_signed(body: bytes, signature: bytes) -> bool:
    """Check the HMAC, from two copied states of SHA-1."""
    inner, outer = INNER.copy(), OUTER.copy()
    inner.update(body)
    outer.update(inner.digest())
    return hmac.compare_digest(base64.b64encode(outer.digest()), signature)


def answer(body: bytes) -> bytes:
    """Return the card of who is asked about."""
    email = read(body).customer.email
    found = cache.get(email)
    if found is not None and found[1] > monotonic():
        return found[0]
    name, plan, since, ltv, company, last = map(escape, database.execute(QUERY, (email,)).fetchone())
    html = (
        f'<h4>{name}</h4><p class="muted">Customer since {since}</p><ul><li>Plan: <strong>{plan}</strong></li>'
        f"<li>Lifetime value: ${ltv}</li><li>Company: {company}</li><li>Last order: {last}</li>"
        f'<li>Email: <a href="mailto:{escape(email)}">{escape(email)}</a></li></ul>'
    )
    if len(cache) >= MOST:
        cache.popitem(last=False)
    made = msgspec.json.encode({"html": html})
    cache[email] = made, monotonic() + SECONDS
    return made


class Connection(asyncio.Protocol):
    __slots__ = ("body", "parser", "signature", "transport")

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpRequestParser(self)
        self.body = self.signature = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self.parser = self.transport = None  # cycles of 30 KB a connection

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 21 and name.lower() == b"x-helpscout-signature":
            self.signature = value

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if not is_signed(body, self.signature):
            self.transport.write(DENIED)
            self.transport.close()
            return
        keeps, said = self.parser.should_keep_alive(), answer(body)
        self.transport.write(HEAD % (b"" if keeps else b"Connection: close\r\n", len(said), said))
        if not keeps:
            self.transport.close()


async def serve() -> None:
    context = None
    if os.environ["TLS"] == "1":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
    loop = asyncio.get_running_loop()
    await loop.create_server(Connection, "127.0.0.1", int(os.environ["PORT"]), ssl=context, backlog=1024)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve())
