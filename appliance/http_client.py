"""What clients of a service share: how a URL is read, a total deadline for an answer, and why there was none.

One row of the table below serves both: `sidebard replay` counts failures by their `kind`, `sidebard check --self` says
in a sentence `what` happened; both say what to do about it (`hint`).
"""

from __future__ import annotations

import errno
import http.client
import io
import math
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from appliance.errors import SidebardError

TIMEOUT: Final = 10.0
"""Seconds to wait for a connection or an answer: no agent waits for longer."""

MAX_RESPONSE: Final = 4 * 1024 * 1024
"""Bytes of a response body; a larger one could fill the memory."""


class UrlError(ValueError):
    """It is not the URL of a service; the text says what one looks like."""


class UnreachableError(SidebardError):
    """There is no answer; the text is a sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Url:
    """The URL of a service."""

    text: str  # without the path
    is_secure: bool
    host: str
    port: int
    authority: str  # for the Host header
    path: str  # with the query; "" if there is none


def parse_url(text: str) -> Url:
    """Parse an absolute URL. Raises UrlError."""
    wrong = UrlError("must be a URL such as https://support.example.com/helpscout")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # such as a port that is not a number
        raise wrong from None
    usable = text.isascii() and text.isprintable() and " " not in text
    if not usable or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise wrong
    is_secure = parts.scheme == "https"
    return Url(
        text=f"{parts.scheme}://{parts.netloc}",
        is_secure=is_secure,
        host=parts.hostname,
        port=port or (443 if is_secure else 80),
        authority=parts.netloc,
        path=(parts.path or ("/" if parts.query else "")) + (f"?{parts.query}" if parts.query else ""),
    )


class TimedConnection(http.client.HTTPConnection):
    """A connection on which an exchange has a total deadline, from connecting to the last byte of the answer.

    The timeout of a socket is for each read: a server that sends a byte every few seconds never reaches it.
    """

    def __init__(
        self, host: str, port: int, trust: ssl.SSLContext | None, *, connect_to: tuple[str, int] | None = None
    ) -> None:
        """`trust` is for TLS, None for plain HTTP. `connect_to` is another host and port than the URL's."""
        self.default_port = 80 if trust is None else 443
        super().__init__(host, port)
        self._trust = trust
        self._connect_to = connect_to or (host, port)
        self._ends = math.inf
        self.tls: ssl.SSLSocket | None = None
        """The socket below, while it is connected by TLS."""

    def begin(self, seconds: float) -> None:
        """Begin an exchange, which is to be over in so many seconds: after that everything raises TimeoutError."""
        self._ends = time.monotonic() + seconds

    def connect(self) -> None:
        """Connect, and shake hands. Raises OSError."""
        connected = self._connect()
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._trust is not None:
                connected.settimeout(self._left())
                connected = self.tls = self._trust.wrap_socket(connected, server_hostname=self.host)
        except BaseException:
            connected.close()
            raise
        self.sock = _TimedSocket(connected, self._left)

    def close(self) -> None:
        """Close the connection."""
        self.tls = None
        super().close()

    def _connect(self) -> socket.socket:
        """Connect to the first address that answers; each gets an equal share of the time that is left."""
        found = socket.getaddrinfo(*self._connect_to, type=socket.SOCK_STREAM)
        error: OSError = socket.gaierror(socket.EAI_NODATA, "no address")
        for tried, (family, kind, protocol, _name, address) in enumerate(found):
            connecting = socket.socket(family, kind, protocol)
            try:
                connecting.settimeout(self._left() / (len(found) - tried))
                connecting.connect(address)
            except OSError as failed:
                connecting.close()
                error = failed
            else:
                return connecting
        raise error

    def _left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError if there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _TimedSocket:
    """What http.client uses of a socket, with the time that is left as the timeout of each call."""

    def __init__(self, connected: socket.socket, left: Callable[[], float]) -> None:
        self._connected, self._left = connected, left

    def sendall(self, data: Any) -> None:
        self._connected.settimeout(self._left())
        self._connected.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connected, self._left))

    def close(self) -> None:
        self._connected.close()


