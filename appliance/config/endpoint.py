"""Where a socket listens, and the parser of it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.config.values import InvalidValueError

_ENDPOINT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(0|[1-9][0-9]{0,4})")
_UNIX_PATH_BYTES: Final = 107  # sockaddr_un.sun_path holds 108 with the final zero


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a socket listens: an IP address and port (0: any free one), or the absolute path of a Unix socket."""

    host: str
    port: int
    unix: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.unix is not None or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(value: object) -> Endpoint:
    """Parse "ADDR:PORT", "[ADDR6]:PORT" or "unix:/path"."""
    if isinstance(value, str) and value.startswith("unix:"):
        unix = value.removeprefix("unix:")
        if not unix.startswith("/") or "\0" in unix or len(unix.encode("utf-8", "replace")) > _UNIX_PATH_BYTES:
            raise InvalidValueError(
                f"must be an absolute path of at most {_UNIX_PATH_BYTES} bytes", 'write "unix:/run/name.sock"'
            )
        return Endpoint("", 0, Path(unix))
    match = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        host = match[1] or match[2]
        if ipaddress.ip_address(host).version != (6 if match[1] else 4) or int(match[3]) > 65535:
            raise ValueError
    except ValueError:
        hint = 'write "0.0.0.0:443", "[::]:443" or "unix:/path"; localhost is "127.0.0.1"'
        raise InvalidValueError("must be an IP address and a port", hint) from None
    return Endpoint(host, int(match[3]))


def parse_local_endpoint(value: object) -> Endpoint:
    """Parse an endpoint that only this machine can reach."""
    endpoint = parse_endpoint(value)
    if not endpoint.is_local:
        raise InvalidValueError("must be a loopback address or Unix socket", 'write "127.0.0.1:9180" or "unix:/path"')
    return endpoint
