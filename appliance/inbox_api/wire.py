"""One HTTPS connection to the Inbox API, which blocks: it is for a process of its own (process.py).

The certificate is always verified. No redirect is followed, so the token goes to no other host. A response is read up
to MAX_RESPONSE bytes.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  # for names of hosts; imported late, it could be gone with an unpacked executable
import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from appliance import __version__
from appliance.http_client import MAX_RESPONSE, TIMEOUT, TOO_LONG, UnreachableError, explain


class Origin(NamedTuple):
    """Where the API is. `ca` is the file of the only authority to trust, None for those of this machine."""

    host: str
    port: int = 443
    ca: Path | None = None


API: Final = Origin("api.helpscout.net")


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A request. Its fields and body hold the secret or the token, and are never shown."""

    method: str
    path: str
    fields: dict[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.method})"


class Response(msgspec.Struct, frozen=True, array_like=True):
    """A response; `fields` are those of KEPT, with names in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes


KEPT: Final = (
    "location",
    "x-ratelimit-limit-minute",
    "x-ratelimit-remaining-minute",
    "x-ratelimit-retry-after",
    "retry-after",
)


class Connection:
    """Sends requests one after the other, on one connection as long as the API keeps it open."""

    def __init__(self, origin: Origin, timeout: float = TIMEOUT) -> None:
        """`timeout` is seconds of silence. Nothing is opened before the first request."""
        self._origin = origin
        self._timeout = timeout
        self._context: ssl.SSLContext | None = None
        self._connection: http.client.HTTPSConnection | None = None

    def exchange(self, request: Request) -> Response:
        """Return the response, whatever its status. Raises UnreachableError."""
        is_kept = self._connection is not None
        try:
            try:
                return self._send(request)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not is_kept:
                    raise
                self.close()  # the API had closed it while nothing was asked
                return self._send(request)
        except UnreachableError:
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(explain(error).what.partition(", so Help Scout")[0]) from None
        except ValueError:  # its text may hold the token
            self.close()
            raise UnreachableError("the request cannot be written") from None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _send(self, request: Request) -> Response:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._origin.host, self._origin.port, timeout=self._timeout, context=self._trusting()
            )
        fields = {"User-Agent": f"sidebard/{__version__}", "Accept": "application/json", **request.fields}
        self._connection.request(request.method, request.path, request.body or None, fields)
        response = self._connection.getresponse()
        body = response.read(MAX_RESPONSE + 1)
        if len(body) > MAX_RESPONSE:
            raise UnreachableError(TOO_LONG.what)
        if response.will_close:
            self.close()
        found = {name: value for name in KEPT if (value := response.headers.get(name)) is not None}
        return Response(response.status, found, body)

    def _trusting(self) -> ssl.SSLContext:
        if self._context is None:
            ca = self._origin.ca
            self._context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._context
