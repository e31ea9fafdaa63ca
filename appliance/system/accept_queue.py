"""Keeps new clients off a listening socket while those whose connection is established can still be accepted.

The kernel establishes connections by itself and keeps them until accept(). It resets those that are left when the
socket is closed, and a client that is reset after connecting has lost its request: no balancer tries elsewhere then.
One that cannot connect loses nothing. So before the last accept() and close(), the socket asks for packets that nobody
sends: whose time to live, which begins at 64 or 128 nearly everywhere, is still 255 (IP_MINTTL, RFC 5082). What would
begin a connection is dropped. The client repeats it after a second, and is then refused, for the socket is closed.

A handshake that had begun still ends in a connection to accept. Its client takes itself for connected before that, by a
round trip, or as long as its kernel holds the last acknowledgement back to send it with data (TCP_QUICKACK: 0.2 s). So
the socket may not be closed as long as a handshake is under way.

A filter of packets (SO_ATTACH_FILTER) would do the same, but not every kernel lets every user attach one.
"""

from __future__ import annotations

import contextlib
import re
import socket
from pathlib import Path
from typing import Final

_IP_MINTTL: Final = (socket.IPPROTO_IP, 21)  # linux/in.h; Python has no name for it
_IPV6_MINHOPCOUNT: Final = (socket.IPPROTO_IPV6, 73)  # linux/in6.h
_MINIMUM: Final = {socket.AF_INET: (_IP_MINTTL,), socket.AF_INET6: (_IP_MINTTL, _IPV6_MINHOPCOUNT)}
"""Family of a socket -> its options; one for IPv6 may have clients that use IPv4."""

_MOST: Final = 255
_TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))


def refuse_new(listening: socket.socket) -> None:
    """Let no new client connect to a listening socket of TCP or Unix, in whichever processes it is open."""
    if listening.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):  # it does not listen any more
            listening.shutdown(socket.SHUT_RD)  # connect() is refused; accept() still returns who is waiting
    else:
        _require(listening, _MOST)


def receive_again(sock: socket.socket) -> None:
    """Let a connection receive what its client sends: it inherits `refuse_new` if its handshake ended afterwards."""
    _require(sock, 0)


def has_handshakes(listening: socket.socket) -> bool:
    """Return whether clients of a socket that refuses new ones are still in TCP's handshake; False if it refuses none.

    Once it returns False, who has connected can be accepted, and the socket be closed without a loss.
    """
    if not any(_required(listening, *option) for option in _MINIMUM.get(listening.family, ())):
        return False
    handshake = re.compile(rb":%04X [0-9A-F]+:[0-9A-F]{4} 03 " % listening.getsockname()[1])  # 03: TCP_SYN_RECV
    return any(handshake.search(_read(table)) for table in _TABLES)


def _read(table: Path) -> bytes:
    try:
        return table.read_bytes()
    except OSError:  # a kernel without IPv6
        return b""


def _required(sock: socket.socket, level: int, option: int) -> bool:
    try:
        return sock.getsockopt(level, option) == _MOST
    except OSError:  # a kernel that lacks it
        return False


def _require(sock: socket.socket, hops: int) -> None:
    for level, option in _MINIMUM.get(sock.family, ()):
        with contextlib.suppress(OSError):  # a kernel that lacks it
            sock.setsockopt(level, option, hops)
