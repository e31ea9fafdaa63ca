"""The listening sockets: passed by systemd, or opened here; made once and kept for the life of the service."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tornado.netutil import bind_unix_socket

from appliance.config.endpoint import Endpoint
from appliance.config.schema import Settings
from appliance.errors import StartError
from appliance.observe.logs import log
from appliance.system.systemd import passed_sockets

_BACKLOG: Final = 1024
_ADMIN: Final = "admin"  # FileDescriptorName= in a socket unit; any other name is the public port
_NOT_SERVED: Final = "http"


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is listened on, for the public and for the admin pages."""

    public: tuple[socket.socket, ...]
    admin: tuple[socket.socket, ...]

    def close(self) -> None:
        """Close this process's hold on all of them."""
        for opened in (*self.public, *self.admin):
            opened.close()


def open_sockets(settings: Settings, environ: Mapping[str, str]) -> Sockets:
    """Take what systemd passed, and open what it did not. Raises StartError."""
    passed = _passed(settings, environ)
    public = [one for name, one in passed if name not in (_ADMIN, _NOT_SERVED)]
    admin = [one for name, one in passed if name == _ADMIN]
    for name, one in passed:
        if name == _NOT_SERVED:
            log.warning("socket_not_served", name=name, todo="leave its socket unit out")
            one.close()
    try:
        if not public:
            public = _bind(settings.server.listen, "server.listen", 0o660)
        if not admin and settings.admin.listen is not None:
            admin = _bind_admin(settings, settings.admin.listen)
    except StartError:
        for one in public:
            one.close()
        raise
    return Sockets(tuple(public), tuple(admin))


def _bind_admin(settings: Settings, endpoint: Endpoint) -> list[socket.socket]:
    """Open the sockets of the admin pages. Raises StartError, except without a config: there is no key to change."""
    try:
        return _bind([endpoint], "admin.listen", 0o600)
    except StartError as fault:
        if settings.file is not None:
            raise
        log.warning("admin_pages_off", why=str(fault))
        return []


def address_of(listening: socket.socket) -> str:
    """Give where a socket listens, in words."""
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"unix:{name}"


def _passed(settings: Settings, environ: Mapping[str, str]) -> list[tuple[str, socket.socket]]:
    try:
        passed = passed_sockets(environ)
        listening = [one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for _, one in passed]
    except (OSError, ValueError) as error:
        raise StartError(f"what systemd passed cannot be listened on: {error}; look at the socket unit") from None
    for (name, one), listens in zip(passed, listening, strict=True):
        if not listens:
            raise StartError(
                f"the socket {name!r} that systemd passed does not listen; write ListenStream= in its unit"
            )
        # The config's own check looks at server.listen, which is not used then.
        if (name == _ADMIN or not settings.tls.enabled) and not is_local(one):
            why = "the admin pages have no password" if name == _ADMIN else "tls.enabled is false"
            raise StartError(f"{address_of(one)}, from systemd, can be reached from outside, and {why}")
    return passed


def is_local(listening: socket.socket) -> bool:
    """Whether only this machine can reach a socket: then all its clients may have one address."""
    name = listening.getsockname()
    return not isinstance(name, tuple) or ipaddress.ip_address(name[0].partition("%")[0]).is_loopback


def _bind(endpoints: Sequence[Endpoint], key: str, mode: int) -> list[socket.socket]:
    """Open the sockets of `endpoints`, which the setting `key` names. Raises StartError."""
    sockets: list[socket.socket] = []
    for endpoint in endpoints:
        try:
            if endpoint.unix is not None:
                sockets.append(_bind_unix(endpoint.unix, mode))
            else:
                sockets.append(_bind_tcp(endpoint))
        except OSError as error:
            for opened in sockets:
                opened.close()
            why = os.strerror(error.errno or 0)
            raise StartError(f"{endpoint}: cannot listen there: {why}; {todo_for(error, key)}") from None
    return sockets


def _bind_tcp(endpoint: Endpoint) -> socket.socket:
    # Tornado's bind_sockets leaves the socket open where the address is in use.
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listening = socket.create_server((endpoint.host, endpoint.port), family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    return listening


def _bind_unix(file: Path, mode: int) -> socket.socket:
    # Tornado takes the place of any socket file; one that somebody still listens on is in use, as a port would be.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        _refused_by_nobody(lambda: probe.connect(str(file)))
    return bind_unix_socket(str(file), mode=mode, backlog=_BACKLOG)


def _refused_by_nobody(connect: Callable[[], None]) -> None:
    try:
        connect()
    except OSError:
        return
    raise OSError(98, os.strerror(98))  # EADDRINUSE


def todo_for(error: OSError, key: str) -> str:
    """Say what to do when an address that the setting `key` names cannot be listened on."""
    if isinstance(error, PermissionError):
        return "ports below 1024 need systemd's socket, or root"
    return f"choose another with {key}, or stop what is listening"
