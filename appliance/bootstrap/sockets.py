"""The listening sockets: passed by systemd, or opened here, once, for the life of the service."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tornado.netutil import bind_unix_socket

from appliance.config.endpoint import Endpoint
from appliance.config.schema import Settings
from appliance.errors import StartError
from appliance.observe.logs import log
from appliance.system.accept_queue import refuse_new
from appliance.system.systemd import passed_sockets

_BACKLOG: Final = 1024
_ADMIN: Final = "admin"  # FileDescriptorName= in a socket unit; any other name is the public port
_HTTP: Final = "http"


@dataclass(frozen=True, slots=True)
class Sockets:
    """The listening sockets of the public port, of the admin pages, and of plain HTTP for an authority's questions."""

    public: tuple[socket.socket, ...]
    admin: tuple[socket.socket, ...]
    http: tuple[socket.socket, ...] = ()
    opened: bool = False
    """Whether the public ones were opened here, so that they end with the service."""

    def close(self) -> None:
        """Close them in this process, for the service stops: its workers accept who has connected, and nobody else."""
        if self.opened:
            for each in self.public:
                refuse_new(each)
        for each in (*self.public, *self.admin, *self.http):
            each.close()


def open_sockets(settings: Settings, environ: Mapping[str, str]) -> Sockets:
    """Return the sockets that systemd passed; open those that it did not. Raises StartError."""
    passed = _passed(settings, environ)
    public = [one for name, one in passed if name not in (_ADMIN, _HTTP)]
    admin = [one for name, one in passed if name == _ADMIN]
    http = [one for name, one in passed if name == _HTTP]
    if not settings.acme.enabled:
        for one in http:
            log.warning("socket_not_served", name=_HTTP, todo="disable the unit of this socket, or set acme.domains")
            one.close()
        http = []
    opened = not public
    try:
        if opened:
            public = _bind(settings.server.listen, "server.listen", 0o660)
        if not admin and settings.admin.listen is not None:
            admin = _bind_admin(settings, settings.admin.listen)
        if not http and settings.acme.enabled and settings.acme.http is not None:
            http = _bind([settings.acme.http], "acme.http", 0o600)
    except StartError:
        for one in (*public, *admin):
            one.close()
        raise
    return Sockets(tuple(public), tuple(admin), tuple(http), opened)


def _bind_admin(settings: Settings, endpoint: Endpoint) -> list[socket.socket]:
    """Open the sockets of the admin pages. Raises StartError, but not without a config, where no key can be changed."""
    try:
        return _bind([endpoint], "admin.listen", 0o600)
    except StartError as fault:
        if settings.file is not None:
            raise
        log.warning("admin_pages_off", why=str(fault))
        return []


def format_address(listening: socket.socket) -> str:
    """Return the address of a listening socket, as text."""
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"unix:{name}"


def _passed(settings: Settings, environ: Mapping[str, str]) -> list[tuple[str, socket.socket]]:
    try:
        passed = passed_sockets(environ)
        listening = [one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for _, one in passed]
    except (OSError, ValueError) as error:
        raise StartError(f"the sockets that systemd passed cannot be used: {error}; correct the socket unit") from None
    for (name, one), listens in zip(passed, listening, strict=True):
        if not listens:
            raise StartError(f"the socket {name!r} that systemd passed does not listen; use ListenStream= in its unit")
        # The config's own check is of server.listen, which is not used then.
        if (name == _ADMIN or not settings.tls.enabled) and not is_local(one):
            why = "the admin pages have no password" if name == _ADMIN else "tls.enabled is false"
            raise StartError(
                f"{format_address(one)}, passed by systemd, is reachable from other machines, and {why};"
                " correct ListenStream= in its unit"
            )
    return passed


def is_local(listening: socket.socket) -> bool:
    """Return whether only this machine can reach a socket; all its clients may then have one address."""
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
            raise StartError(f"{endpoint}: cannot listen: {why}; {bind_hint(error, key)}") from None
    return sockets


def _bind_tcp(endpoint: Endpoint) -> socket.socket:
    # Tornado's bind_sockets leaves the socket open where the address is in use.
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listening = socket.create_server((endpoint.host, endpoint.port), family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    return listening


def _bind_unix(file: Path, mode: int) -> socket.socket:
    # Tornado replaces any socket file; one on which a process still listens is in use, as a port would be.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(file))
        except OSError:
            pass
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    return bind_unix_socket(str(file), mode=mode, backlog=_BACKLOG)


def bind_hint(error: OSError, key: str) -> str:
    """Return what to do if `key`, a key of the config, has an address on which nothing can listen."""
    if isinstance(error, PermissionError):
        return "ports below 1024 need a socket unit of systemd, or root"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"set {key} to an address of this machine"
    return f"set {key} to another address, or stop the process that listens there"