class _TimedReader(io.RawIOBase):
    """The reading side; like the socket's own it stays usable after the socket was closed, until it is closed too."""

    def __init__(self, connected: socket.socket, left: Callable[[], float]) -> None:
        self._connected, self._left = connected, left
        self._raw = connected.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connected.settimeout(self._left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class Failure(NamedTuple):
    """Why there was no answer."""

    kind: str  # a few words, to count it by
    what: str  # the same as a clause
    hint: str  # what to do about it

    @property
    def sentence(self) -> str:
        """What happened and what to do."""
        return f"{self.what}; {self.hint}"


_USE_CA: Final = "pass its authority's certificate with --ca, or skip verification with --insecure"
_NOT_TRUSTED: Final = "certificate not trusted"
_OTHER_NAME: Final = "certificate for another name"

NO_SUCH_NAME: Final = Failure("no such name", "this name has no address", "correct the URL, or the DNS")
OTHER_ADDRESS: Final = Failure(
    _OTHER_NAME, "the certificate is not for this IP address", "use a name from the certificate in the URL"
)
OTHER_NAME: Final = Failure(
    _OTHER_NAME,
    "the certificate is for other names",
    "issue it for the name in the URL, or correct the URL",
)
EXPIRED: Final = Failure(
    "certificate expired",
    "the certificate, or one of its chain, has expired",
    "renew it, or use the chain that the authority issues today",
)
NOT_TRUSTED: Final = Failure(_NOT_TRUSTED, "the certificate is not accepted", _USE_CA)
NO_TLS: Final = Failure(
    "no TLS there", "what listens there does not speak TLS", "correct the port, or begin the URL with http://"
)
NOT_HTTP: Final = Failure(
    "what came is not HTTP",
    "what listens there does not speak HTTP",
    "correct the port, or begin the URL with https://",
)
CLOSED: Final = Failure(
    "closed without an answer",
    "the connection was closed without an answer",
    "correct http:// or https://, or look at the service's log",
)
NO_ANSWER: Final = Failure(
    f"no answer in {TIMEOUT:.0f} s",
    f"no answer within {TIMEOUT:.0f} seconds",
    "look for a firewall, and at the service's log",
)
TOO_LONG: Final = Failure(
    "an answer over 4 MiB", "the answer is over 4 MiB", "check the URL: this is not sidebard's answer"
)

# OpenSSL's X509_V_ERR_ numbers (x509_vfy.h).
_BY_VERIFY_CODE: Final = {
    9: Failure("certificate not valid yet", "the certificate is not valid yet", "check the clocks, here and there"),
    10: EXPIRED,
    18: Failure(
        _NOT_TRUSTED,
        "the certificate is self-signed, so Help Scout does not accept it",
        "get one from a public authority, or pass it with --ca to test the rest",
    ),
    19: Failure(
        _NOT_TRUSTED,
        "the certificate comes from an authority that this machine does not know",
        "pass the authority's certificate with --ca",
    ),
    20: Failure(
        _NOT_TRUSTED,
        "the certificate chain is incomplete, or comes from an authority that this machine does not know",
        "use the full chain, or pass the authority's certificate with --ca",
    ),
    21: Failure(
        _NOT_TRUSTED, "the certificate chain is incomplete, so Help Scout does not accept it", "use the full chain"
    ),
    62: OTHER_NAME,
    64: OTHER_ADDRESS,
}
_NO_TLS_REASONS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_REFUSED: Final = Failure("refused", "nothing listens there", "start the service, or correct the port")
_RESET: Final = Failure("reset", "the connection was reset", CLOSED.hint)
_NO_DESCRIPTOR: Final = Failure(
    "no descriptor left here", "this machine has no descriptor left", "raise ulimit -n, or use fewer connections"
)
_BY_ERRNO: Final = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ECONNRESET: _RESET,
    errno.EPIPE: _RESET,
    errno.EMFILE: _NO_DESCRIPTOR,
    errno.ENFILE: _NO_DESCRIPTOR,
    errno.EADDRNOTAVAIL: Failure(
        "no port left here", "this machine has no port left", "keep connections open, or use a lower rate"
    ),
}


_BY_TYPE: Final[tuple[tuple[type[BaseException], Failure], ...]] = (
    (TimeoutError, NO_ANSWER),
    (socket.gaierror, NO_SUCH_NAME),
)


def explain(error: BaseException | None) -> Failure:
    """Return why a connection failed; None stands for one that the other side closed in good order."""
    if error is None:
        return CLOSED
    for kind, failure in _BY_TYPE:
        if isinstance(error, kind):
            return failure
    return _explain_tls(error) if isinstance(error, ssl.SSLError) else _explain_other(error)


def _explain_tls(error: ssl.SSLError) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        message = getattr(error, "verify_message", "") or "unknown reason"
        general = NOT_TRUSTED._replace(what=f"{NOT_TRUSTED.what} ({message})")
        return _BY_VERIFY_CODE.get(getattr(error, "verify_code", 0), general)
    if error.reason == "UNEXPECTED_EOF_WHILE_READING":
        return CLOSED
    if error.reason in _NO_TLS_REASONS:
        return NO_TLS
    return Failure(f"TLS: {error.reason}", f"the TLS handshake failed ({error.reason})", "is sidebard listening there?")


def _explain_other(error: BaseException) -> Failure:
    number = error.errno if isinstance(error, OSError) else None
    known = _BY_ERRNO.get(number or 0)
    if known is not None:
        return known
    name = errno.errorcode.get(number or 0, type(error).__name__)
    if isinstance(error, ConnectionError):  # http.client.RemoteDisconnected, too
        return CLOSED._replace(kind=name)
    if isinstance(error, http.client.HTTPException):
        return NOT_HTTP
    return Failure(name, f"cannot be reached: {error}", "correct the URL, or check the network")


HINTS: Final = {
    failure.kind: failure.hint
    for failure in (
        *_BY_VERIFY_CODE.values(),
        *_BY_ERRNO.values(),
        *(NO_SUCH_NAME, OTHER_NAME, EXPIRED, NOT_TRUSTED, NO_TLS, NOT_HTTP, CLOSED, NO_ANSWER, TOO_LONG),
    )
}
"""Kind -> what to do, for a number of failures of one kind; of several rows the last, which is the general one."""
