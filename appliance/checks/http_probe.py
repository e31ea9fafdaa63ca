"""One signed request to a running service, as the help desk would send it, and the sentence if there is no answer."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from appliance.edge.certificate import Validity
from appliance.edge.trust import verified_path
from appliance.http_client import (
    MAX_RESPONSE,
    NO_SUCH_NAME,
    OTHER_ADDRESS,
    TIMEOUT,
    TimedConnection,
    UnreachableError,
    UrlError,
    explain,
    parse_url,
)

_WITH_CONNECT: Final = (NO_SUCH_NAME, OTHER_ADDRESS)
"""Failures that --connect may help with."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service should be. `path` is "" if the URL has none; `context` is None for plain HTTP.

    `connect` is the host and port to connect to instead of the URL's, such as before the DNS has the name.
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
    """What came back, and after how many seconds.

    `validities` are the dates of the certificate and of those that issued it; empty if they were not verified.
    """

    status: int
    body: bytes
    seconds: float
    validities: tuple[Validity, ...]


def target_of(url: str, context: ssl.SSLContext, connect: str = "") -> Target:
    """Parse a URL, and HOST:PORT to connect to instead if given; `context` is for https.

    Raises ValueError with a sentence.
    """
    try:
        parsed = parse_url(url)
    except UrlError:
        parsed = None
    if parsed is None or "?" in parsed.path or "#" in url:
        raise UrlError("enter the URL that the help desk uses, such as https://support.example.com/sidebar")
    there = _host_and_port(connect) if connect else (parsed.host, parsed.port)
    return Target(url, parsed.host, parsed.port, parsed.path, context if parsed.is_secure else None, there)


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
    """Send a message, once. Raises UnreachableError."""
    began = time.monotonic()
    with _connected(target) as connection:
        validities = _validities(connection.tls)
        headers = {"Content-Type": "application/json", header: signature.decode("ascii")}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(MAX_RESPONSE), time.monotonic() - began, validities)


def visit(target: Target, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Load a page into a frame, once; return the status, the headers, and the body. Raises UnreachableError."""
    with _connected(target) as connection:
        connection.request("GET", path, headers={"Sec-Fetch-Dest": "iframe"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read(MAX_RESPONSE)


@contextmanager
def _connected(target: Target) -> Iterator[TimedConnection]:
    """Connect, and turn what fails into a sentence. Raises UnreachableError."""
    connection = TimedConnection(target.host, target.port, target.context, connect_to=target.connect)
    connection.begin(TIMEOUT)
    try:
        connection.connect()
        yield connection
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{target.where}: {_sentence(error)}") from None
    finally:
        connection.close()


def _validities(connected: ssl.SSLSocket | None) -> tuple[Validity, ...]:
    """Return the dates of the server's certificate and its issuers, without the authority that this machine knows."""
    from cryptography import x509  # 40 ms, and only needed here

    if connected is None or connected.context.verify_mode is ssl.CERT_NONE:
        return ()
    path = verified_path(connected)
    chain = map(x509.load_der_x509_certificate, path[:-1] or path)
    return tuple(Validity(one.not_valid_before_utc, one.not_valid_after_utc) for one in chain)


def _sentence(error: Exception) -> str:
    """Return why there was no answer, and what to do."""
    failure = explain(error)
    more = ", or pass the address of the service with --connect" if failure in _WITH_CONNECT else ""
    return f"{failure.sentence}{more}"
