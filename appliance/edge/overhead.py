"""What a TLS client sends below HTTP: a bound for records that carry no request.

TLS lets a client have keys updated (RFC 8446, 4.6.3), ask in vain for a renegotiation, and send empty or padded
records, without end. OpenSSL answers each within one read, 27 us for a KeyUpdate of 27 bytes, and says nothing of it.
What can be told is how many bytes the kernel has received and how many of plaintext came out of them.

The receive buffer bounds what one read brings, and so the time that a client takes in one turn of the loop. Whoever has
sent ALLOWANCE bytes more than RATIO times what it has said is dropped: at the sweep each second, and as soon as the
loop is late. A record has at most 22 bytes around it with TLS 1.3, and 29 with 1.2: a request of 600 bytes that come in
a record each is served, and what comes in records of ten bytes is served for ever.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import termios
from typing import Final

RECEIVE_BUFFER: Final = 4 * 1024
"""SO_RCVBUF of a connection, and so what one read brings at most; Linux doubles it for its own bookkeeping.

Measured with 20 connections that flood with KeyUpdates, on a busy machine: p99 of a good client 0.35 and 0.6 s with 4
KiB, 1.5 and 1.2 s with 8.
"""
BODY_BUFFER: Final = 32 * 1024
"""What it becomes when a body is larger than that: 256 KiB would take 64 round trips."""

ALLOWANCE: Final = 17 * 1024
"""More than a record of full size, which counts as unsaid until its last byte has come."""
RATIO: Final = 4

# struct tcp_info of linux/tcp.h: tcpi_bytes_received has been there since Linux 4.1.
_OFFSET: Final = 128
_SIZE: Final = _OFFSET + 8


class Received:
    """How much has been read from a TCP connection since this was made."""

    __slots__ = ("_before", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._before = self._count()

    def exceeds(self, said: int) -> bool:
        """Return whether it is far more than the `said` bytes of plaintext that came out of it."""
        limit = self._before + ALLOWANCE + RATIO * said
        received = self._count()
        return received > limit and received - self._waiting() > limit

    def _count(self) -> int:
        """Return how many bytes the kernel has received; 0 where nobody counts: a Unix socket, or a closed one."""
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
        except OSError:
            return 0
        return int(struct.unpack_from("=Q", info, _OFFSET)[0]) if len(info) == _SIZE else 0

    def _waiting(self) -> int:
        """Return how many of them nobody has read yet."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._sock, termios.FIONREAD, waiting)
        return waiting[0]
