"""An authority for tests, which can do what pebble cannot: suggest windows, refuse, fail, and issue short lives."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID

from appliance.acme.jws import SigningKey

Json = dict[str, Any]
Answer = tuple[int, dict[str, str], Any]
PREFIX = "urn:ietf:params:acme:error:"


def problem(kind: str, detail: str = "", status: int = 400, **headers: str) -> Answer:
    """Return the answer for a problem."""
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, {
        "type": PREFIX + kind,
        "detail": detail or f"the detail of {kind}",
    }  # fmt: skip


class Authority:
    """An ACME server on loopback, in threads of this process."""

    def __init__(self, folder: Path, *, lifetime: timedelta = timedelta(days=90)) -> None:
        """`folder` is for the certificate that it is trusted by."""
        tls = trustme.CA()
        self.ca = folder / "authority.pem"
        tls.cert_pem.write_to_path(self.ca)
        self.lifetime = lifetime
        self.offered = ("http-01", "dns-01", "tls-alpn-01")
        self.profiles: dict[str, str] = {}
        self.caa_identities: list[str] = []
        self.window: Callable[[str], Answer] | None = None
        """Answers for the name of a certificate, if renewal information is offered."""
        self.external: dict[str, bytes] | None = None
        self.refuse: Callable[[str, str], Answer | None] = lambda method, path: None
        """Answers in the place of the authority."""
        self.validate: Callable[[str, str, str], Json | None] = lambda kind, name, token: None
        """Returns the problem with a proof; None if it is right."""
        self.date: str | None = None
        self.now: Callable[[], float] = time.time
        self.verdict_after = 0  # looks at an authorization, or an order, before it is decided
        self.bad_nonces = 0  # the next so many are refused
        self.requests: list[tuple[str, str]] = []
        self.payloads: dict[str, list[Json]] = {}
        self.issued: list[x509.Certificate] = []
        self.accounts: dict[str, str] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._nonces: set[str] = set()
        self._orders: dict[str, Json] = {}
        self._authorizations: dict[str, Json] = {}
        self._chains: dict[str, bytes] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority for tests")])
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        # The handshake is the thread's of the connection, not the accepting one's.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.base = f"https://localhost:{self._server.server_address[1]}"
        self.url = f"{self.base}/dir"

    def __enter__(self) -> Authority:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paths(self, method: str = "POST") -> list[str]:
        """Return what was asked."""
        return [path for how, path in self.requests if how == method]

    def nonce(self) -> str:
        """Return a new nonce."""
        nonce = secrets.token_urlsafe(16)
        self._nonces.add(nonce)
        return nonce

    def forget_accounts(self) -> None:
        """Forget everything but what was issued, as a staging authority does now and then."""
        self.accounts.clear()
        self._orders.clear()

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Return the answer to a request."""
        with self._lock:
            self.requests.append((method, path))
            if (refused := self.refuse(method, path)) is not None:
                return refused
            if method in ("GET", "HEAD"):
                return self._read(path)
            return self._signed(path, json.loads(body))

    def _read(self, path: str) -> Answer:
        if path == "/dir":
            directory: Json = {each: f"{self.base}/{each}" for each in ("newNonce", "newAccount", "newOrder")}
            directory["meta"] = {
                "profiles": self.profiles,
                "externalAccountRequired": self.external is not None,
                "caaIdentities": self.caa_identities,
            }
            if self.window is not None:
                directory["renewalInfo"] = f"{self.base}/ari"
            return 200, {}, directory
        if path.startswith("/ari/") and self.window is not None:
            return self.window(path.removeprefix("/ari/"))
        return 200, {}, {}

    def _signed(self, path: str, request: Json) -> Answer:
        protected = json.loads(_decode(request["protected"]))
        assert protected["url"] == self.base + path, protected["url"]
        if protected["nonce"] not in self._nonces or self.bad_nonces > 0:
            self.bad_nonces -= 1
            return problem("badNonce")
        self._nonces.discard(protected["nonce"])
        jwk = protected.get("jwk") or json.loads(self.accounts.get(protected["kid"], "null"))
        if jwk is None:
            return problem("accountDoesNotExist")
        _verify(jwk, f"{request['protected']}.{request['payload']}".encode(), _decode(request["signature"]))
        payload = json.loads(_decode(request["payload"])) if request["payload"] else None
        if payload is not None:
            self.payloads.setdefault(path.split("/")[1], []).append(payload)
        kind, _, rest = path[1:].partition("/")
        if kind == "newAccount":
            return self._new_account(jwk, payload or {})
        handler: Callable[[str, Any], Answer] = getattr(self, f"_{kind}")
        return handler(rest, payload)

    def _new_account(self, jwk: Json, payload: Json) -> Answer:
        if self.external is not None:
            binding = payload.get("externalAccountBinding")
            if binding is None:
                return problem("externalAccountRequired", status=403)
            assert json.loads(_decode(binding["protected"]))["kid"] in self.external
        text = json.dumps(jwk, sort_keys=True)
        kid = next((kid for kid, known in self.accounts.items() if known == text), None)
        status = 200 if kid else 201
        if kid is None:
            kid = f"{self.base}/account/{next(self._numbers)}"
            self.accounts[kid] = text
        return status, {"Location": kid}, {"status": "valid"}

    def _newOrder(self, _rest: str, payload: Json) -> Answer:  # noqa: N802
        number = str(next(self._numbers))
        names = [each["value"] for each in payload["identifiers"]]
        self._authorizations[number] = {
            "status": "pending",
            "identifier": {"type": "dns", "value": names[0]},
            "challenges": [
                {"type": kind, "url": f"{self.base}/challenge/{number}/{kind}", "token": secrets.token_urlsafe(32),
                 "status": "pending"} for kind in self.offered
            ],
        }  # fmt: skip
        self._orders[number] = {
            "status": "pending",
            "authorizations": [f"{self.base}/authorization/{number}"],
            "finalize": f"{self.base}/finalize/{number}",
            "names": names,
            "looks": 0,
        }
        return 201, {"Location": f"{self.base}/order/{number}"}, self._orders[number]

    def _order(self, number: str, _payload: Any) -> Answer:
        order = self._orders.get(number)
        if order is None:
            return problem("malformed", "no such order", 404)
        authorization = self._authorizations[number]["status"]
        if order["status"] == "pending" and authorization != "pending":
            order["status"] = "ready" if authorization == "valid" else "invalid"
        if order["status"] == "processing":
            order["looks"] += 1
            if order["looks"] > self.verdict_after:
                order["status"] = "valid"
        return 200, {}, order

    def _authorization(self, number: str, _payload: Any) -> Answer:
        return 200, {}, self._authorizations[number]

    def _challenge(self, rest: str, _payload: Any) -> Answer:
        number, _, kind = rest.partition("/")
        authorization = self._authorizations[number]
        challenge = next(each for each in authorization["challenges"] if each["type"] == kind)
        wrong = self.validate(kind, authorization["identifier"]["value"], challenge["token"])
        challenge["status"] = authorization["status"] = "valid" if wrong is None else "invalid"
        if wrong is not None:
            challenge["error"] = wrong
        return 200, {}, challenge

    def _finalize(self, number: str, payload: Json) -> Answer:
        order = self._orders[number]
        if order["status"] != "ready":
            return problem("orderNotReady", status=403)
        request = x509.load_der_x509_csr(_decode(payload["csr"]))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        chain = self._issue(request.public_key(), names)
        self._chains[number] = chain
        order["status"] = "processing"
        order["certificate"] = f"{self.base}/certificate/{number}"
        return 200, {}, order

    def _certificate(self, number: str, _payload: Any) -> Answer:
        return 200, {}, self._chains[number]

    def _issue(self, key: Any, names: x509.SubjectAlternativeName) -> bytes:
        now = datetime.fromtimestamp(self.now(), UTC)
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        issued = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + self.lifetime)
            .add_extension(names, critical=False)
            .add_extension(authority_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.issued.append(issued)
        issuer = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (issued, issuer))


def _handler(authority: Authority) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20
        disable_nagle_algorithm = True
        wbufsize = -1

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = authority.answer(self.command, self.path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            if self.command == "HEAD":
                data = b""
            self.send_response_only(status)
            self.send_header("Date", authority.date or self.date_time_string())
            self.send_header("Content-Length", str(len(data)))
            if self.command != "GET":
                self.send_header("Replay-Nonce", authority.nonce())
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client was killed, or does not trust it
                self.close_connection = True

    return Handler


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _verify(jwk: Json, signed: bytes, signature: bytes) -> None:
    x, y = (int.from_bytes(_decode(jwk[each])) for each in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


def key_of(pair: bytes) -> SigningKey:
    """Return the key in a pair."""
    return SigningKey.load(pair)
