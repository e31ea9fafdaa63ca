"""Talks to an authority: signed requests, nonces, problem documents, and limits on everything that it may send.

A request that was refused because of its nonce is sent again with the one that came with the refusal (RFC 8555, 6.5).
A connection is kept; one that the authority has closed meanwhile is opened again once.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance import __version__
from appliance.acme.jws import Json, SigningKey
from appliance.acme.problems import AcmeError, problem_of
from appliance.http_client import TimedConnection, UrlError, explain, parse_url

DEADLINE: Final = 30.0
"""Seconds for one request in all, but for the look-up of the authority's name, which has limits of its own. An answer
is a few KiB; under load an authority takes up to 20 s for it. An order takes 10 to 15 requests, and the process that
makes it has ten minutes for them."""

_MAX_BODY: Final = 256 * 1024
_MAX_RETRY_AFTER: Final = 366 * 86400.0
_NONCE_TRIES: Final = 10
_PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is no problem."""

    status: int
    location: str
    retry_after: float
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in the body. Raises AcmeError."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise AcmeError("protocol", "the authority's answer is not a JSON object")
        return document


class Client:
    """A client of one directory."""

    def __init__(
        self,
        directory: str,
        trust: ssl.SSLContext,
        key: SigningKey,
        clock: Callable[[], float],
        deadline: float = DEADLINE,
    ) -> None:
        """`trust` says which certificates the authority may have; `key` is the account's.

        `deadline` is seconds for one request, from connecting to the last byte of the answer.
        """
        self.url: Final = directory
        self.key: Final = key
        self.kid = ""
        self.clock_offset: float | None = None
        """By how many seconds the authority's clock is ahead of ours; None if it has not said its time."""
        self._trust = trust
        self._clock = clock
        self._deadline = deadline
        self._nonces: list[str] = []
        self._connections: dict[tuple[str, int], TimedConnection] = {}
        self._directory: dict[str, Any] | None = None

    @property
    def directory(self) -> dict[str, Any]:
        """The directory's document. Raises AcmeError."""
        if self._directory is None:
            self._directory = self.get(self.url).document
        return self._directory

    @property
    def meta(self) -> dict[str, Any]:
        """What the directory says of the authority. Raises AcmeError."""
        meta = self.directory.get("meta")
        return meta if isinstance(meta, dict) else {}

    def resource(self, name: str) -> str:
        """Return the URL of one of the directory's resources. Raises AcmeError."""
        url = self.directory.get(name)
        if not isinstance(url, str):
            raise AcmeError("protocol", f"{self.url} has no {name}")
        return url

    def get(self, url: str) -> Reply:
        """Read what needs no signature. Raises AcmeError."""
        return self._reply(*self._send("GET", url, b""))

    def post(self, url: str, payload: object = None) -> Reply:
        """Send a signed request; without a payload it reads. Raises AcmeError."""
        for left in reversed(range(_NONCE_TRIES)):
            nonce = self._nonces.pop() if self._nonces else self._new_nonce()
            answer = self._send("POST", url, self.key.sign(url, nonce, payload, self.kid))
            try:
                return self._reply(*answer)
            except AcmeError as error:
                if error.kind != "badNonce" or not left:
                    raise
        raise AssertionError("the last refusal was raised")

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _new_nonce(self) -> str:
        self._reply(*self._send("HEAD", self.resource("newNonce"), b""))
        if not self._nonces:
            raise AcmeError("protocol", f"{self.url} sends no nonces")
        return self._nonces.pop()

    def _reply(self, response: http.client.HTTPResponse, body: bytes) -> Reply:
        """Return an answer. Raises AcmeError if it is a problem."""
        now = self._clock()
        retry_after = _seconds(response.headers.get("Retry-After"), now)
        if not 200 <= response.status < 300:
            try:
                document = json.loads(body)
            except (ValueError, RecursionError):
                document = None
            raise problem_of(document, response.status, retry_after)
        return Reply(response.status, response.headers.get("Location") or "", retry_after, body)

    def _send(self, method: str, url: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request and read the answer. Raises AcmeError if there is none."""
        try:
            parsed = parse_url(url)
        except UrlError:
            parsed = None
        if parsed is None or not parsed.is_secure:
            raise AcmeError("protocol", f"{url} is not an https URL")
        place = (parsed.host, parsed.port)
        headers = {"User-Agent": f"sidebard/{__version__}", "Host": parsed.authority}
        if method == "POST":
            headers["Content-Type"] = "application/jose+json"
        end = time.monotonic() + self._deadline
        while True:
            kept = self._connections.pop(place, None)
            connection = kept or TimedConnection(*place, self._trust)
            connection.begin(end - time.monotonic())
            try:
                connection.request(method, parsed.path or "/", body or None, headers)
                response = connection.getresponse()
                content = response.read(_MAX_BODY + 1)
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()
                if kept is not None and isinstance(error, ConnectionError | http.client.RemoteDisconnected):
                    continue  # it was closed while it was not used
                if isinstance(error, TimeoutError):
                    raise AcmeError(
                        "network", f"{parsed.text}: no complete answer within {self._deadline:g} seconds"
                    ) from None
                kind = "trust" if isinstance(error, ssl.SSLCertVerificationError) else "network"
                raise AcmeError(kind, f"{parsed.text}: {explain(error).what}") from None
            break
        if len(content) > _MAX_BODY:
            connection.close()
            raise AcmeError("protocol", f"{parsed.text}: the answer is over {_MAX_BODY // 1024} KiB")
        self._connections[place] = connection
        self._note(response)
        return response, content

    def _note(self, response: http.client.HTTPResponse) -> None:
        if nonce := response.headers.get("Replay-Nonce"):
            self._nonces = [nonce]
        if (date := _date(response.headers.get("Date"))) is not None:
            self.clock_offset = date - self._clock()


def trust(ca: Path | None) -> ssl.SSLContext:
    """Return a client's context: it trusts the authorities in a file, or those of the system. Raises AcmeError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        why = "is not a PEM file with certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise AcmeError("network", f"acme.ca: {ca}: {why}") from None
    return context


def register(client: Client, contact: str, external: Callable[[str], Json] | None) -> str:
    """Register the client's key, or find the account that it has, and return the account's URL. Raises AcmeError.

    `external` makes the proof for the URL that it is sent to.
    """
    url = client.resource("newAccount")
    payload: Json = {"termsOfServiceAgreed": True}
    if contact:
        payload["contact"] = [f"mailto:{contact}"]
    if external is not None:
        payload["externalAccountBinding"] = external(url)
    client.kid = ""
    client.kid = client.post(url, payload).location
    if not client.kid:
        raise AcmeError("protocol", "the authority sent no URL of the account")
    return client.kid


def _seconds(text: str | None, now: float) -> float:
    """Return what Retry-After asks for: seconds, or a date (RFC 9110, 10.2.3); 0 if nothing of use."""
    if not text:
        return 0.0
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), _MAX_RETRY_AFTER)
    date = _date(text)
    return min(max(0.0, date - now), _MAX_RETRY_AFTER) if date is not None else 0.0


def _date(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
