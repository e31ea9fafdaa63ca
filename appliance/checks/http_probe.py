"""One signed request to a running service, as Help Scout would send it, and what its answer says."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from appliance.edge.certificate import Validity

_TIMEOUT: Final = 10.0
_MAX_ANSWER: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service is said to be. `path` is "" if the URL has none; `context` is None for plain HTTP.

    `connect` is the host and port to connect to in the place of the URL's: before the DNS has the name, say.
    """

    url: str
    host: str
    port: int
    path: str
    context: ssl.SSLContext | None
    connect: tuple[str, int]

    @property
    def where(self) -> str:
        """What is connected to, for messages."""
        host, port = self.connect
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Answer(NamedTuple):
    """What came back, after how many seconds, and when the certificate is good: None if that is not known."""

    status: int
    body: bytes
    seconds: float
    validity: Validity | None


class Unreachable(Exception):
    """No answer came; the text is a sentence that says why and what to do."""


def target_of(url: str, context: ssl.SSLContext, connect: str = "") -> Target:
    """Parse a URL, and HOST:PORT to connect to instead if given; `context` is for https.

    Raises ValueError with a sentence.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{url} is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("give the URL that Help Scout has, such as https://support.example.com/helpscout")
    is_secure = parts.scheme == "https"
    host, port = parts.hostname, port or (443 if is_secure else 80)
    there = _host_and_port(connect) if connect else (host, port)
    return Target(url, host, port, parts.path, context if is_secure else None, there)


def _host_and_port(text: str) -> tuple[str, int]:
    """Parse HOST:PORT, or [ADDRESS]:PORT. Raises ValueError with a sentence."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.netloc != text or parts.username is not None:
        raise ValueError(f"{text} is not HOST:PORT; write, for example, 127.0.0.1:8443")
    return host, port


def ask(target: Target, path: str, body: bytes, header: str, signature: bytes) -> Answer:
    """Send a message, once. Raises Unreachable."""
    connection = (
        http.client.HTTPSConnection(target.host, target.port, timeout=_TIMEOUT, context=target.context)
        if target.context
        else http.client.HTTPConnection(target.host, target.port, timeout=_TIMEOUT)
    )
    began = time.monotonic()
    try:
        connection.sock = _connect(target)
        validity = _validity(connection.sock)
        headers = {"Content-Type": "application/json", header: signature.decode("ascii")}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(_MAX_ANSWER), time.monotonic() - began, validity)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{target.where}: {_sentence(error)}") from None
    finally:
        connection.close()


def _connect(target: Target) -> socket.socket:
    """Connect to where the target says, and shake hands for the name in its URL."""
    connected = socket.create_connection(target.connect, _TIMEOUT)
    if target.context is None:
        return connected
    try:
        return target.context.wrap_socket(connected, server_hostname=target.host)
    except BaseException:
        connected.close()
        raise


def _validity(connected: socket.socket) -> Validity | None:
    certificate = connected.getpeercert() if isinstance(connected, ssl.SSLSocket) else None
    if not certificate:  # empty if it was not verified
        return None
    dates = (ssl.cert_time_to_seconds(str(certificate[name])) for name in ("notBefore", "notAfter"))
    return Validity(*(datetime.fromtimestamp(date, UTC) for date in dates))


# OpenSSL's X509_V_ERR_ numbers (x509_vfy.h).
_NOT_TRUSTED: Final = {
    9: "the certificate is not valid yet; is the clock right, here and there?",
    10: "the certificate has expired; renew it",
    18: "the certificate is signed by itself, so Help Scout does not accept it; get one from an authority, or give it"
    " with --ca to try the rest",
    19: "the certificate comes from an authority that this machine does not know; give its certificate with --ca",
    20: "the certificate's chain is not sent whole, or comes from an authority that this machine does not know; use"
    " the full chain, or give the authority's certificate with --ca",
    21: "the certificate's chain is not sent whole, so Help Scout does not accept it; use the full chain",
    62: "the certificate is for other names than this; issue it for the name in the URL, or correct the URL",
    64: "the certificate is not for this IP address; use its name in the URL, and --connect for the address",
}


_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_EOF_WHILE_READING"})

# The first that fits; what is not here has a sentence of the system's.
_NO_ANSWER: Final[tuple[tuple[type[Exception], str], ...]] = (
    (socket.gaierror, "this name has no address; correct the URL, or the DNS, or say with --connect where it listens"),
    (ConnectionRefusedError, "nothing listens there; start the service, or correct the port"),
    (TimeoutError, f"no answer within {_TIMEOUT:.0f} seconds; look for a firewall, and at the service's log"),
    (
        ConnectionError,
        "the connection was closed without an answer; correct http:// or https://, or look at the service's log",
    ),
    (http.client.HTTPException, "what listens there does not speak HTTP; correct the port"),
)


def _sentence(error: Exception) -> str:
    """Say why there was no answer, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        other = f"the certificate is not accepted ({error.verify_message}); look at it with `sidebard check`"
        return _NOT_TRUSTED.get(error.verify_code, other)
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return "what listens there does not speak TLS; correct the port, or begin the URL with http://"
        return f"TLS came to nothing ({error.reason}); is it sidebard that listens there?"
    for kind, sentence in _NO_ANSWER:
        if isinstance(error, kind):
            return sentence
    return f"cannot be reached: {error}; correct the URL, or look at the network"
