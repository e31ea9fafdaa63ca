"""A bound for TLS records that carry no request.

TLS lets a client have keys updated (RFC 8446, 4.6.3), ask in vain for a renegotiation, and send empty or padded
records, without end. OpenSSL handles all that it is given within one read, 27 us for a KeyUpdate of 27 bytes, and does
not report it. What can be measured is how many bytes went in and how many bytes of plaintext came out.

How much OpenSSL is given in one turn of the loop bounds the time that a client takes from the others: READ_SIZE. A
client that has sent ALLOWANCE bytes more than RATIO times its plaintext is dropped at once; plaintext of before earns
nothing, for anybody may send a large body that will be refused. A record has at most 22
bytes around it with TLS 1.3, and 29 with 1.2: a request of 600 bytes that arrive in a record each is served, and so is,
for any length of time, what arrives in records of ten bytes.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

READ_SIZE: Final = 4 * 1024
"""What one read returns at most, and so SO_RCVBUF of a connection; Linux doubles it for its own bookkeeping.

Measured with 20 connections that flood with KeyUpdates, on a busy machine: p99 of a good client 0.35 and 0.6 s with 4
KiB, 1.5 and 1.2 s with 8.
"""
BODY_BUFFER: Final = 32 * 1024
"""What SO_RCVBUF becomes when a body is larger than that: 256 KiB would take 64 round trips."""

ALLOWANCE: Final = 17 * 1024
"""More than a record of full size, whose plaintext counts only when its last byte has arrived."""
RATIO: Final = 4


class ReceiveBuffer:
    """What the kernel keeps for a connection until it is read."""

    __slots__ = ("_enlarged", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        """Leave it as the listening socket has set it."""
        self._sock = sock
        self._enlarged = False

    def enlarge(self) -> None:
        """Make room for a large body."""
        if not self._enlarged:
            self._enlarged = True
            with suppress(OSError):  # the client has reset the connection, and the loop has not said so yet
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BODY_BUFFER)
