"""A bound for TLS records that carry no request.

TLS lets a client have keys updated (RFC 8446, 4.6.3), ask in vain for a renegotiation, and send empty or padded
records, without end. OpenSSL handles each within one read, 27 us for a KeyUpdate of 27 bytes, and does not report it.
What can be measured is how many bytes the kernel has received and how many bytes of plaintext they held.

The receive buffer bounds what one read returns, and so the time that a client takes in one turn of the loop. A client
that has sent ALLOWANCE bytes more than RATIO times its plaintext is dropped: at the sweep each second, and as soon as
the loop is late. A record has at most 22 bytes around it with TLS 1.3, and 29 with 1.2: a request of 600 bytes that
arrive in a record each is served, and so is, for any length of time, what arrives in records of ten bytes.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

RECEIVE_BUFFER: Final = 4 * 1024
"""SO_RCVBUF of a connection, and so what one read returns at most; Linux doubles it for its own bookkeeping.

Measured with 20 connections that flood with KeyUpdates, on a busy machine: p99 of a good client 0.35 and 0.6 s with 4
KiB, 1.5 and 1.2 s with 8.
"""
BODY_BUFFER: Final = 32 * 1024
"""What it becomes when a body is larger than that: 256 KiB would take 64 round trips."""
READ_AHEAD: Final = 32 * 1024
"""Bytes of TLS that may wait for a connection whose reading is paused. A record, 16 KiB and its frame, must fit in."""

ALLOWANCE: Final = 17 * 1024
"""More than a record of full size, whose plaintext counts only when its last byte has arrived."""
RATIO: Final = 4

# struct tcp_info of linux/tcp.h: tcpi_bytes_received has been there since Linux 4.1.
_OFFSET: Final = 128
_SIZE: Final = _OFFSET + 8


class InputMeter:
    """Counts the bytes read from a TCP socket, and sizes its receive buffer."""

    __slots__ = ("_enlarged", "_sock", "_start")

    def __init__(self, sock: socket.socket) -> None:
        """Count nothing yet."""
        self._sock = sock
        self._start: int | None = None
        self._enlarged = False

    def begin(self) -> None:
        """Count from now on: the handshake is over."""
        self._start = self._received()

    def exceeds(self, plaintext: int) -> bool:
        """Return whether far more has been read than the `plaintext` bytes that it held."""
        if self._start is None:
            return False
        limit = self._start + ALLOWANCE + RATIO * plaintext
        received = self._received()
        return received > limit and received - self._unread() > limit

    def enlarge_buffer(self) -> None:
        """Make room for a large body."""
        if not self._enlarged:
            self._enlarged = True
            with suppress(OSError):  # the client has reset the connection, and the loop has not said so yet
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BODY_BUFFER)

    def _received(self) -> int:
        """Return how many bytes the kernel has received; 0 where it does not count: a Unix socket, or a closed one."""
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
        except OSError:
            return 0
        return int(struct.unpack_from("=Q", info, _OFFSET)[0]) if len(info) == _SIZE else 0

    def _unread(self) -> int:
        """Return how many of them have not been read yet."""
        unread = array.array("i", [0])
        fcntl.ioctl(self._sock, termios.FIONREAD, unread)
        return unread[0]
