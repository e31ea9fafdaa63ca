"""The two halves of systemd's protocol: sockets that it passes, and what it is told.

Our own few lines rather than a library: PyInstaller's bootloader rewrites LISTEN_PID for the process it starts but not
WATCHDOG_PID, and what checks the latter stays silent until systemd kills the service.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

_FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START


def passed_sockets(environ: Mapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Give the sockets that were passed to this process, each with its name (sd_listen_fds(3)); none if there are none.

    Raises OSError if one is no socket.
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
    """Tells systemd how the service is (sd_notify(3)); without systemd it tells nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Look for the socket to tell, and for how often the watchdog wants to hear."""
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        microseconds = environ.get("WATCHDOG_USEC", "")
        self.watchdog: Final = int(microseconds) / 1e6 if microseconds.isdigit() else None
        """Seconds without a word after which systemd thinks the service is stuck; None: it does not look."""

    def tell(self, **facts: str | int) -> None:
        """Send these facts, such as READY=1. Raises nothing: a service that cannot tell goes on."""
        if self._socket is None:
            return
        message = "\n".join(f"{name}={value}" for name, value in facts.items())
        try:
            self._socket.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            return
