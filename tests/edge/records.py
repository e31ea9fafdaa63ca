"""TLS 1.3 records that no library sends: made by hand with the keys that Python's ssl tells (RFC 8446, 5 and 7)."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HANDSHAKE, APPLICATION = 22, 23
KEY_UPDATE = bytes([24, 0, 0, 1, 1])  # with the wish that the other side update its own
_HASH = hashlib.sha384


class Forger:
    """The client's side of a connection on which nothing has been sent yet."""

    def __init__(self, connection: ssl.SSLSocket, keys: Path) -> None:
        """`keys` is the context's keylog_filename."""
        assert connection.cipher()[0] == "TLS_AES_256_GCM_SHA384"  # type: ignore[index]
        lines = [line.split() for line in keys.read_text().splitlines()]
        [*_, secret] = [words[2] for words in lines if words[0] == "CLIENT_TRAFFIC_SECRET_0"]
        self._sock = connection
        self._use(bytes.fromhex(secret))

    def record(self, kind: int, content: bytes) -> bytes:
        """Return the next record; after a key update the keys are the next ones."""
        nonce = (int.from_bytes(self._iv, "big") ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        head = struct.pack(">BHH", APPLICATION, 0x0303, len(content) + 1 + 16)
        sealed = head + self._key.encrypt(nonce, content + bytes([kind]), head)
        if content == KEY_UPDATE:
            self._use(self._expand(b"traffic upd", _HASH().digest_size))
        return sealed

    def send(self, raw: bytes) -> None:
        """Send records, below Python's ssl."""
        while raw:
            raw = raw[socket.socket.send(self._sock, raw) :]

    def _use(self, secret: bytes) -> None:
        self._secret, self._sequence = secret, 0
        self._key, self._iv = AESGCM(self._expand(b"key", 32)), self._expand(b"iv", 12)

    def _expand(self, label: bytes, length: int) -> bytes:
        name = b"tls13 " + label
        info = struct.pack(">HB", length, len(name)) + name + b"\0"
        return hmac.digest(self._secret, info + b"\1", _HASH)[:length]
