"""The two halves of systemd's protocol: the sockets that it passes, and the notifications to it.

Without a library: PyInstaller's bootloader rewrites LISTEN_PID for the process that it starts, but not WATCHDOG_PID,
and a library that checks the latter sends nothing, until systemd kills the service.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START


def passed_sockets(environ: Mapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Return the sockets that were passed to this process, each with its name (sd_listen_fds(3)).

    Raises OSError if one is not a socket.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    number = int(environ.get("LISTEN_FDS", "0"))
    names = environ.get("LISTEN_FDNAMES", "").split(":") + [""] * number
    sockets = []
    for descriptor, name in zip(range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + number), names, strict=False):
        os.set_inheritable(descriptor, False)
        opened = socket.socket(fileno=descriptor)
        opened.setblocking(False)
        sockets.append((name, opened))
    return sockets


class Notifier:
    """Tells systemd the state of the service (sd_notify(3)). Without systemd it does nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read the address of systemd's socket and the watchdog's interval."""
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        microseconds = environ.get("WATCHDOG_USEC", "")
        self.watchdog: Final = int(microseconds) / 1e6 if microseconds.isdigit() else None
        """Seconds without WATCHDOG=1 after which systemd kills the service; None if it has no watchdog."""

    def notify_reloading(self) -> None:
        """Say that a reload begins; READY=1 says that it has ended."""
        self.notify(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def notify(self, **fields: str | int) -> None:
        """Send these fields, such as READY=1. Raises nothing: the service does not depend on it."""
        if self._socket is None:
            return
        message = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            self._socket.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            return
