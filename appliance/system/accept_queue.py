"""Keeps new clients off a listening socket while those whose connection is established can still be accepted.

The kernel establishes connections by itself and keeps them until accept(). It resets those that are left when the
socket is closed, and a client that is reset after connecting has lost its request: no balancer tries elsewhere then.
One that cannot connect loses nothing. So before the last accept() and close(), a filter drops what would begin a
connection. The client repeats it after a second, and is then refused, for the socket is closed.
"""

from __future__ import annotations

import array
import contextlib
import socket
import struct
from typing import Final

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; Python has no name for it
_SYN_OR_ACK: Final = 0x12
_SYN: Final = 0x02
# Classic BPF over the TCP header (linux/filter.h): code, jump if true, jump if false, constant.
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, _SYN_OR_ACK),  # and
    (0x15, 0, 1, _SYN),  # equal?
    (0x06, 0, 0, 0),  # keep none of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
)


def refuse_new(listening: socket.socket) -> None:
    """Let no new client connect to a listening socket of TCP or Unix, in whichever processes it is open."""
    with contextlib.suppress(OSError):  # a kernel without filters: clients are lost only at the very moment of close()
        if listening.family == socket.AF_UNIX:
            listening.shutdown(socket.SHUT_RD)  # connect() is refused; accept() still returns who is waiting
        else:
            program = array.array("B", b"".join(struct.pack("=HBBI", *step) for step in _DROP_SYN))
            address, _ = program.buffer_info()
            listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_DROP_SYN), address))
