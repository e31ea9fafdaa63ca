"""ClientHellos, as Python's own client sends them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence


def hello(name: str | None = "sidebar.example.com", protocols: Sequence[str] = ()) -> bytes:
    """Return the record with which a client begins."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname=name).do_handshake()
    return sent.read()


def with_extensions(record: bytes, *extensions: bytes) -> bytes:
    """Return a ClientHello whose extensions are these."""
    at = 5 + 4 + 2 + 32
    at += 1 + record[at]
    at += 2 + int.from_bytes(record[at : at + 2], "big")
    at += 1 + record[at]
    rest = b"".join(extensions)
    body = record[9:at] + len(rest).to_bytes(2, "big") + rest
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return record[:3] + len(message).to_bytes(2, "big") + message


def extension(number: int, body: bytes) -> bytes:
    """Return an extension."""
    return number.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def names(*items: tuple[int, bytes]) -> bytes:
    """Return the extension that names servers: each with its type."""
    listed = b"".join(bytes([kind]) + len(name).to_bytes(2, "big") + name for kind, name in items)
    return extension(0, len(listed).to_bytes(2, "big") + listed)


def protocols(*items: bytes) -> bytes:
    """Return the extension that lists protocols."""
    listed = b"".join(bytes([len(item)]) + item for item in items)
    return extension(16, len(listed).to_bytes(2, "big") + listed)
