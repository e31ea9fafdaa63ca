"""Whether the service can listen where it should, or already does. What is in use is left alone."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from appliance.bootstrap.sockets import bind_hint
from appliance.checks.context import CheckContext, existing
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.checks.registry import check
from appliance.checks.units import failed_units
from appliance.config.endpoint import Endpoint
from appliance.system.frozen import GONE_TODO, emptied_folder

_LISTENS: Final = "0A"
SIDEBARD: Final = "sidebard"
_OURS: Final = frozenset({SIDEBARD, "systemd"})
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: process, user, group (unix(7), SO_PEERCRED)


class Listener(NamedTuple):
    """A listening TCP socket of this machine."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    inode: str


@check("sockets", as_root=True)
def sockets(context: CheckContext) -> Iterator[Finding]:
    """Each address is free, or in use by sidebard or systemd, and then left alone.

    No systemd unit has failed, and the files that a running service unpacked are still there.
    """
    wanted = [(endpoint, "server.listen") for endpoint in context.settings.server.listen]
    if context.settings.admin.listen is not None:
        wanted.append((context.settings.admin.listen, "admin.listen"))
    for endpoint, key in wanted:
        yield _unix(endpoint, endpoint.unix, key) if endpoint.unix is not None else _tcp(endpoint, key)
    yield from _emptied()
    yield from failed_units(context.environ)


def _tcp(endpoint: Endpoint, key: str) -> Finding:
    held = [each for each in listeners() if endpoint.port == each.port and overlap(endpoint.host, each.address)]
    if held:
        return judge_held(endpoint, key, _holders({each.inode for each in held}))
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((endpoint.host, endpoint.port))
    except PermissionError:
        return not_checked(f"{endpoint}: {bind_hint(PermissionError(), key)}; this user cannot try it")
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        return fault(f"{endpoint}: cannot listen: {reason}; {bind_hint(error, key)}")
    return ok(f"{endpoint} is free")


def _emptied() -> Iterator[Finding]:
    """Say of each service that runs here whether what its executable has unpacked was removed."""
    processes = [int(process) for process in os.listdir("/proc") if process.isdigit()]
    found = {emptied_folder(process) for process in processes if _name_of(process) == SIDEBARD}
    for folder in sorted(found - {""}):
        yield warning(
            f"{folder}: what the running service has unpacked there was removed; it continues to run; {GONE_TODO}"
        )


def _unix(endpoint: Endpoint, file: Path, key: str) -> Finding:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        with suppress(OSError):
            probe.connect(str(file))
            packed = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            process, _user, _group = _CREDENTIALS.unpack(packed)
            return judge_held(endpoint, key, {_name_of(process)} - {""})
    folder = existing(file.parent)
    if folder != file.parent:
        return fault(f"{endpoint}: the folder {file.parent} does not exist; create it, or choose another in {key}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return not_checked(f"{endpoint}: this user cannot write to {folder}, so it cannot be tried")
    return ok(f"{endpoint} is free")


def judge_held(endpoint: Endpoint, key: str, holders: set[str]) -> Finding:
    """Return the finding for an address that is in use by processes of these names."""
    if holders & _OURS:
        return ok(f"{endpoint} is in use by {' and '.join(sorted(holders & _OURS))}")
    if holders:
        return fault(
            f"{endpoint} is in use by {', '.join(sorted(holders))}; stop it, or choose another address in {key}"
        )
    return not_checked(f"{endpoint} is in use by a process of another user; run this as root to see which")


def listeners() -> Iterator[Listener]:
    """Yield the listening TCP sockets (proc_pid_net(5)); /proc/self, because a unit may hide the rest of /proc."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/self/net/{name}") as table:
            for row in list(table)[1:]:
                fields = row.split()
                if fields[3] == _LISTENS:
                    address, _, port = fields[1].partition(":")
                    # Words of 32 bits in the byte order of the machine.
                    packed = b"".join(
                        struct.pack("=I", int(address[at : at + 8], 16)) for at in range(0, len(address), 8)
                    )
                    yield Listener(ipaddress.ip_address(packed), int(port, 16), fields[9])


def overlap(host: str, held: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether a listener on `held` prevents one on `host`; [::] may cover IPv4 as well."""
    wanted = ipaddress.ip_address(host)
    if wanted.version != held.version:
        return held.is_unspecified and held.version == 6
    return wanted == held or wanted.is_unspecified or held.is_unspecified


def _holders(inodes: set[str]) -> set[str]:
    """Return the names of the processes that have these sockets open, as far as this user may see them."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    names = set()
    for process in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # another user's, or gone
            if _has_one(f"/proc/{process}/fd", wanted):
                names.add(_name_of(int(process)))
    return names - {""}


def _has_one(folder: str, wanted: set[str]) -> bool:
    for descriptor in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed since: a busy worker has many that come and go
            if os.readlink(f"{folder}/{descriptor}") in wanted:
                return True
    return False


def _name_of(process: int) -> str:
    """Return the name of a process; "" if this user may not know it. `python -m appliance` is sidebard too."""
    with suppress(OSError):
        if process == 1:
            return Path("/proc/1/comm").read_text().strip()
        words = [os.path.basename(word) for word in Path(f"/proc/{process}/cmdline").read_text().split("\0")]
        if "sidebard" in words[:3] or "appliance" in words:
            return SIDEBARD
        return words[0]
    return ""
